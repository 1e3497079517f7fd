"""Phase diagrams: valid points, resume, the dynamics behind them, and boundaries where they belong."""

import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from viewrace.claims import Scale
from viewrace.cli import main
from viewrace.presets import preset
from viewrace.report.boundaries import LETTER, Boundary, draw_boundary, edges
from viewrace.report.phase import phase_figure, phase_figures
from viewrace.study import Folder, phase, phase_folder
from viewrace.study.planes import PLANES, Plane, find_plane
from viewrace.study.point import FULL, PROJECTED, measure_point

MODULE = sys.modules["viewrace.study.phase"]
"""The module: its function of the same name hides it in the package."""
SMALL = {"data.classes": 3, "data.examples": 20, "data.test_examples": 10, "net.width": 2, "train.steps": 20}


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.id)
def test_every_point_of_a_plane_is_a_valid_setting_of_the_preset(plane):
    for scale in Scale:
        xs, ys = plane.grid(scale)
        assert xs == sorted(set(xs))
        assert ys == sorted(set(ys))
        for x in xs:
            for y in ys:
                chosen = plane.settings({}, x, y).model_dump()
                for name, value in ((plane.x, x), (plane.y, y)):
                    group, key = name.split(".")
                    assert chosen[group][key] == value
    assert set(plane.spots) <= {(x, y) for x in plane.x_values for y in plane.y_values}


def test_a_clean_plane_has_no_noise_on_its_grid_and_the_presets_at_its_spots():
    plane = find_plane("p-M")
    on_grid, spot = (plane.settings({}, 0.8, 3, on_grid=on_grid).data for on_grid in (True, False))
    assert (on_grid.noise, on_grid.feature_noise) == (0, 0)
    assert (spot.noise, spot.feature_noise) == (preset().data.noise, preset().data.feature_noise)
    assert plane.settings({"data.noise": 0.1}, 0.8, 3).data.noise == 0.1


