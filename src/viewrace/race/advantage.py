"""Which view will win, told from the initial weights and the data: the rules, side by side.

Every rule gives a log advantage for each (seed, class, view); the view with the largest is predicted to win its class. With
a = <w_{i,r}(0), v_{i,l}> and S_l = E[1{y = i} z_l^q] the winner of the pure power-law race da/dt = S a^(q-1) (1 - p) is the
view with the largest max_r a^+ S^(1/(q-2)): u = a^-(q-2) falls at the rate (q-2) S whatever the common factor 1 - p does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from viewrace.data import Examples
from viewrace.errors import ViewraceError
from viewrace.nets import Family, Params, PatchNet
from viewrace.train.losses import HardLoss
from viewrace.train.objective import Objective

__all__ = ["RULES", "Start", "log_advantage", "probe_advantage", "start_of"]

TINY = 1e-30


@dataclass(frozen=True)
class Start:
    """The race at its start.

    correlation: (seed, class, neuron, view), a = <w_{i,r}, v_{i,l}>. growth: the same shape, da/dt on the training data under
    cross-entropy, per example of the class. strength: (class, view), S, the mean of z^q over the multi-view examples of the
    class. q: power of the activation. rho: width of its polynomial part.
    """

    correlation: Tensor
    growth: Tensor
    strength: Tensor
    q: int
    rho: float

    @property
    def effective(self) -> Tensor:
        """(seed, class, neuron, view): the correlation that would grow at the measured rate if a view were alone in its
        patch, from growth = S (a / rho)^(q-1). Background features in the patches and other classes move it off a."""
        return self.rho * (self.growth.clamp(min=0) / self.strength[:, None, :].clamp(min=TINY)) ** (1 / (self.q - 1))


def start_of(family: Family, params: Params, examples: Examples, features: Tensor) -> Start:
    """Measure the start of the race of patch networks; `features` is (class, view, dim).

    Raises ViewraceError for a family whose neurons have no correlation with a view, and for q <= 2, where no finite exponent
    1/(q-2) exists.
    """
    if not isinstance(family, PatchNet):
        raise ViewraceError(
            f"family must be patch to tell winners from per-view correlations, received {family.name}, whose neurons answer to "
            "all views at once: ask for the estimate from probes instead (--rule probe)"
        )
    check_power(family.q)
    weight = params["weight"]
    features = features.to(weight.dtype)
    objective = Objective(family, examples.inputs.to(weight.dtype), HardLoss(examples.labels))
    gradient = objective.at(params, torch.arange(len(weight)), count_right=False).gradient["weight"]
    share = torch.bincount(examples.labels, minlength=family.classes).clamp(min=1) / len(examples)
    return Start(
        correlation=torch.einsum("skmd,kld->skml", weight, features),
        growth=-torch.einsum("skmd,kld->skml", gradient, features) / share[:, None, None],
        strength=view_strength(examples, family.classes, family.q).to(weight.dtype),
        q=family.q,
        rho=family.rho,
    )


def check_power(q: int) -> None:
    """Refuse a power without a race, and say what holds there."""
    if q >= 3:
        return
    holds = "all views grow at one rate and all are learned" if q == 1 else "leads keep their ratio, so no view runs away"
    raise ViewraceError(
        f"net.q must be at least 3 to tell a winner (leads count by the exponent 1/(q-2)), received {q}, where {holds}: "
        "set net.q=3 or more, or ask for the estimate from probes (--rule probe)"
    )


def view_strength(examples: Examples, classes: int, q: int) -> Tensor:
    """(class, view) S = E[z^q] over the multi-view examples of each class (AZL, section on the lottery-winning set).

    Where a class has no multi-view example, over all its examples.
    """
    rows = []
    for label in range(classes):
        mine = examples.labels == label
        multi = mine & ~examples.single
        chosen = examples.own_amplitude[multi if bool(multi.any()) else mine]
        rows.append((chosen**q).mean(dim=0) if len(chosen) else torch.ones(examples.amplitude.shape[2]))
    return torch.stack(rows)


def _log(positive: Tensor) -> Tensor:
    return positive.clamp(min=TINY).log()


def _shares(start: Start, exponent: float) -> Tensor:
    return exponent * _log(start.strength)


def _growth(start: Start) -> Tensor:
    return _log(start.effective.amax(dim=2)) + _shares(start, 1 / (start.q - 2))


def _azl(start: Start) -> Tensor:
    return _log(start.correlation.amax(dim=2)) + _shares(start, 1 / (start.q - 2))


def _neural_race(start: Start) -> Tensor:
    return _log(start.correlation.amax(dim=2)) + _shares(start, 1.0)


def _powers(start: Start) -> Tensor:
    total = (start.correlation.clamp(min=0) ** start.q).sum(dim=2)
    return _log(total) / start.q + _shares(start, 1 / (start.q - 2))


def _l2(start: Start) -> Tensor:
    return _log(start.correlation.clamp(min=0).norm(dim=2)) + _shares(start, 1 / (start.q - 2))


def _plain(start: Start) -> Tensor:
    return _log(start.correlation.clamp(min=0).sum(dim=2)) + _shares(start, 1 / (start.q - 2))


RULES: dict[str, Callable[[Start], Tensor]] = {
    "growth": _growth,
    "azl": _azl,
    "neural-race": _neural_race,
    "powers": _powers,
    "l2": _l2,
    "sum": _plain,
}
"""growth: AZL's rule with the correlation that the measured initial growth stands for. azl: max_r a^+ S^(1/(q-2)) (AZL, any
M). neural-race: initial pathway strength max_r a^+ times input-output correlation strength S (NRR; the same as azl at q = 3).
powers, l2, sum: other norms of a^+ over a class's neurons in place of the maximum, times S^(1/(q-2))."""


def log_advantage(start: Start, rule: str = "growth") -> Tensor:
    """(seed, class, view) log advantage by one of RULES, float64; a view without a positive correlation has about -69."""
    if rule not in RULES:
        raise ViewraceError(f"rule must be one of {', '.join(RULES)}, received {rule}: choose one")
    return RULES[rule](start).double()


def probe_advantage(family: Family, params: Params, probes: Tensor) -> Tensor:
    """(seed, class, view) an estimate for any family: the initial logit of a class on its view shown alone, over the standard
    deviation of all such logits of the network, float64. `probes` is (class, view, probe, patch, dim).

    It is no log of an advantage and nothing in the theory makes it sufficient; its calibration says what it is worth.
    """
    logits = family.logits(params, probes.flatten(0, 2)).unflatten(1, probes.shape[:3])
    index = torch.arange(probes.shape[0])
    own = logits[:, index, :, :, index].permute(1, 0, 2, 3).mean(dim=3).double()
    return own / own.flatten(1).std(dim=1).clamp(min=TINY)[:, None, None]
