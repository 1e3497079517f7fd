"""Mean-field races: every class by itself, the loss as the one thing its views compete for.

With x[l, r] the correlation of neuron r with view l, in units of rho, h_l = z_l / C the amplitude in a patch, and time in
units of rho K / C,

    dx[l, r]/dt = s_l E_h[(1 - p(h)) h_l min(h_l x, 1)^(q-1)],   p = e^f / (e^f + K - 1),   f = rho C sum_{l, r} act(h_l x),

the power-law race of AZL with the loss it uses up. The mean over amplitudes is one over fixed nodes; s_l is the strength of
the view, E[z_l^q] of the class's own examples over that of the nodes. Left out: other classes' logits, distractors, noise.
The tallest neuron of each view is followed on the linear part too; the others follow the power law, and never pass it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.stats import qmc
from torch import Tensor

from viewrace.config import Data, Settings
from viewrace.data import Examples
from viewrace.nets.activation import power, smoothed_relu
from viewrace.race.coordinate import correlation, straight
from viewrace.race.rules import race_rules, refuse_unless
from viewrace.streams import Stream, torch_generator

__all__ = ["MeanField", "mean_field_coverage", "run_mean_field"]

NODES = 8
BLOCK = 8192
"""Races that are integrated together: few enough to stay in cache."""
ERROR = 0.01
"""Error allowed in x in a step, in units of rho."""
LEAST = 0.1
"""Errors in the progress of smaller correlations count as if at this x."""
ONSET = 0.45
"""Until the first response reaches this part of the polynomial width, all paces are taken as those at the start."""
MOST_STEPS = 200
SAFETY, SHRINK, GROW = 0.85, 0.2, 4.0
DRAW = 9
"""Index of the stream of inits from which the starts of `mean_field_coverage` are drawn."""


@dataclass(frozen=True)
class MeanField:
    """What all races share.

    nodes: (node, view) amplitudes h of one class's own views in each of their patches; weight: (node,) their shares of the
    class's examples. patches: C, of a view. tolerance: loss at which a race ends.
    """

    q: int
    rho: float
    classes: int
    patches: int
    nodes: Tensor
    weight: Tensor
    tolerance: float

    @classmethod
    def of(cls, settings: Settings, nodes: int = NODES) -> MeanField:
        """The mean field of these settings, over `nodes` or more: Sobol points, each with its views taken round in turn, so that
        no view is ahead by the draw; as many again that show one view alone, weighted mu, where there are such examples.

        Raises ViewraceError where there is no race of views with a loss to use up.
        """
        end = (settings.train.tolerance is not None, "train.tolerance must be a loss, received none")
        refuse_unless("mean-field races", [*race_rules(settings), end])
        data, net = settings.data, settings.net
        assert settings.train.tolerance is not None
        amplitude, weight = _amplitudes(data, nodes)
        shown = (amplitude / data.patches_per_feature).float()
        return cls(net.q, net.rho, data.classes, data.patches_per_feature, shown, weight.float(), settings.train.tolerance)

    def strengths(self, examples: Examples) -> Tensor:
        """(class, view) s_l of the classes' own examples; 1 for a class that has none."""
        found = torch.ones(self.classes, self.nodes.shape[1])
        mean = self.weight @ power(self.nodes * self.patches, self.q)
        for label in examples.labels.unique().tolist():
            found[label] = power(examples.own_amplitude[examples.labels == label], self.q).mean(dim=0) / mean
        return found

    def view_logits(self, x: Tensor) -> Tensor:
        """(race, view) logit of each view shown alone at amplitude 1, from x (race, view, neuron)."""
        return smoothed_relu(x / self.patches, self.q, 1.0).sum(dim=2) * self.patches * self.rho


