"""The settings of one experiment, and how they are built from what is changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from viewrace.config.data import Data
from viewrace.config.kinds import Fraction, Group, Positive
from viewrace.config.refusals import one_line
from viewrace.errors import ViewraceError

__all__ = ["Distill", "Images", "Net", "SelfDistill", "Settings", "Train", "settings"]


class Net(Group):
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


class Train(Group):
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


class Distill(Group):
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


class Images(Group):
    """Real images that are not part of viewrace."""

    cifar10: str | None = Field(
        None, description="where CIFAR-10 is (docs/images.md: parquet:DIR, cifar10:DIR); none: the deep claims go without it"
    )


class Settings(Group):
    """All settings of one experiment."""

    data: Data = Field(default_factory=Data)
    net: Net = Field(default_factory=Net)
    train: Train = Field(default_factory=Train)
    distill: Distill = Field(default_factory=Distill)
    self_distill: SelfDistill = Field(default_factory=SelfDistill)
    images: Images = Field(default_factory=Images)

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
        raise ViewraceError(one_line(error, Settings)) from None


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
