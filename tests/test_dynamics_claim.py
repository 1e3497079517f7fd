"""The claim `dynamics`: every prediction is judged by its own measurement."""

import numpy as np
import pytest
import xarray as xr

import viewrace
from viewrace.claims.dynamics import Dynamics
from viewrace.claims.dynamics_runs import AXES, FEATURE_NOISE, LEADERS
from viewrace.presets import preset


def made(changes=None):
    """Measurements as the claim predicts them, but for `changes`."""
    rows = [("as set", 0.0)] + [(a, float(v)) for a, values in AXES.items() for v in values]
    rows += [("data.feature_noise", float(v)) for v in FEATURE_NOISE]
    rows = [row for row in rows for _ in range(6)]
    full = np.array([0.34 + 0.001 * (i % 3) for i in range(len(rows))])
    values = {"deviation": 2e-5, "growth_winners": 1.0, "raw_winners": 0.99}
    values |= {"gap": 0.0, "linear": 0.6, "power": 0.85} | (changes or {})
    close = ("root", "close")
    data = xr.Dataset({"deviation": (close, np.full((2, 2), values["deviation"]))})
    data["trained"] = (close, np.full((2, 2), 0.2))
    data["axis"], data["value"] = ("network", [a for a, _ in rows]), ("network", [v for _, v in rows])
    data["at"] = ("network", [0, 0, 0, 1, 1, 1] * (len(rows) // 6))
    data["full"], data["projected"] = ("network", full), ("network", full)
    data["growth_coverage"] = ("network", full + values["gap"])
    for name in ("growth_winners", "raw_winners"):
        data[name] = ("network", np.full(len(rows), values[name]))
    for name in ("map_gap", "map_winners"):
        data[name] = (("amplitude", "init", "cell"), np.zeros((2, 2, 4)))
    network = np.stack([np.full((2, 3), 0.6), np.full((2, 3), 0.85)])
    for name in LEADERS:
        column = network if name in ("start", "network") else np.full((2, 2, 3), values[name])
        data[f"leader_{name}"] = (("q", "root", "seed"), column)
    return data.assign_coords(q=[2, 4], root=[0, 1])


def test_the_claim_is_judged_by_what_was_measured():
    assert {check.verdict for check in Dynamics().judge(made()).checks} == {"supported"}


@pytest.mark.parametrize(
    ("change", "refuted"),
    [
        ({"deviation": 2e-4}, "projected, largest difference"),
        ({"growth_winners": 0.9}, "mean-field, winners, from the measured growth"),
        ({"raw_winners": 0.9}, "mean-field, winners, from the correlations alone"),
        ({"gap": -0.05}, "mean-field coverage less the networks', net.init"),
        ({"linear": 0.7}, "Lotka-Volterra"),
        ({"power": 0.7}, "power form"),
    ],
)
def test_each_prediction_is_refuted_by_its_own_measurement(change, refuted):
    found = {check.name: check.verdict for check in Dynamics().judge(made(change)).checks}
    wrong = [name for name, verdict in found.items() if verdict == "refuted"]
    assert any(name.startswith(refuted) for name in wrong)
    assert len(wrong) == (3 if "gap" in change else 1)


def test_the_claim_says_nothing_where_the_dynamics_do_not_hold():
    claim = Dynamics()
    assert claim.applies(preset()) is None
    for changes in ({"net.family": "mlp"}, {"data.layout": "flat"}, {"net.q": 2}, {"data.cosine_within": 0.1}):
        assert claim.applies(preset().replace(**changes)) is not None


@pytest.mark.slow
def test_the_claim_at_smoke_scale():
    found = viewrace.reproduce(["dynamics"], scale="smoke")["dynamics"]
    assert found.checks[0].estimate < 1e-4
    assert found.measures["trained networks, largest difference from the exact flow"].value > 1e-3
