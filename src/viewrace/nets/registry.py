"""From settings to a family."""

from __future__ import annotations

from viewrace.config import Data, Net
from viewrace.nets.bottleneck import BottleneckMLP
from viewrace.nets.family import Family
from viewrace.nets.linear import DeepLinear
from viewrace.nets.mlp import MLP
from viewrace.nets.patch import PatchNet

__all__ = ["make_family"]


def make_family(net: Net, data: Data, width: int | None = None, init: float | None = None) -> Family:
    """The family that `net` names, for inputs as `data` draws them; `width` and `init` override (a student's own)."""
    init = net.init if init is None else init
    patches = 1 if data.layout == "flat" else data.patches
    hidden = net.hidden if width is None else (width * data.classes,) * len(net.hidden)
    if net.family == "linear":
        return DeepLinear(data.classes, data.dim, patches, hidden, init)
    if net.family == "mlp":
        slot = data.dim // data.views if data.slots else 0
        shape = (data.classes, data.dim, patches, hidden, net.q, net.rho, init, slot, net.boost)
        if net.rank is None and net.top_k is None:
            return MLP(*shape)
        return BottleneckMLP(*shape, rank=net.rank, top_k=net.top_k)
    return PatchNet(data.classes, data.dim, patches, width or net.width, net.q, net.rho, init)