def test_planes_pass_through_the_preset():
    for name, point in (("q-init", (0.03, 4)), ("mu-noise", (0.0, 0.02)), ("p-M", (1.0, 3)), ("delta-q", (0.0, 4))):
        assert find_plane(name).settings({}, *point, on_grid=False) == preset()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"planes": ["q-inti"]}, "no plane is called q-inti: did you mean q-init?"),
        ({"scale": "huge"}, "scale must be one of smoke, quick, full, received huge"),
        ({"seed": -1}, "seed must be at least 0, received -1"),
        ({"changes": {"net.q": 3}, "planes": ["q-init"]}, "net.q is varied in plane q-init"),
        ({"changes": {"net.family": "mlp"}}, "net.family must be patch in a phase diagram, received mlp"),
        ({"changes": {"data.source": "digits"}}, "data.source must be features in a phase diagram, received digits"),
        ({"changes": {"data.dim": 7}}, "data.dim"),
        ({"changes": {"data.classes": "ten"}}, "data.classes"),
        ({"changes": {"data.nonsense": 1}}, "unknown setting data.nonsense"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_compute(refusal, arguments, words):
    assert words in refusal(phase, **arguments)


def test_the_folder_is_named_after_what_is_drawn():
    assert phase_folder("quick", {}, 11).name == "phase-quick-seed11"
    marked = phase_folder("smoke", {"net.q": 3}, 0).name
    assert marked.startswith("phase-smoke-seed0-")
    assert marked != phase_folder("smoke", {"net.q": 4}, 0).name


def at(x, y, on_grid=True):
    return find_plane("q-init").settings(SMALL, x, y, on_grid)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("phase") / "out"
    return out, phase(["mu-noise", "q-init"], "smoke", SMALL, 0, out)


def test_a_run_writes_every_measure_of_every_point(drawn):
    out, found = drawn
    for name, data in found.items():
        assert data["coverage"].sizes == {"y": 3, "x": 3, "network": 2}
        np.testing.assert_allclose(data["margin"], data["coverage"].mean("network"))
        np.testing.assert_allclose(data["excess"], (data["margin"] - 1 / 3) / (2 / 3))
        assert (data["low"] <= data["margin"]).all()
        assert (data["margin"] <= data["high"]).all()
        assert data.sizes["spot"] == len(find_plane(name).spots)
        assert (data["spot_dynamics"] == FULL).all()
        assert (data["noisy_dynamics"] == FULL).all()
        xr.testing.assert_identical(Folder(out).read(f"phase-{name}"), data)
    assert (found["mu-noise"]["dynamics"] == FULL).all()
    spots = find_plane("q-init").spots
    assert list(zip(found["q-init"]["spot_x"].values, found["q-init"]["spot_y"].values, strict=True)) == list(spots)
    same = spots.index((1.0, 4))
    assert found["q-init"]["spot_margin"][same] == measure_point(at(1.0, 4), 0, 2, False)["margin"]
    assert found["q-init"]["noisy_moved"][same] == measure_point(at(1.0, 4, False), 0, 2, False)["moved"]
    assert found["q-init"]["noisy_moved"][same] != found["q-init"]["spot_moved"][same]
    assert (found["q-init"]["dynamics"].sel(x=0.005, y=3) == PROJECTED).all()
    assert (found["q-init"]["dynamics"].sel(y=1) == FULL).all()


def test_a_second_run_reads_what_the_first_wrote(drawn, monkeypatch):
    out, found = drawn
    monkeypatch.setattr(MODULE, "measure_point", None)
    for name, data in phase(["mu-noise", "q-init"], "smoke", SMALL, 0, out).items():
        xr.testing.assert_identical(data, found[name])


def test_a_run_that_was_stopped_goes_on_from_its_last_point(drawn, tmp_path, monkeypatch):
    done = []

    def stopping(*arguments, **named):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(arguments)
        return measure_point(*arguments, **named)

    monkeypatch.setattr(MODULE, "measure_point", stopping)
    with pytest.raises(KeyboardInterrupt):
        phase(["mu-noise"], "smoke", SMALL, 0, tmp_path)
    monkeypatch.setattr(MODULE, "measure_point", lambda *a, **n: done.append(a) or measure_point(*a, **n))
    data = phase(["mu-noise"], "smoke", SMALL, 0, tmp_path)["mu-noise"]
    assert len(done) == 9
    xr.testing.assert_equal(data, drawn[1]["mu-noise"])
    assert not (tmp_path / ".networks").exists()


def test_a_folder_of_other_settings_is_refused(drawn, refusal):
    out, _ = drawn
    assert "holds results of other settings" in refusal(phase, ["mu-noise"], "smoke", SMALL | {"net.width": 3}, 0, out)


@given(bits=st.lists(st.booleans(), min_size=12, max_size=12))
def test_edges_part_the_inside_from_the_outside(bits):
    inside = np.array(bits).reshape(3, 4)
    found = edges(inside, np.ones_like(inside))
    crossings = (inside[:, 1:] != inside[:, :-1]).sum() + (inside[1:] != inside[:-1]).sum()
    assert len(found) == crossings
    for (x0, y0), (x1, y1) in found:
        upright = x0 == x1
        row, column = (round((y0 + y1) / 2), round(x0 - 0.5)) if upright else (round(y0 - 0.5), round((x0 + x1) / 2))
        assert inside[row, column] != inside[row + (not upright), column + upright]


def test_no_edge_is_drawn_to_a_cell_that_is_not_known():
    inside, known = np.array([[True, False, False]]), np.array([[True, False, True]])
    assert edges(inside, known) == edges(inside.T, known.T) == []
    assert edges(inside, np.ones_like(known)) == [((0.5, -0.5), (0.5, 0.5))]
    assert edges(inside.T, np.ones_like(known.T)) == [((-0.5, 0.5), (0.5, 0.5))]


def test_a_boundary_has_its_name_on_its_longest_straight_run():
    ax = Figure().subplots()
    inside = np.array([[True, True, True], [False, False, True], [False, False, True]])
    look = Boundary("there", "white", "black", 1.0)
    assert draw_boundary(ax, inside, np.ones_like(inside), look, (1.0, 0.5))
    (name,) = ax.texts
    assert (name.get_text(), name.get_position(), name.get_rotation()) == ("there", (0.5, 0.5), 0)
    assert not draw_boundary(ax, np.ones_like(inside), np.ones_like(inside), look, (1.0, 0.5))


def test_a_name_longer_than_its_run_stays_inside_the_plane():
    look, cell = Boundary("a name", "white", "black", 1.0), (0.4, 0.1)
    half = LETTER * len(look.name) / 2
    for corner, across, up in ((0, 0.5, half / cell[1] - 0.5), (4, 0.5, 4.5 - half / cell[1])):
        inside, known = np.zeros((5, 2), dtype=bool), np.zeros((5, 2), dtype=bool)
        inside[corner, 0] = known[corner] = True
        ax = Figure().subplots()
        assert draw_boundary(ax, inside, known, look, cell)
        assert ax.texts[0].get_rotation() == 90
        assert ax.texts[0].get_position() == (across, pytest.approx(up))


def words(made):
    legend = made.legends[0]
    return [text.get_text() for text in legend.get_texts()], " ".join(legend.get_title().get_text().split())


def test_a_figure_says_what_is_projected_what_full_and_what_did_not_end(drawn):
    _, found = drawn
    spot, unfinished = "full networks at a spot, beside projected ones", "most networks ran out of evaluations"
    labels, caption = words(phase_figure([found["mu-noise"]]))
    assert "n = 2 networks a cell, root seed 0" in caption
    assert "Full networks in every cell" in caption
    assert spot not in labels
    ended = found["q-init"].copy(deep=True)
    ended["done"][:], ended["spot_done"][:] = 1.0, 1.0
    labels, caption = words(phase_figure([ended]))
    assert "Projected dynamics, exact without noise" in caption
    assert "*" not in caption
    assert "full networks in this cell" in labels
    assert unfinished not in labels
    ended["done"][0, 0] = 0.0
    labels, caption = words(phase_figure([ended]))
    assert unfinished in labels
    assert "*: not every network" in caption


def test_cells_have_their_coverage_and_projected_ones_the_spots_beside(drawn):
    data = drawn[1]["q-init"].copy(deep=True)
    data["dynamics"][:] = PROJECTED
    ax = phase_figure([data]).axes[0]
    data["dynamics"][:] = FULL
    bare = phase_figure([data]).axes[0]
    numbers = [text.get_text() for text in bare.texts if text.get_text()[:1] in ".10"]
    assert [float(number.rstrip("*")) for number in numbers] == pytest.approx(data["margin"].values.ravel(), abs=0.0051)
    on_grid = {(0.005, 1.0), (0.005, 3.0), (1.0, 3.0), (0.1, 3.0)} & set(find_plane("q-init").spots)
    assert len(ax.texts) - len(bare.texts) == len(on_grid) == 1
    assert ("spot" in " ".join(words(ax.figure)[0])) > ("spot" in " ".join(words(bare.figure)[0]))


def test_names_of_boundaries_are_clear_of_the_numbers_on_a_plane_of_few_rows(drawn):
    data = drawn[1]["q-init"].copy(deep=True)
    data["dynamics"][:], data["done"][:], data["moved"][:] = PROJECTED, 1.0, 2.0
    data["excess"][:] = np.array([[0.95, 0.4, 0.1], [0.0, 0.3, 0.1], [0.0, 0.0, 0.1]])  # "race ends" above the spot (0.1, 3)
    made = phase_figure([data])
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    drawer = canvas.get_renderer()
    names, numbers = [], []
    for text in made.axes[0].texts:
        (numbers if text.get_bbox_patch() is None else names).append(text)
    assert [name.get_text() for name in names] == ["race ends", "all views"]
    assert len(numbers) == data["margin"].size + 1
    boxes = [name.get_bbox_patch().get_window_extent(drawer) for name in names]
    assert not any(box.overlaps(number.get_window_extent(drawer)) for box in boxes for number in numbers)


def test_all_planes_are_drawn_together_too(drawn):
    _, found = drawn
    made = phase_figures(found)
    assert set(made) == {"phase-mu-noise", "phase-q-init", "phase"}
    titles = [ax.get_title(loc="left") for ax in made["phase"].axes[:-1]]
    assert titles == ["a  Single-view examples and noise", "b  Power and init"]
    assert set(phase_figures({"q-init": found["q-init"]})) == {"phase-q-init"}


def test_the_command_draws_what_is_there_and_show_tells_it(drawn, monkeypatch, capsys):
    out, _ = drawn
    asked = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    options = ["--planes", "mu-noise", "--scale", "smoke", "--seed", "0", "--out", str(out)]
    for arguments in (["phase", *options, *asked], ["show", str(out)]):
        monkeypatch.setattr("sys.argv", ["viewrace", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    assert all((out / f"phase-mu-noise.{kind}").stat().st_size > 5000 for kind in ("pdf", "png"))
    shown = capsys.readouterr().out
    for title in ("Power and init: coverage, margin 0.1, n = 2", "Single-view examples and noise: coverage"):
        assert title in shown
    assert "up: net.q, right: net.init" in shown
    assert "…" not in shown


def test_planes_are_found_by_name_alone():
    assert all(isinstance(find_plane(plane.id), Plane) for plane in PLANES)
