"""Diagnosis: each cause is found where it was put, and none where there is none."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from rich.console import Console

import viewrace
from viewrace.claims.lab import Bench, Role
from viewrace.cli import main
from viewrace.config import parse_override
from viewrace.measure import Estimate
from viewrace.presets import named, preset
from viewrace.screen_diagnosis import print_diagnosis
from viewrace.study.diagnosis.after import regime
from viewrace.study.diagnosis.before import before_training, same_inits
from viewrace.study.diagnosis.growth import measure_growth, neurons_of
from viewrace.study.diagnosis.recipe import mended, missing, on_this_ground

WORKING = preset(views=3, classes=5).replace(**{"data.test_examples": 200})


def value(lines, name):
    (found,) = [line.value for line in lines if line.name.startswith(name)]
    return found.value if isinstance(found, Estimate) else found


def exponent(settings, count=6):
    bench = Bench(settings, 0)
    family = bench.family()
    params = family.init(bench.generators(Role.MEMBER, 0, count))
    neurons = neurons_of(family, bench.distribution)
    return measure_growth(settings, neurons, family, params, bench.examples)


@pytest.mark.parametrize("q", [1, 2, 3, 4])
def test_the_measured_exponent_is_that_of_the_activation(q):
    found = exponent(preset().replace(**{"net.q": q}))
    assert found.exponent.mean() == pytest.approx(q - 1, abs=0.1)


def test_the_exponent_shows_an_init_beyond_the_polynomial_part():
    assert exponent(preset().replace(**{"net.init": 1.0})).exponent.mean() < 1.5


def test_the_gradient_pulls_to_the_sum_of_the_views_on_flat_input_alone():
    flat = exponent(preset().replace(**{"data.layout": "flat"}))
    assert flat.evenness.mean() > 0.95
    assert exponent(preset()).evenness.mean() < 0.6


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, None),
        ({"net.q": 1}, "growth exponent"),
        ({"data.mu": 0.5}, "single-view examples"),
        ({"data.layout": "flat"}, "views in patches"),
        ({"net.init": 1.0}, "small init"),
        ({"net.rho": 1.0}, "wide polynomial part"),
        ({"data.cosine_within": 0.5}, "separate views"),
        ({"net.family": "mlp", "net.hidden": (16,), "net.q": 4}, "neurons shared by patches"),
    ],
)
def test_before_training_the_suspect_is_what_was_changed(change, name):
    found = viewrace.diagnose(WORKING.replace(**change), count=3, seed=0, train=False)
    assert [rung.name for rung in found.rungs] == ([] if name is None else [name])
    assert found.regime == "untrained"
    for rung in found.rungs:
        mended(WORKING.replace(**change), missing(WORKING.replace(**change), 0.5, 1.0))
        assert rung.commands()


@pytest.mark.parametrize("family", ["patch", "mlp"])
@pytest.mark.parametrize("layout", ["patches", "flat"])
def test_every_family_and_layout_is_measured(family, layout):
    settings = WORKING.replace(**{"net.family": family, "data.layout": layout, "net.hidden": (16,), "net.q": 1})
    found = viewrace.diagnose(settings, count=3, seed=0, train=False)
    lines = {line.name: line.value for line in found.before}
    assert lines["growth exponent, measured"] is not None
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["regime"] == "untrained"


def test_what_does_not_apply_is_said_so():
    settings = WORKING.replace(**{"net.family": "linear", "net.hidden": (8,), "net.q": 1})
    found = viewrace.diagnose(settings, count=3, seed=0, train=False)
    said = {line.name: line.says for line in found.before if line.value is None}
    assert "does not apply" in said["growth exponent, measured"]


def test_the_fraction_of_single_views_is_counted_and_expected():
    settings = WORKING.replace(**{"data.layout": "flat", "data.views": 3, "data.p": 0.5, "data.dim": 20, "data.examples": 4000})
    bench = Bench(settings, 0)
    family = bench.family()
    params = family.init(bench.generators(Role.MEMBER, 0, 2))
    found = before_training(settings, bench, family, params, np.random.default_rng(0))
    assert found.single == pytest.approx(3 / 7, abs=0.03)
    assert "expected 0.429" in found.lines[0].says


def test_untrained_networks_are_right_by_chance():
    found = viewrace.diagnose(preset(), count=24, seed=0, train=False)
    assert value(found.before, "untrained: coverage, isolated") == pytest.approx(0.1, abs=0.05)
    assert value(found.before, "untrained: single-view accuracy") == pytest.approx(0.1, abs=0.05)


def test_seeds_that_are_one_network_are_named():
    again = [torch.Generator().manual_seed(0) for _ in range(4)]
    found = viewrace.diagnose(WORKING, seed=0, inits=again)
    assert found.regime == "one network"
    assert "same" in found.conclusion
    assert value(found.before, "networks with the same init") == "6 of 6 pairs"


def test_different_inits_are_not_taken_for_one_network():
    bench = Bench(WORKING, 0)
    assert same_inits(bench.family().init(bench.generators(Role.MEMBER, 0, 5))) == 0


def test_the_working_setting_shows_a_race_and_no_cause():
    found = viewrace.diagnose(WORKING, count=8, seed=0)
    assert found.regime == "race"
    assert found.causes == []
    assert found.conclusion.startswith("No cause found")


@pytest.mark.parametrize(("change", "cause"), [({"net.q": 1}, "growth exponent"), ({"data.mu": 0.5}, "single-view examples")])
def test_a_cause_is_found_by_retraining(change, cause):
    found = viewrace.diagnose(WORKING.replace(**change), count=6, seed=0)
    assert found.regime in ("no race", "blunted race")
    assert found.causes == [cause]
    assert found.rungs[0].alone.value - found.mended.value == pytest.approx(found.rungs[0].effect.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ({}, []),
        ({"net.q": 1}, ["growth exponent"]),
        ({"data.mu": 0.5}, ["single-view examples"]),
        ({"data.layout": "flat"}, ["views in patches"]),
        ({"net.init": 1.0}, ["small init"]),
        ({"net.rho": 1.0}, ["wide polynomial part"]),
    ],
)
def test_at_the_preset_each_cause_is_named(change, causes):
    assert viewrace.diagnose(preset().replace(**change), seed=0).causes == causes


@pytest.mark.slow
def test_two_causes_are_both_found_and_ordered():
    found = viewrace.diagnose(WORKING.replace(**{"net.q": 1, "data.mu": 0.5}), count=6, seed=0)
    assert set(found.causes) == {"growth exponent", "single-view examples"}
    sizes = [rung.effect.value for rung in found.rungs]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.32, 0.36, "race"),
        (0.40, 0.60, "blunted race"),
        (0.90, 1.00, "no race"),
        (0.10, 0.20, "little learned"),
        (0.30, 0.60, "unclear"),
    ],
)
def test_the_regime_is_judged_by_the_whole_interval(low, high, said):
    assert regime(Estimate((low + high) / 2, low, high, 8, ""), views=3) == said


def test_the_common_ground_keeps_the_flow_and_replaces_sgd():
    assert on_this_ground(WORKING) == WORKING
    sgd = WORKING.replace(**{"train.method": "sgd", "data.examples": 4000})
    assert on_this_ground(sgd).train.method == "flow"
    assert on_this_ground(sgd).data.examples == 300


def test_the_command_writes_json_and_figures_and_show_reads_it_back(tmp_path, monkeypatch, capsys):
    (tmp_path / "c.yaml").write_text(WORKING.to_yaml())
    monkeypatch.chdir(tmp_path)
    for arguments in (["diagnose", "c.yaml", "--count", "4", "--out", "out", "--json", "found.json"], ["show", "out"]):
        monkeypatch.setattr(sys, "argv", ["viewrace", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert "coverage" in capsys.readouterr().out
    found = {item.name for item in (tmp_path / "out").iterdir()}
    assert {"diagnosis.json", "diagnosis.nc", "diagnosis.png", "diagnosis.pdf", "settings.yaml", "manifest.json"} == found
    assert json.loads((tmp_path / "found.json").read_text()) == json.loads((tmp_path / "out" / "diagnosis.json").read_text())


def test_what_mends_it_is_whole_on_a_narrow_terminal():
    found = viewrace.diagnose(named("blocker-001"), count=2, train=False).to_json()
    paper = Console(width=80, file=io.StringIO())
    print_diagnosis(paper, found)
    said = paper.file.getvalue()
    commands = [command for rung in found["rungs"] for command in rung["set"]]
    assert commands
    assert all(command in said for command in [*commands, *found["set"]])


def test_the_conclusion_and_what_to_change_come_before_the_tables():
    found = viewrace.diagnose(named("blocker-001"), count=2, train=False).to_json()
    paper = Console(width=140, file=io.StringIO())
    print_diagnosis(paper, found)
    said = paper.file.getvalue().splitlines()
    assert said[0].strip() == found["conclusion"]
    assert said[1].strip() == f"To change, all at once: {' '.join(found['set'])}"
    heads = [line for line in said if line.startswith(("missing ingredient", "measure"))]
    assert [head.split("  ")[0] for head in heads] == ["missing ingredient", "measure"]


def test_all_of_it_at_once_is_one_value_a_setting():
    """Two ingredients of blocker-001 ask for different rho; together it is that of the patch network."""
    found = viewrace.diagnose(named("blocker-001"), count=2, train=False).to_json()
    changes = [parse_override(command.removeprefix("--set ")) for command in found["set"]]
    assert len(dict(changes)) == len(changes)
    mended = named("blocker-001").replace(**dict(changes))
    assert (mended.net.family, mended.net.q, mended.net.rho, mended.data.layout) == ("patch", 4, 10.0, "patches")


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        ("data.views=1", {}, "data.views must be at least 2"),
        ("net.q=4", {"count": 1}, "count must be at least 2"),
        ("net.q=4", {"seed": -1}, "seed must be at least 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(refusal, change, arguments, words):
    key, number = change.split("=")
    settings = WORKING.replace(**{key: int(number)})
    assert words in refusal(viewrace.diagnose, settings, **arguments)


def test_an_unknown_config_names_the_presets(refusal, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["viewrace", "diagnose", "nowhere.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "blocker-001" in error
