"""The audit: exact cases, intervals that cover, rules at their edges, refusals in one line."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import viewrace
from known_members import noisy, views
from viewrace.auditing import audit_logits
from viewrace.auditing.ceiling import AVERAGING, COVERAGE, fit, fit_best
from viewrace.auditing.inputs import checked
from viewrace.auditing.spread import groups_of, spread
from viewrace.auditing.table import subsets, tabulate
from viewrace.measure import Estimate


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("world", "kind"), [(views, "views"), (noisy, "variance")])
def test_views_and_noise_are_told_apart(world, kind, seed):
    found = audit_logits(*world(seed), seed=seed)
    assert found.answers.helps == "yes"
    assert found.answers.why == kind


@pytest.mark.parametrize(("members", "examples"), [(3, 600), (4, 100)])
def test_too_few_members_or_examples_do_not_say_why(members, examples):
    """Three members nearly always fall into two groups; at 100 examples the interval holds both answers."""
    found = audit_logits(*noisy(0, members=members, examples=examples), seed=0)
    assert found.diversity.line("disagreement").value.low > 0
    assert found.answers.why == "unclear"


def test_the_number_of_views_is_that_of_the_coverage_law():
    """A member knows a view with probability 1/3, as one that learns one of three: gain ~ 1 - (2/3)^(N-1)."""
    found = audit_logits(*views(4, members=7, examples=2000, knows=1 / 3)).gain.ahead
    assert found is not None
    assert found.law == "coverage"
    assert found.views is not None
    assert found.views.value == pytest.approx(3, abs=0.6)


def test_copies_gain_nothing_and_are_named():
    logits, labels = views(members=1)
    found = audit_logits(np.repeat(logits, 5, axis=0), labels)
    assert (found.answers.helps, found.answers.why) == ("no", "none")
    assert found.gain.gains["accuracy"].value == 0
    assert [found.diversity.line(name).value.value for name in ("disagreement", "only some get")] == [0, 0]
    assert found.advice[0].startswith("No benefit: do not")
    assert "members 0, 1, 2, 3, 4 are one network" in found.flags[0]


@settings(max_examples=2)
@given(st.integers(0, 10**6))
def test_answers_do_not_depend_on_the_order_of_members_or_on_a_shift_of_logits(seed):
    logits, labels = views(seed, members=4, examples=60)
    order = np.random.default_rng(seed).permutation(4)
    first, second = audit_logits(logits, labels), audit_logits(logits[order] + 7.0, labels)
    for name in ("accuracy", "nll", "brier"):
        assert first.gain.gains[name].value == pytest.approx(second.gain.gains[name].value, abs=1e-9)
    lines = zip(first.diversity.lines[:3], second.diversity.lines[:3], strict=True)
    assert all(one.value.value == pytest.approx(other.value.value, abs=1e-9) for one, other in lines)


def test_what_each_rule_averages_is_what_is_scored():
    logits, labels = noisy(examples=200)
    tensor = torch.from_numpy(logits)
    by = {
        "logits": tensor.mean(0).argmax(-1),
        "probabilities": tensor.softmax(-1).mean(0).argmax(-1),
    }
    for rule, predicted in by.items():
        found = audit_logits(logits, labels, average=rule)
        assert found.gain.ensemble["accuracy"].value == pytest.approx(float((predicted.numpy() == labels).mean()))
        assert found.gain.single["accuracy"].value == pytest.approx((logits.argmax(-1) == labels).mean())


def test_the_table_holds_every_subset_or_fair_ones():
    generator = np.random.default_rng(0)
    assert len(subsets(6, 3, generator)) == math.comb(6, 3)
    drawn = subsets(20, 7, generator)
    assert len(set(drawn)) == len(drawn)
    counts = np.bincount(np.concatenate([np.array(subset) for subset in drawn]), minlength=20)
    assert counts.max() - counts.min() <= len(drawn) // 10
    table = tabulate(*checked(*noisy(members=4, examples=100)), "logits", generator)
    assert np.bincount(table.inside.sum(axis=1))[1:].tolist() == [4, 6, 4, 1]


def test_groups_are_even_in_every_class():
    labels = torch.arange(200) % 5
    group = groups_of(labels, np.random.default_rng(0))
    assert all(np.bincount(group[labels.numpy() == label]).tolist() == [2] * 20 for label in range(5))


def test_the_interval_of_a_mean_is_that_of_its_textbook():
    """A mean over examples and members: 20 equal groups give the t interval of the group means."""
    values = np.random.default_rng(0).normal(size=20)

    def mean(group: int | None, member: int | None) -> float:
        return float(np.delete(values, group).mean() if group is not None else values.mean())

    found = spread(mean, 20, 2, 20)
    reach = 2.093024 * values.std(ddof=1) / math.sqrt(20)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach), rel=1e-5)
    assert found.method == "jackknife over 20 examples"


def test_intervals_over_examples_and_members_cover():
    """Mean of a_e + b_m + c_em over 200 examples and 6 members: the truth is 0, and 95% intervals hold it."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        values = rng.normal(size=200)[:, None] + 0.2 * rng.normal(size=6) + 2 * rng.normal(size=(200, 6))
        sums = values.reshape(20, 10, 6).sum(axis=1)

        def mean(group: int | None, member: int | None, sums: np.ndarray = sums) -> float:
            kept = sums if group is None else np.delete(sums, group, axis=0)
            kept = kept if member is None else np.delete(kept, member, axis=1)
            return float(kept.mean() / 10)

        found = spread(mean, 20, 6, 200)
        held += found.low <= 0 <= found.high
    assert 0.93 <= held / 300 <= 1.0


