"""Settings of the training of members: networks that differ in their seed alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from viewrace.data.augment import Augment
from viewrace.options import Options

__all__ = ["MemberConfig"]


class MemberConfig(Options):
    """How members are trained: mini-batches, a rule of descent as in torch.optim, a schedule of its rate."""

    epochs: int = Field(10, ge=1, description="times that every training image is shown")
    batch: int = Field(128, ge=1, description="images in a mini-batch, at most")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="stochastic gradient descent with momentum, or AdamW")
    rate: float = Field(0.1, gt=0, description="learning rate at its highest")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd: momentum; adamw: that of the gradient's mean (beta 1)")
    nesterov: bool = Field(True, description="sgd: Nesterov's momentum")
    weight_decay: float = Field(5e-4, ge=0, description="weight decay, on all trained weights")
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        "cosine", description="the rate after the warm-up: as it is, half a cosine to 0, or straight to 0"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the steps in which the rate rises from 0 in a straight line")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="weight of the uniform distribution in the hard labels")
    augment: Augment = Field(default_factory=Augment, description="shifts and flips, drawn for each member by itself")
    same_order: bool = Field(False, description="all members see the mini-batches of member 0, so only init differs")
    normalise: bool = Field(True, description="inputs have the training set's mean of each channel removed, and its deviation 1")
    engine: Literal["measured", "batched", "loop"] = Field(
        "measured", description="members all at once, or one after the other; measured: whichever is faster here"
    )
    device: str = Field("cpu", description="where torch trains: cpu, cuda, cuda:1")