def _amplitudes(data: Data, nodes: int) -> tuple[Tensor, Tensor]:
    """(node, view) amplitudes z of a class's own views, and the nodes' weights."""
    views, (low, high) = data.views, data.amplitude
    chance = torch.tensor(data.view_probability, dtype=torch.float64)
    first = math.ceil(nodes / views) if bool((chance == 1).all()) else nodes
    unit = torch.from_numpy(qmc.Sobol(2 * views, scramble=False).random_base2(first.bit_length())[1 : first + 1])
    multi, single = [], []
    for shift in range(views):
        size, here = (half.roll(shift, dims=1) for half in unit.split(views, dim=1))
        size, present = low + (high - low) * size, here < chance
        multi.append((size * present)[present.any(dim=1)])
        if data.mu:
            single.append(torch.full_like(size, data.weak_amplitude))
            single[-1][:, shift] = size[:, shift]
    parts = [(torch.cat(turns), share) for turns, share in ((multi, 1 - data.mu), (single, data.mu)) if turns and share]
    weight = torch.cat([torch.full((len(part),), share / len(part)) for part, share in parts])
    return torch.cat([part for part, _ in parts]) * torch.tensor(data.view_strength), weight


def run_mean_field(field: MeanField, start: Tensor, strength: Tensor | None = None) -> Tensor:
    """(race, view, neuron) x at the end of each race, from x at its start; float32.

    strength: (race, view) s_l, default 1. What starts at or below 0 stays there, and so does a race without a positive start.
    """
    ends = []
    for first in range(0, len(start), BLOCK):
        rows = slice(first, first + BLOCK)
        part = torch.ones(start[rows].shape[:2]) if strength is None else strength[rows].float()
        ends.append(_Races(field, start[rows].permute(2, 1, 0).contiguous().float(), part.T.contiguous()).go().permute(2, 1, 0))
    return torch.cat(ends)


