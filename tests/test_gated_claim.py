"""The claim of shared and private pathways: what refutes it, what its figure says, and a run."""

import numpy as np
import pytest
import xarray as xr

import viewrace
from viewrace.claims import find, gated_networks
from viewrace.claims.gated import LEADS, NOISES, OUTPUTS, STARTS
from viewrace.report import figures_of


def measured(share=0.98, untrained=(1.5, 0.2, 0.01), alone=0.5, led=0.03, deviation=1e-4):
    draws = np.random.default_rng(0)

    def around(*centres):
        spread = 0.05 * draws.normal(size=(2, 12, len(centres)))
        return np.asarray(centres) * (1 + spread - spread.mean(axis=1, keepdims=True))

    columns = {
        "deviation": ("outputs", around(*(deviation,) * 3)),
        "share": ("outputs", around(0.7, 0.9, share)),
        "untrained": ("outputs", around(*untrained)),
        "left": ("outputs", around(1e-4, 1e-4, 1e-4)),
        "share_led": ("lead", around(0.9, 0.3, led)),
    }
    film = np.linspace(0, 1, 30)[:, None, None] * np.array([[0.9, 0.8], [0.1, 0.2]])
    data = {name: (("root", "seed", dim), values) for name, (dim, values) in columns.items()}
    data["share_alone"] = (("root", "draw"), around(alone)[..., 0])
    data["deviation_noise"] = (("root", "seed", "start", "noise"), np.stack([around(*NOISES) for _ in STARTS], axis=2))
    data |= {"film_time": ("step", np.arange(30.0)), "film_reduced": (("step", "way", "mode"), film)}
    data["film_simulated"] = (("film", "step", "way", "mode"), np.stack([film, film / 2]))
    data["share_aligned"] = ("outputs", [0.95, 0.98, 0.99])
    coords = {"root": [1, 2], "outputs": list(OUTPUTS), "lead": list(LEADS), "start": list(STARTS), "noise": list(NOISES)}
    coords |= {"film": ["aligned", "unaligned"], "way": ["shared", "private"], "mode": list(gated_networks.MODES)}
    return xr.Dataset(data, coords=coords)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"deviation": 0.03}, 0),
        ({"share": 0.7}, 3),
        ({"untrained": (1.5, 0.2, 0.3)}, 4),
        ({"untrained": (0.4, 0.2, 0.01)}, 5),
        ({"alone": 0.8}, 6),
        ({"alone": 0.2}, 6),
        ({"led": 0.4}, 7),
    ],
)
def test_the_claim_is_refuted_by_each_of_its_checks(change, at):
    assert find("gated").judge(measured()).verdict == "supported"
    judged = find("gated").judge(measured(**change))
    assert judged.checks[at].verdict == "refuted"
    assert judged.verdict == "refuted"
    assert {check.n for check in judged.checks} == {24}


def test_the_figure_says_how_many_networks_a_point_rests_on():
    data = measured()
    (made,) = figures_of(data, find("gated").judge(data).to_json()).values()
    titles = [ax.get_title(loc="left") for ax in made.axes]
    assert len(titles) == 6
    assert sum("n = 24" in title for title in titles) == 4


def test_a_researcher_reaches_every_piece_from_the_package():
    for name in ("gated", "gated_flow", "linear", "reduction", "routing", "rungekutta"):
        assert name in viewrace.race.__all__
        module = getattr(viewrace.race, name)
        assert all(hasattr(module, each) for each in module.__all__)


def test_leads_that_are_private_alone_slow_nothing_down_and_are_measured_at_the_end():
    even, led = (gated_networks.race(0, 2, 1, lead, 2) for lead in (1.0, 6.0))
    for found in (even, led):
        assert found["left"].max() < 0.02
        assert found["untrained"].shape == found["share"].shape == (2,)
    assert led["share"].max() < 0.1 < even["share"].min()
    assert "untrained" not in gated_networks.race(0, 1, 1, 1.0, 1)


def test_noise_leaves_the_reduction_and_its_absence_does_not():
    found = gated_networks.beside_reduction(0, 1, 1, 0.3, (0.0, 0.3), 2)
    assert found["deviation"][0].max() < 1e-3
    assert found["deviation"][1].min() > 0.02
    assert found["simulated"].shape[1:] == found["reduced"].shape


@pytest.mark.slow
def test_the_claim_at_smoke_scale():
    study = viewrace.reproduce(["gated"], scale="smoke", seed=0)
    judged = study["gated"]
    assert "refuted" not in {check.verdict for check in judged.checks}
    assert [check.verdict for check in judged.checks[:3]] == ["supported"] * 3
    assert float(study.data["gated"]["change"].max()) < 0.02
