"""Mean-field races: every class by itself, the loss as the one thing its views compete for.

With x[l, r] the correlation of neuron r with view l, in units of rho, and time in units of rho K,

    dx[l, r]/dt = s_l E_z[(1 - p(z)) z_l min(z_l x, 1)^(q-1)],    p = e^f / (e^f + K - 1),    f = rho sum_{l, r} act(z_l x),

the power-law race of AZL with the loss it uses up. The mean over amplitudes z is one over fixed nodes; s_l is the strength of
the view, E[z_l^q] of the class's own examples over that of the nodes. Left out: other classes' logits, distractors, noise.
The tallest neuron of each view is followed on the linear part too, the others on the power law alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from viewrace.config import Settings
from viewrace.data import Examples
from viewrace.errors import ViewraceError
from viewrace.nets.activation import power
from viewrace.race.coordinate import correlation, straight
from viewrace.streams import Stream, numpy_generator

__all__ = ["Field", "coverage", "lotka_volterra", "power_race", "race", "strengths"]

NODES = 16
BLOCK = 8192
ERROR = 0.01
MOST_STEPS = 200
ONSET, LEAST, TALLEST = 0.45, 0.1, 1e6
SAFETY, SHRINK, GROW = 0.85, 0.2, 4.0


@dataclass(frozen=True)
class Field:
    """What all races share. nodes: (node, view) amplitudes of one class's own views. tolerance: loss at which a race ends."""

    q: int
    rho: float
    classes: int
    nodes: Tensor
    tolerance: float

    @classmethod
    def of(cls, settings: Settings, nodes: int = NODES) -> Field:
        """The field of these settings, with Sobol nodes; a share mu of them shows one view alone."""
        data, net = settings.data, settings.net
        if net.q < 2:
            raise ViewraceError(f"the mean-field race needs net.q of at least 2, received {net.q}: there is no power to race by")
        if settings.train.tolerance is None:
            raise ViewraceError(
                "the mean-field race ends at a loss, received train.tolerance = none: set train.tolerance=0.05, say"
            )
        unit = torch.from_numpy(qmc.Sobol(data.views, scramble=False).random(2 * nodes)[1 : nodes + 1])
        low, high = data.amplitude
        amplitude = low + (high - low) * unit
        single = round(data.mu * nodes)
        for node in range(single):
            amplitude[node, torch.arange(data.views) != node % data.views] = data.weak_amplitude
        amplitude = amplitude * torch.tensor(data.view_strength)
        return cls(net.q, net.rho, data.classes, amplitude.float(), settings.train.tolerance)


def strengths(field: Field, examples: Examples) -> Tensor:
    """(class, view) s_l: mean z^q over each class's own examples, over that of the nodes."""
    own = power(examples.own_amplitude, field.q)
    means = torch.stack([own[examples.labels == label].mean(dim=0) for label in range(field.classes)])
    return means / power(field.nodes, field.q).mean(dim=0)


def race(field: Field, start: Tensor, strength: Tensor | None = None) -> Tensor:
    """(race, view, neuron) x at the end of each race, from x at its start; float32.

    strength: (race, view), default 1. What starts at or below 0 stays there. A race without a positive start ends where it is.
    """
    ends = []
    for first in range(0, len(start), BLOCK):
        rows = slice(first, first + BLOCK)
        part = None if strength is None else strength[rows].T.contiguous()
        ends.append(_Races(field, start[rows].permute(2, 1, 0).contiguous().float(), part).go().permute(2, 1, 0))
    return torch.cat(ends)


