"""What learns: families of networks under one contract, many seeds side by side."""

from viewrace.nets.family import Family, Params
from viewrace.nets.linear import DeepLinear
from viewrace.nets.mlp import MLP
from viewrace.nets.patch import PatchNet
from viewrace.nets.registry import make_family

__all__ = ["MLP", "DeepLinear", "Family", "Params", "PatchNet", "make_family"]
