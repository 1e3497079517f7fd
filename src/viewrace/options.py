"""Options of one part: checked when they are built, in Python, and refused with one line."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from viewrace.errors import ViewraceError

__all__ = ["Options"]


class Options(BaseModel):
    """Immutable options. Raises ViewraceError with one line where a name is unknown or a value out of range."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ViewraceError(_one_line(error, type(self))) from None

    def replace(self, **changes: Any) -> Self:
        """A copy with options changed, checked anew."""
        return type(self)(**(self.model_dump() | changes))


def _one_line(error: ValidationError, model: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown option {key}: the known ones are {', '.join(model.model_fields)}"
    rule = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return rule
    return f"{key} {rule.removeprefix('Input ')}, received {first['input']!r}: change {key}"
