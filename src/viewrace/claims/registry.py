"""All claims, in the order in which they are run and shown."""

from __future__ import annotations

import difflib

from viewrace.claims.audit_cases import AuditCases
from viewrace.claims.base import Claim
from viewrace.claims.blocker import Blocker
from viewrace.claims.boosting import Boosting
from viewrace.claims.channel_views import ChannelViews
from viewrace.claims.composite_coverage import CompositeCoverage
from viewrace.claims.deep_distillation import DeepDistillation
from viewrace.claims.deep_ensemble import DeepEnsemble
from viewrace.claims.deep_linear import DeepLinearModes
from viewrace.claims.deep_self_distillation import DeepSelfDistillation
from viewrace.claims.distillation import Distillation
from viewrace.claims.dynamics import Dynamics
from viewrace.claims.ensemble import Ensemble
from viewrace.claims.exponent import Exponent
from viewrace.claims.external_signal import ExternalSignal
from viewrace.claims.finite_size import FiniteSize
from viewrace.claims.gated import GatedRace
from viewrace.claims.gaussian_control import GaussianControl
from viewrace.claims.random_features import RandomFeatures
from viewrace.claims.real_pixels import RealPixels
from viewrace.claims.remedies import Remedies
from viewrace.claims.self_distillation import SelfDistillation
from viewrace.claims.single_view import SingleView
from viewrace.claims.winner import Winner
from viewrace.errors import ViewraceError

__all__ = ["CLAIMS", "THEOREMS", "find"]

CLAIMS: tuple[Claim, ...] = (
    SingleView(),
    Ensemble(),
    Distillation(),
    SelfDistillation(),
    RealPixels(),
    FiniteSize(),
    Winner(),
    Exponent(),
    Blocker(),
    DeepLinearModes(),
    GatedRace(),
    ExternalSignal(),
    Remedies(),
    Dynamics(),
    AuditCases(),
    DeepEnsemble(),
    DeepDistillation(),
    DeepSelfDistillation(),
    ChannelViews(),
    CompositeCoverage(),
    RandomFeatures(),
    GaussianControl(),
    Boosting(),
)
THEOREMS = ("single-view", "ensemble", "distillation", "self-distillation")


def find(name: str) -> Claim:
    """The claim of that id."""
    for claim in CLAIMS:
        if claim.id == name:
            return claim
    known = [claim.id for claim in CLAIMS]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    if name == "all":
        raise ViewraceError("all stands for every claim, received it beside others: leave them out, or leave out all")
    raise ViewraceError(f"no claim is called {name}: did you mean {near}? `viewrace claims` lists all {len(known)}")