class _Races:
    """Many races side by side, Bogacki-Shampine 3(2), each with its own step. A race that is over leaves.

    y: (2, view, race) w of the tallest neuron of each view, and the progress of the others, whose w at the start is `rest`
    (neuron - 1, view, race).
    """

    def __init__(self, field: MeanField, start: Tensor, strength: Tensor):
        self.field, self.start, self.strength = field, start, strength
        self.ranked, self.order = start.sort(dim=0, descending=True)
        w = straight(self.ranked, field.q)
        self.rest, self.y = w[1:], torch.stack([w[0], torch.zeros_like(w[0])])
        self.end = self.y.clone()
        self.amplitudes, self.shares = field.nodes.T[:, :, None], field.nodes.T * field.weight
        self.powers = power(field.nodes, field.q).T * field.weight
        self.forward = power(field.nodes, field.q) / field.q
        self.logit_scale = math.log(field.classes - 1)
        self.alive = (self.ranked[0] > 0).any(dim=0).nonzero().squeeze(1)

    def go(self) -> Tensor:
        """(neuron, view, race) x at the end."""
        self._take(self.alive)
        self._leap()
        self.slope, wrong = self._rates(self.y)
        self.loss = self._loss(wrong)
        self.step = self._first_step()
        for _ in range(MOST_STEPS):
            if not len(self.alive):
                break
            self._attempt()
        self.end[..., self.alive] = self.y
        return self._finish()

    def _leap(self) -> None:
        """To where the first view is at ONSET: until then the loss is as good as untouched, and every w has a constant pace."""
        pace = self.strength * self.powers.sum(dim=1, keepdim=True) * ((self.field.classes - 1) / self.field.classes)
        goal = straight(torch.tensor(ONSET / float(self.field.nodes.max())), self.field.q)
        self.y += pace * ((goal - self.y[0]) / pace).amin(dim=0).clamp(min=0)

    def _first_step(self) -> Tensor:
        goal = straight(1.2 * correlation(self.y[0], self.field.q), self.field.q)
        return ((goal - self.y[0]) / self.slope[0]).nan_to_num(nan=torch.inf).amin(dim=0)

    def _rates(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """dy/dt, and (node, race) 1 - p."""
        q, rho = self.field.q, self.field.rho * self.field.patches
        x = correlation(y[0], q)
        others = _raised(correlation(torch.minimum(self.rest + y[1], y[0]), q), q).sum(dim=0)
        logit, bends = self.forward @ others, []
        for amplitude, top in zip(self.amplitudes, x, strict=True):
            response = amplitude * top
            unit = response.clamp(max=1)
            bend = _raised(unit, q - 1)
            logit.addcmul_(bend, unit, value=1 / q).add_(response.sub_(unit))
            bends.append(bend)
        wrong = logit.mul_(-rho).add_(self.logit_scale).sigmoid_()
        own = torch.stack([share @ bend.mul_(wrong) for share, bend in zip(self.shares, bends, strict=True)])
        own /= _raised(x.clamp(min=1e-9), q - 1)
        return torch.stack([own, self.powers @ wrong]).mul_(self.strength), wrong

    def _attempt(self) -> None:
        y, h, first, q = self.y, self.step, self.slope, self.field.q
        second = self._rates(torch.addcmul(y, first, h, value=1 / 2))[0]
        third = self._rates(torch.addcmul(y, second, h, value=3 / 4))[0]
        trial = y + h * (2 / 9 * first + 1 / 3 * second + 4 / 9 * third)
        last, wrong = self._rates(trial)
        x = correlation(trial[0], q)
        off = (h * (-5 / 72 * first + 1 / 12 * second + 1 / 9 * third - 1 / 8 * last)).abs_()
        off = (off * power(x.clamp(min=LEAST), q - 1)).nan_to_num_(nan=0.0).amax(dim=(0, 1))
        blown = ~torch.isfinite(wrong[0]) | x.isnan().any(dim=0)
        size = (off / ERROR).masked_fill_(blown, torch.inf)
        good = size <= 1
        self.step = h * (SAFETY * size.clamp(min=1e-6) ** (-1 / 3)).clamp(SHRINK, GROW)
        self.y, self.slope = torch.where(good, trial, y), torch.where(good, last, first)
        before, loss = self.loss, self._loss(wrong)
        self.loss = torch.where(good, loss, before)
        over = good & (loss <= self.field.tolerance)
        if over.any():
            share = (before[over] / self.field.tolerance).log() / (before[over] / loss[over]).log()
            way = (trial[..., over] - y[..., over]).nan_to_num_(nan=0.0)
            self.end[..., self.alive[over]] = y[..., over] + share * way
            left = (~over).nonzero().squeeze(1)
            self._take(left)
            self.alive, self.step, self.loss = self.alive[left], self.step[left], self.loss[left]
            self.slope = self.slope[..., left]

    def _loss(self, wrong: Tensor) -> Tensor:
        """(race,) cross-entropy from 1 - p (node, race)."""
        return -(self.field.weight @ torch.log1p(-wrong))

    def _take(self, rows: Tensor) -> None:
        self.y, self.rest, self.strength = self.y[..., rows], self.rest[..., rows], self.strength[..., rows]

    def _finish(self) -> Tensor:
        top, progress = self.end
        w = torch.cat([top[None], torch.minimum(straight(self.ranked[1:], self.field.q) + progress, top)])
        x = correlation(w, self.field.q) + self.ranked.clamp(max=0)
        return torch.empty_like(x).scatter_(0, self.order, x)


def _raised(base: Tensor, exponent: int) -> Tensor:
    """base^exponent in memory of its own, taken once: `power` takes it for every product."""
    result = base.clone() if exponent == 1 else base * base
    for _ in range(exponent - 2):
        result.mul_(base)
    return result


def mean_field_coverage(settings: Settings, races: int = 2000, fraction: float = 0.1, root: int = 0) -> tuple[float, Tensor]:
    """Share of views with a logit of at least `fraction` of their class's strongest, and x (race, view, neuron) behind it.

    Starts are drawn as the network's: normal with standard deviation net.init, net.width neurons, data.views views.
    """
    field = MeanField.of(settings)
    shape = (races, settings.data.views, settings.net.width)
    start = torch.randn(shape, generator=torch_generator(root, Stream.INIT, DRAW)) * settings.net.init
    end = run_mean_field(field, start)
    logits = field.view_logits(end)
    return float(((logits >= fraction * logits.amax(dim=1, keepdim=True)) & (logits > 0)).float().mean()), end
