"""Settings as users write them: YAML files, and key=value on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from viewrace.config.settings import Settings, settings
from viewrace.errors import ViewraceError

__all__ = ["load", "parse_override"]


def load(path: str | Path) -> Settings:
    """Read settings from a YAML file; what it leaves out keeps its default."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = yaml.load(text, _Once)
    except OSError as error:
        raise ViewraceError(f"cannot read {path}: {error.strerror}; give a YAML file of settings") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ViewraceError(f"{path} is not valid YAML{_where(error)}: mend the file and run again") from None
    if tree is not None and not isinstance(tree, Mapping):
        raise ViewraceError(f"{path} must hold groups of settings (data:, net:, ...), received {type(tree).__name__}")
    return settings(tree)


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    twice = f", {error.problem}" if isinstance(error, _TwiceError) else ""
    return f" at line {mark.line + 1}, column {mark.column + 1}{twice}" if mark is not None else ""


class _TwiceError(yaml.constructor.ConstructorError):
    """A key that a mapping holds twice, of which YAML's reader would drop the first without a word."""


class _Once(yaml.SafeLoader):
    """Plain values alone, as yaml.safe_load, and every key of a mapping once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise _TwiceError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_override(text: str) -> tuple[str, Any]:
    """Split one `key=value` of the command line; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ViewraceError(f"--set takes key=value, received {text!r}: write for example --set net.q=3")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise ViewraceError(f"the value in --set {text} is not valid YAML: quote it or write a number") from None