def test_examples_that_are_all_right_or_all_wrong_leave_a_doubt_of_their_number():
    labels = torch.arange(60) % 3
    right = tabulate(8 * torch.eye(3)[labels].repeat(4, 1, 1), labels, "logits", np.random.default_rng(0))
    wrong = tabulate(8 * torch.eye(3)[labels - 1].repeat(4, 1, 1), labels, "logits", np.random.default_rng(0))
    for size in (1, 4):
        found = right.level("accuracy", size)
        assert (found.value, found.low, found.high, found.n) == (1.0, pytest.approx(0.025 ** (1 / 60)), 1.0, 60)
        found = wrong.level("accuracy", size)
        assert (found.value, found.low, found.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 60)))


@pytest.mark.parametrize(("law", "rate"), [(AVERAGING, 0.0), (COVERAGE, 2 / 3)])
def test_a_curve_that_follows_a_law_is_fitted_by_it(law, rate):
    sizes = np.arange(1, 9, dtype=float)
    gains = 0.2 * (1 - 1 / sizes) if law == AVERAGING else 0.2 * (1 - rate ** (sizes - 1))
    best, other = fit_best(sizes, gains, 1.0)
    assert best.law == law
    assert best.ceiling == pytest.approx(0.2, rel=1e-3)
    assert best.error < other.error
    if law == COVERAGE:
        assert best.views == pytest.approx(3, rel=1e-2)
        assert best.gain(best.enough) == pytest.approx(0.95 * best.ceiling)
    else:
        assert best.enough == pytest.approx(20)


def test_no_ceiling_is_above_perfect():
    assert fit(AVERAGING, np.array([1.0, 2.0]), np.array([0.0, 0.4]), most=0.5).ceiling == 0.5


def test_the_rules_at_their_edges():
    from viewrace.auditing.answers import _helps, _keeps

    def at(value: float, low: float, high: float) -> Estimate:
        return Estimate(value, low, high, 100, "")

    assert _helps(at(0.01, 0.001, 0.02)) == "yes"
    assert _helps(at(0.02, -0.001, 0.04)) == "unclear"
    assert _helps(at(0.009, 0.005, 0.013)) == "no"
    assert _helps(at(0.0, -0.03, 0.03)) == "unclear"
    shares = {
        (0.5, 0.1, 0.9): "yes",
        (0.4, 0.1, 0.7): "unclear",
        (0.4, 0.3, 0.45): "no",
        (0.2, -0.1, 0.4): "no",
        (0.2, -1, 2): "unclear",
    }
    assert {each: _keeps(at(*each)) for each in shares} == shares


