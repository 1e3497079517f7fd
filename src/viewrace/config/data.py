"""The settings of the data."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from viewrace.config.kinds import Fraction, Group, Interval, Positive

__all__ = ["Data"]

LEAST_P = 0.001


class Data(Group):
    """Where views come from (SCIENCE: the flat (K, M, p) and the AZL patch distribution)."""

    source: Literal["features", "digits"] = Field("features", description="unit feature vectors, or real 8x8 digits")
    layout: Literal["patches", "flat"] = Field("patches", description="views in separate patches, or summed")
    classes: int = Field(10, ge=2, description="K, number of classes")
    views: int = Field(3, ge=1, description="M, views per class")
    examples: int = Field(300, ge=1, description="N, training examples")
    test_examples: int = Field(1000, ge=1, description="fresh examples of each test set")
    dim: int = Field(32, ge=1, description="d, dimensions of a patch (64 with digits)")
    patches: int = Field(9, ge=1, description="P, patches per example")
    patches_per_feature: int = Field(1, ge=1, description="C_p, disjoint patches that one present feature occupies")
    mu: Fraction = Field(0.0, description="fraction of single-view examples in the training data")
    p: float | tuple[float, ...] = Field(
        1.0, description="chance that a view is active in a multi-view example (one, or one a view)"
    )
    distractors: float = Field(2.0, ge=0, description="s, expected distracting classes (chance s/K for each)")
    distractor_mode: Literal["class", "view"] = Field("class", description="all views of a class together, or each alone")
    amplitude: Interval = Field((0.6, 1.5), description="summed amplitude of a label's view, uniform in [low, high]")
    distractor_amplitude: Interval = Field((0.15, 0.3), description="summed amplitude of a distracting view")
    single_distractor_amplitude: Interval | None = Field(
        None, description="the same in single-view examples (AZL's Gamma); none: as in multi-view examples"
    )
    weak_amplitude: float = Field(0.0, ge=0, description="amplitude of a single-view example's other views (AZL's rho)")
    feature_noise: float = Field(0.05, ge=0, description="gamma: every patch gets every feature times uniform [0, gamma]")
    noise: float = Field(0.02, ge=0, description="standard deviation of the Gaussian noise of each coordinate")
    strengths: tuple[Positive, ...] | None = Field(None, description="strength of each view; none: all 1")
    cosine_within: float = Field(0.0, ge=-1, lt=1, description="cosine between two views of one class")
    cosine_between: float = Field(0.0, ge=-1, lt=1, description="cosine between views of two classes")
    slots: bool = Field(False, description="features: each view in its own dim / views coordinates of the vector")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_per_view("p", self.p if isinstance(self.p, tuple) else None, self.views)
        _check_per_view("strengths", self.strengths, self.views)
        for value in self.p if isinstance(self.p, tuple) else (self.p,):
            if not LEAST_P <= value <= 1:
                raise ValueError(f"p must lie in [{LEAST_P:g}, 1], received {value:g}: give the chance that a view is active")
        if self.distractors > self.classes:
            raise ValueError(f"distractors must be at most classes = {self.classes}, received {self.distractors:g}")
        if self.source == "digits":
            self._check_digits()
        elif self.dim < self.classes * self.views:
            need = self.classes * self.views
            raise ValueError(
                f"dim must be at least classes x views = {need} to hold that many independent features, "
                f"received {self.dim}: set data.dim={need} or more"
            )
        if self.slots:
            self._check_slots()
        if self.layout == "patches":
            self._check_patches()
        return self

    def _check_digits(self) -> None:
        if self.classes > 10:
            raise ValueError(f"classes must be at most 10 with source = digits, received {self.classes}")
        if self.dim != 64:
            raise ValueError(f"dim must be 64 with source = digits (8x8 pixels), received {self.dim}: set data.dim=64")
        if self.cosine_within or self.cosine_between:
            raise ValueError(
                f"cosine_within and cosine_between must be 0 with source = digits, received {self.cosine_within:g} and "
                f"{self.cosine_between:g}: leave them out"
            )

    def _check_slots(self) -> None:
        if self.source == "digits":
            raise ValueError("slots must be false with source = digits, received true: a digit fills its whole patch")
        if self.cosine_within or self.cosine_between:
            raise ValueError(
                f"cosine_within and cosine_between must be 0 with slots (features of a slot are orthonormal), received "
                f"{self.cosine_within:g} and {self.cosine_between:g}: leave them out"
            )
        if self.dim % self.views:
            need = -(-self.dim // self.views) * self.views
            raise ValueError(
                f"dim must be a multiple of views = {self.views} with slots, received {self.dim}: set data.dim={need}"
            )

    def _check_patches(self) -> None:
        expected = self.distractors / self.classes * (self.classes - 1) * self.views
        need = self.patches_per_feature * (self.views + round(expected))
        if self.patches < need:
            raise ValueError(
                f"patches must be at least patches_per_feature x (views + expected distracting views) = {need}, "
                f"received {self.patches}: set data.patches={need} or more, or lower data.distractors"
            )

    @property
    def view_probability(self) -> tuple[float, ...]:
        """Chance that each view is active in a multi-view example, one number a view."""
        return self.p if isinstance(self.p, tuple) else (self.p,) * self.views

    @property
    def view_strength(self) -> tuple[float, ...]:
        """Strength of each view, one number a view; the norm of what the view shows is amplitude x strength."""
        return self.strengths or (1.0,) * self.views


def _check_per_view(name: str, values: tuple[float, ...] | None, views: int) -> None:
    if values is not None and len(values) != views:
        raise ValueError(f"{name} must have one number for each of the {views} views, received {len(values)}")
