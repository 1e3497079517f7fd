"""What settings are made of: groups that are checked when built, and numbers with a range."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Fraction", "Group", "Interval", "Positive"]


class Group(BaseModel):
    """A group of settings: immutable, and nothing in it that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= pair[0] <= pair[1]:
        raise ValueError("must be a pair low, high with 0 <= low <= high")
    return pair


Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