class _Races:
    """Many races side by side, Bogacki-Shampine 3(2), each with its own step.

    State (2, view, race): w of the tallest neuron of each view, and the progress of the others.
    """

    def __init__(self, field: Field, start: Tensor, strength: Tensor | None):
        self.field, q = field, field.q
        self.start = start.sort(dim=0, descending=True).values
        self.order = start.argsort(dim=0, descending=True)
        w = straight(self.start, q)
        self.rest = w[1:]
        views, count = start.shape[1:]
        pull = (power(field.nodes, q) / len(field.nodes))[:, :, None]
        self.strength = torch.ones(views, count) if strength is None else strength.float()
        self.loud = pull
        self.y = torch.stack([w[0], torch.zeros(views, count)])
        self.end = self.y.clone()
        self.alive = (self.start[0] > 0).any(dim=0).nonzero().squeeze(1)
        self.top = self.start[0]

    def go(self) -> Tensor:
        """(neuron, view, race) at the end."""
        self._keep(self.alive)
        self._jump()
        self.slope = self._slope(self.y)
        self.step = self._first_step()
        for _ in range(MOST_STEPS):
            if not len(self.alive):
                break
            self._attempt()
        self.end[..., self.alive] = self.y
        return self._finish()

    def _jump(self) -> None:
        """Until the first view is at ONSET the loss is as good as untouched, and every w moves at a constant pace."""
        pace = self.strength * self.loud.sum(dim=0) * ((self.field.classes - 1) / self.field.classes)
        goal = straight(torch.tensor(ONSET / float(self.field.nodes.max())), self.field.q)
        time = ((goal - self.y[0]) / pace).amin(dim=0).clamp(min=0)
        self.y += pace * time

    def _first_step(self) -> Tensor:
        goal = straight(1.2 * correlation(self.y[0], self.field.q), self.field.q)
        return ((goal - self.y[0]) / self.slope[0]).nan_to_num(nan=torch.inf).amin(dim=0)

    def _slope(self, y: Tensor) -> Tensor:
        field, q = self.field, self.field.q
        x = correlation(y[0], q)
        others = power(correlation(self.rest + y[1], q), q).sum(dim=0)
        logit, bends = torch.zeros(()), []
        for view in range(x.shape[0]):
            z = field.nodes[:, view, None]
            reached = z * x[view]
            unit = reached.clamp(max=1)
            bend = power(unit, q - 1)
            own = (bend * unit).div_(q).add_(reached.sub_(unit))
            logit = logit + own.add_(power(z, q) / q * others[view])
            bends.append(bend)
        self.wrong = torch.sigmoid(np.log(field.classes - 1) - field.rho * logit)
        slope = torch.empty_like(y)
        for view, bend in enumerate(bends):
            z = field.nodes[:, view]
            slope[0, view] = (z / len(z)) @ (self.wrong * bend) / power(x[view].clamp(min=1e-9), q - 1)
            slope[1, view] = (power(z, q) / len(z)) @ self.wrong
        return slope.mul_(self.strength)

    def _attempt(self) -> None:
        y, h, first = self.y, self.step, self.slope
        second = self._slope(y + h / 2 * first)
        third = self._slope(y + 0.75 * h * second)
        trial = y + h * (2 / 9 * first + 1 / 3 * second + 4 / 9 * third)
        last = self._slope(trial)
        x = correlation(trial[0], self.field.q)
        off = (h * (-5 / 72 * first + 1 / 12 * second + 1 / 9 * third - 1 / 8 * last)).abs_()
        off = (off * power(x.clamp(min=LEAST), self.field.q - 1)).nan_to_num_(nan=0.0).amax(dim=(0, 1))
        size = torch.where(torch.isfinite(trial[0].amax(dim=0)) & ~x.isnan().any(dim=0), off / ERROR, TALLEST)
        good = size <= 1
        self.step = h * (SAFETY * size.clamp(min=1e-6) ** (-1 / 3)).clamp(SHRINK, GROW)
        self.y, self.slope = torch.where(good, trial, y), torch.where(good, last, first)
        loss = -torch.log1p(-self.wrong).mean(dim=0)
        going = ~(good & (loss <= self.field.tolerance))
        if int(going.sum()) < len(going):
            self.end[..., self.alive[~going]] = self.y[..., ~going]
            self._keep_rows(going.nonzero().squeeze(1))

    def _keep(self, rows: Tensor) -> None:
        self.y, self.rest, self.strength = self.y[..., rows], self.rest[..., rows], self.strength[..., rows]

    def _keep_rows(self, rows: Tensor) -> None:
        self._keep(rows)
        self.alive, self.step, self.slope = self.alive[rows], self.step[rows], self.slope[..., rows]

    def _finish(self) -> Tensor:
        w = torch.cat([self.end[:1], straight(self.start[1:], self.field.q) + self.end[1]])
        x = correlation(w, self.field.q) + self.start.clamp(max=0)
        return torch.empty_like(x).scatter_(0, self.order, x)


def coverage(
    settings: Settings, races: int = 2000, fraction: float = 0.1, nodes: int = NODES, root: int = 0
) -> tuple[float, Tensor]:
    """Share of views with a logit of at least `fraction` of their class's strongest, and the x behind it.

    Starts are drawn as the network's: normal with standard deviation net.init, `net.width` neurons, data.views views.
    """
    field = Field.of(settings, nodes)
    generator = numpy_generator(root, Stream.INIT, 9)
    shape = (races, settings.data.views, settings.net.width)
    start = torch.from_numpy(generator.standard_normal(shape) * settings.net.init).float()
    end = race(field, start)
    strength = view_logits(field, end)
    best = strength.amax(dim=1, keepdim=True)
    return float(((strength >= fraction * best) & (strength > 0)).float().mean()), end


def view_logits(field: Field, x: Tensor) -> Tensor:
    """(race, view) logit of each view shown alone at amplitude 1."""
    unit = x.clamp(0, 1)
    return field.rho * (power(unit, field.q) / field.q + (x - 1).clamp(min=0)).sum(dim=2)


def lotka_volterra(start: Tensor, rate: Tensor, time: float, steps: int = 400, capacity: float = 1.0) -> Tensor:
    """(..., view) s at `time` of ds_m/dt = r_m s_m (1 - sum s^2 / capacity^2), the competitive form that is linear in s.

    log s_m - log s_n grows at r_m - r_n times a common clock: with equal rates ratios are kept, and nothing is a race.
    """

    def slope(w: Tensor) -> Tensor:
        return rate * (1 - w.exp().square().sum(-1, keepdim=True) / capacity**2)

    return _runge_kutta(start.log(), slope, time, steps).exp()


def power_race(start: Tensor, rate: Tensor, time: float, q: int, steps: int = 4000, capacity: float = 1.0) -> Tensor:
    """(..., view) s at `time` of ds_m/dt = r_m s_m^(q-1) (1 - sum s^2 / capacity^2): at q >= 3 the leader runs away."""

    def slope(w: Tensor) -> Tensor:
        s = w.exp()
        return rate * s ** (q - 2) * (1 - s.square().sum(-1, keepdim=True) / capacity**2)

    return _runge_kutta(start.log(), slope, time, steps).exp()


def _runge_kutta(w: Tensor, slope, time: float, steps: int) -> Tensor:  # type: ignore[no-untyped-def]
    h = time / steps
    for _ in range(steps):
        a = slope(w)
        b = slope(w + h / 2 * a)
        c = slope(w + h / 2 * b)
        w = w + h / 6 * (a + 2 * b + 2 * c + slope(w + h * c))
    return w
