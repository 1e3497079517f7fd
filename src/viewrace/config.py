"""Every setting: its range, its unit, its default. YAML in, YAML out, `key=value` on top.

Settings are nested and immutable. What cannot be is refused when the object is built, before any compute.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from viewrace.errors import ViewraceError

__all__ = ["Data", "Distill", "Net", "SelfDistill", "Settings", "Train", "load", "parse_override", "settings"]


LEAST_P = 0.001


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= pair[0] <= pair[1]:
        raise ValueError("must be a pair low, high with 0 <= low <= high")
    return pair


Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Data(_Model):
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


class Net(_Model):
    """What learns: the patch network of AZL, an MLP, or a deep linear network."""

    family: Literal["patch", "mlp", "linear"] = Field(
        "patch", description="AZL's patch network, a multilayer perceptron, or a deep linear network"
    )
    q: int = Field(4, ge=1, description="power of the smoothed ReLU; 1 is plain ReLU, the race needs 3 or more")
    rho: Positive = Field(10.0, description="width of the polynomial part of the smoothed ReLU")
    width: int = Field(5, ge=1, description="m, neurons per class")
    init: Positive = Field(0.03, description="sigma0, standard deviation of the initial weights, in units of rho")
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field((64,), description="mlp, linear: width of each hidden layer")
    rank: int | None = Field(None, ge=1, description="mlp: rank of the first layer; none: full")
    top_k: int | None = Field(None, ge=1, description="mlp: hidden responses of an example that pass a layer; none: all")
    boost: Positive = Field(1.0, description="mlp: factor on the initial input weights of view 0's slot, for all classes")

    @model_validator(mode="after")
    def _of_the_mlp(self) -> Self:
        for name, left in (("rank", None), ("top_k", None), ("boost", 1.0)):
            value = getattr(self, name)
            if value != left and self.family != "mlp":
                raise ValueError(f"{name} needs family = mlp, received {name} = {value:g} with family = {self.family}")
        if self.rank is not None and not self.hidden:
            raise ValueError(f"rank needs a hidden layer, received rank = {self.rank} with hidden = []: give net.hidden")
        return self


class Train(_Model):
    """How it learns. `flow` integrates the gradient flow under error control, for each seed by itself."""

    loss: Literal["ce", "mse"] = Field("ce", description="cross-entropy, or squared error to one-hot labels")
    method: Literal["flow", "gd", "sgd"] = Field("flow", description="gradient flow, full-batch descent, mini-batches")
    steps: int = Field(4000, ge=1, description="the most gradient evaluations allowed")
    tolerance: Positive | None = Field(
        0.05, description="a seed stops once its loss is below this and every example is right; none: it trains for `steps`"
    )
    time: Positive | None = Field(None, description="flow: a seed also stops, done, at this time; none: no limit")
    error: Positive = Field(0.03, description="flow: relative error allowed in a row of the weights in one step")
    rate: Positive = Field(0.1, description="gd, sgd: learning rate")
    momentum: float = Field(0.0, ge=0, lt=1, description="gd, sgd: momentum")
    batch: int = Field(100, ge=1, description="sgd: examples in a mini-batch")
    precision: Literal["float32", "float64", "mixed"] = Field(
        "float32", description="number format; mixed: products in bf16 where the machine has them, all else in float32"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="where networks are trained")
    threads: int | None = Field(None, ge=1, description="threads of the training; none: as many as torch takes")
    entropy: float = Field(0.0, description="weight of the predictions' mean entropy in the hard-label loss; below 0 rewards it")
    competition: float = Field(
        0.0, ge=0, description="weight of the penalty on pairs of a class's views, the product of their logits shown alone"
    )
    view_entropy: float = Field(0.0, ge=0, description="weight of the entropy of a class's view shares, shown alone")


class Distill(_Model):
    """How a student is taught. `azl` is the truncated soft label of Allen-Zhu & Li, section 4."""

    loss: Literal["kd", "azl"] = Field("kd", description="Hinton's soft labels, or AZL's truncated ones")
    temperature: Positive = Field(4.0, description="tau, in Hinton's sense: logits are divided by it")
    alpha: Fraction = Field(1.0, description="weight of the soft labels; 1 - alpha is that of the hard ones")
    average: Literal["logits", "probabilities"] = Field("logits", description="what a teacher of many averages")
    truncation: Positive | None = Field(None, description="azl: logits are cut here; none: temperature squared, as AZL")
    one_sided: bool = Field(True, description="azl: never push a logit down (AZL); false: push both ways")
    members: int = Field(50, ge=1, description="networks in the teacher")
    width: int = Field(16, ge=1, description="neurons per class of the student")
    init: Positive = Field(0.15, description="the student's sigma0, in units of rho")
    steps: int = Field(2000, ge=1, description="the most gradient evaluations allowed")
    tolerance: Positive = Field(0.003, description="a student stops once this fraction of a blank student's gap is left")
    time: Positive | None = Field(None, description="a student also stops at this time on the flow; none: no limit")


class SelfDistill(Distill):
    """How a network is taught by one like itself, for several generations."""

    loss: Literal["kd", "azl"] = Field("azl", description="Hinton's soft labels, or AZL's truncated ones")
    temperature: Positive = Field(1.5, description="tau, in Hinton's sense: logits are divided by it")
    truncation: Positive | None = Field(6.0, description="azl: logits are cut here; none: temperature squared, as AZL")
    one_sided: bool = Field(False, description="azl: never push a logit down (AZL); false: push both ways")
    width: int = Field(5, ge=1, description="neurons per class of the student")
    init: Positive = Field(0.1, description="the student's sigma0, in units of rho")
    steps: int = Field(6000, ge=1, description="the most gradient evaluations allowed")
    tolerance: Positive = Field(0.001, description="a student stops once this fraction of a blank student's gap is left")
    time: Positive | None = Field(1e6, description="a student also stops at this time on the flow; none: no limit")
    generations: int = Field(5, ge=1, le=50, description="rounds of self-distillation")


class Settings(_Model):
    """All settings of one experiment."""

    data: Data = Field(default_factory=Data)
    net: Net = Field(default_factory=Net)
    train: Train = Field(default_factory=Train)
    distill: Distill = Field(default_factory=Distill)
    self_distill: SelfDistill = Field(default_factory=SelfDistill)

    @model_validator(mode="after")
    def _across_groups(self) -> Self:
        if self.net.boost != 1 and not (self.data.slots and self.data.layout == "flat"):
            raise ValueError(
                f"net.boost needs views with input coordinates of their own, received net.boost = {self.net.boost:g} without "
                "them: set data.layout=flat and data.slots=true"
            )
        return self

    def to_yaml(self) -> str:
        """The settings as YAML that `load` reads back to an equal object."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def fingerprint(self) -> str:
        """SHA-256 of the settings, the same for the same settings on every machine, whatever it computes with."""
        tree = self.model_dump(mode="json", exclude={"train": {"device", "threads"}})
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()

    def replace(self, **changes: Any) -> Settings:
        """A copy with settings changed, checked anew: `replace(**{"net.q": 3, "data.views": 2})`."""
        return settings(changes, base=self)


