"""What pydantic found wrong, in one line for the user: the setting, the rule, the value received."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import get_args

from pydantic import BaseModel, ValidationError

__all__ = ["known_keys", "one_line"]

ELSEWHERE = {
    "net.family": "networks of images are trained by viewrace audit --model, or viewrace.train_members (docs/images.md)",
    "data.source": "other images are for viewrace audit --data, or viewrace.load_images (docs/images.md)",
}
"""Where what a setting does not know may be found."""


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """The dotted names of all groups and settings of `model`."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        groups = [kind for kind in kinds if issubclass(kind, BaseModel)]
        yield prefix + name
        for group in groups:
            yield from known_keys(group, f"{prefix}{name}.")


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing that is wrong, in the names of the settings of `model`."""
    parts = {part for key in known_keys(model) for part in key.split(".")}
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int) and part in parts)
    if first["type"] == "extra_forbidden":
        full = ".".join(str(part) for part in first["loc"])
        near = difflib.get_close_matches(full, list(known_keys(model)), n=1, cutoff=0.0)
        return f"unknown setting {full}: the nearest known one is {near[0]}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and "received" in message:
        return f"{key}.{message}" if message.split(" ", 1)[0] in parts else f"{key}: {message}".removeprefix(": ")
    rule = message.removeprefix("Input ")
    if first["type"] == "literal_error" and key in ELSEWHERE:
        return f"{key} {rule}, received {first['input']!r}: choose one of these; {ELSEWHERE[key]}"
    return f"{key} {rule}, received {first['input']!r}: change it in the settings or with --set {key}=VALUE"
