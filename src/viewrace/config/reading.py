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
        tree = yaml.safe_load(text)
    except OSError as error:
        raise ViewraceError(f"cannot read {path}: {error.strerror}; give a YAML file of settings") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ViewraceError(f"{path} is not valid YAML{_where(error)}: mend the file and run again") from None
    if tree is not None and not isinstance(tree, Mapping):
        raise ViewraceError(f"{path} must hold groups of settings (data:, net:, ...), received {type(tree).__name__}")
    return settings(tree)


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""


def parse_override(text: str) -> tuple[str, Any]:
    """Split one `key=value` of the command line; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ViewraceError(f"--set takes key=value, received {text!r}: write for example --set net.q=3")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise ViewraceError(f"the value in --set {text} is not valid YAML: quote it or write a number") from None