def settings(changes: Mapping[str, Any] | None = None, base: Settings | None = None) -> Settings:
    """Build settings from dotted keys or nested mappings, on top of `base` (default: the defaults).

    Raises ViewraceError with one line that names the setting, the rule and the value received.
    """
    tree: dict[str, Any] = base.model_dump() if base is not None else {}
    for key, value in (changes or {}).items():
        _merge(tree, str(key).split("."), value)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ViewraceError(_one_line(error)) from None


def _merge(tree: dict[str, Any], path: list[str], value: Any) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _merge(tree, [*path, str(key)], inner)
        return
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ViewraceError(f"unknown setting {'.'.join(path)}: {part} is a single value, not a group")
    tree[path[-1]] = value


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


def _known_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        groups = [kind for kind in kinds if issubclass(kind, BaseModel)]
        yield prefix + name
        for group in groups:
            yield from _known_keys(group, f"{prefix}{name}.")


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int) and part in _key_parts())
    if first["type"] == "extra_forbidden":
        full = ".".join(str(part) for part in first["loc"])
        near = difflib.get_close_matches(full, list(_known_keys()), n=1, cutoff=0.0)
        return f"unknown setting {full}: the nearest known one is {near[0]}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and "received" in message:
        return f"{key}.{message}" if message.split(" ", 1)[0] in _key_parts() else f"{key}: {message}".removeprefix(": ")
    rule = message.removeprefix("Input ")
    return f"{key} {rule}, received {first['input']!r}: change it in the settings or with --set {key}=VALUE"


def _key_parts() -> set[str]:
    return {part for key in _known_keys() for part in key.split(".")}