def test_the_page_needs_no_network_and_shows_every_figure():
    from viewrace.report import render_audit

    found = json.loads(json.dumps(audit_logits(*views(members=4)).to_json()))
    page = render_audit(found, {"torch": "2"})
    assert page.count("<svg") == 3
    for reach in ("<script", "<link", "@import", 'src="http', "url(http"):
        assert reach not in page
    for words in ("effective number of views", "only some get, and with margin", "Not tried", found["advice"][0].split(":")[0]):
        assert words in page
    nothing = json.loads(json.dumps(replace(audit_logits(*noisy(noise=0.0, members=3)), flags=()).to_json()))
    assert "looking ahead" not in render_audit(nothing)


@pytest.mark.parametrize(
    ("world", "bars", "words"),
    [
        (views(members=4), True, "Knowledge piles up at both ends"),
        (views(members=2), False, "Two members have no margin between the lowest and the highest"),
        (noisy(noise=0.0, members=3), False, "No example that only some get has margins between"),
    ],
)
def test_where_there_are_no_margins_to_count_words_stand_in_for_the_histogram(world, bars, words):
    from viewrace.report.audit import audit_figures, render_audit

    found = json.loads(json.dumps(audit_logits(*world).to_json()))
    axes = audit_figures(found)["diversity"].axes
    assert [ax.get_title(loc="left") for ax in axes] == ["Do some know, and some not?"] * bars + ["Against noise alone"]
    assert words in render_audit(found)


def test_the_confusion_table_counts_the_answers():
    from viewrace.claims.audit_cases import CASES, AuditCases
    from viewrace.report.audit_cases import confusion

    known = np.array(list(CASES.values()), dtype=object)
    answer = np.stack([np.where(known == "any", "variance", known)] * 3)
    end = ("root", "case", "end"), np.ones((3, len(CASES), 3))
    columns = {
        "known": (("case", "question"), known),
        "answer": (("root", "case", "question"), answer),
        "gain": end,
        "share": end,
    }
    coords = {"case": list(CASES), "end": ["value", "low", "high"], "root": [1, 2, 3]}
    data = xr.Dataset(columns, coords=coords)
    assert AuditCases().judge(data).verdict == "supported"
    assert all(right for row in confusion(data) for _, _, right in row["answers"])
    data["answer"].values[1, 0, 2] = "unclear"
    assert AuditCases().judge(data).verdict == "refuted"
    assert confusion(data)[0]["answers"][2] == ("yes", "unclear 1, yes 2", False)


@pytest.mark.slow
def test_the_known_cases_run_at_smoke_scale():
    from viewrace.claims import Lab, Scale
    from viewrace.claims.audit_cases import CASES, AuditCases

    data = AuditCases().run(Lab(viewrace.preset(), [0]), Scale.SMOKE)
    assert data["answer"].sel(case="copies").values.tolist() == [[*CASES["copies"][:2], "not asked"]]
    assert data["gain"].dims == ("root", "case", "end")


def test_under_noise_the_ceiling_is_a_floor():
    generator = np.random.default_rng(100)
    labels = generator.integers(0, 5, 1000)
    shared = 1.2 * np.eye(5)[labels] + 0.5 * generator.normal(size=(1000, 5))
    found = audit_logits(shared + generator.normal(size=(8, 1000, 5)), labels)
    many = shared + generator.normal(size=(300, 1000, 5))
    ever_more = (many.mean(axis=0).argmax(axis=1) == labels).mean() - (many.argmax(axis=2) == labels).mean()
    assert found.gain.ahead.ceiling.value < ever_more
    assert found.answers.why == "variance"
    assert "is heading for at least about" in found.advice[0]
