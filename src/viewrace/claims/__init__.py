"""The theory's statements, each with its source, its protocol fixed before the run, and a verdict."""

from viewrace.claims.base import Claim, Scale
from viewrace.claims.lab import Lab, Shelf
from viewrace.claims.registry import CLAIMS, THEOREMS, find
from viewrace.claims.verdict import Check, Verdict

__all__ = ["CLAIMS", "THEOREMS", "Check", "Claim", "Lab", "Scale", "Shelf", "Verdict", "find"]
