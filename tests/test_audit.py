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
from torch import nn

import viewrace
from viewrace.auditing import audit_logits, read_logits
from viewrace.auditing.ceiling import AVERAGING, COVERAGE, fit, fit_best
from viewrace.auditing.inputs import checked
from viewrace.auditing.pilot import fly
from viewrace.auditing.plan import CELLS, choose_plan
from viewrace.auditing.spread import groups_of, spread
from viewrace.auditing.table import subsets, tabulate
from viewrace.data.images import ImageSet, load_images
from viewrace.measure import Estimate
from viewrace.train.members import MemberConfig, Members, train_members

CLASSES = 5


def views(seed: int = 0, members: int = 6, examples: int = 600, knows: float = 0.35, classes: int = CLASSES):
    """Half of the examples show one view, which a member knows with probability `knows`; the other half all."""
    rng, labels = np.random.default_rng(seed), np.arange(examples) % classes
    logits = 0.5 * rng.normal(size=(members, examples, classes))
    single = rng.random(examples) < 0.5
    known = np.where(single, rng.random((members, examples)) < knows, True)
    logits[:, np.arange(examples), labels] += np.where(known, 4.0, 0.0)
    return logits, labels


def noisy(seed: int = 0, members: int = 6, examples: int = 600, classes: int = CLASSES, noise: float = 1.2):
    """All members share one answer an example, and differ by Gaussian noise about it."""
    rng, labels = np.random.default_rng(seed), np.arange(examples) % classes
    mean = 1.5 * rng.normal(size=(examples, classes))
    mean[np.arange(examples), labels] += 2
    return mean + noise * rng.normal(size=(members, examples, classes)), labels


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


def _flown(student_logits):
    logits, labels = checked(*views(5, members=5, examples=400))
    train = torch.zeros(5, 40, CLASSES, dtype=torch.float64)
    return fly(
        lambda teacher, temperature, alpha: student_logits(logits), (train, logits), labels, "logits", np.random.default_rng(0)
    )


def test_a_student_that_is_the_ensemble_keeps_all_and_a_member_nothing():
    whole = _flown(lambda logits: logits.mean(dim=0, keepdim=True).repeat(2, 1, 1))
    assert whole.share.value == pytest.approx(1.0)
    assert whole.share.low <= 1.0 <= whole.share.high
    none = _flown(lambda logits: logits)
    assert none.share.value == pytest.approx(0.0, abs=1e-12)
    assert len(whole.cells) + 1 == CELLS


@pytest.mark.parametrize("rule", ["logits", "probabilities"])
def test_students_are_taught_by_the_average_and_the_last_ones_by_one_member(rule):
    logits, labels = checked(*views(6, members=4, examples=200))
    train, asked = torch.randn(4, 40, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64), []

    def students(teacher, temperature, alpha):
        asked.append((teacher, temperature, alpha))
        return logits[:1] + 0.01 * temperature

    found = fly(students, (train, logits), labels, rule, np.random.default_rng(0))
    whole = train.mean(dim=0) if rule == "logits" else train.softmax(dim=-1).mean(dim=0).log()
    assert all(torch.allclose(teacher, whole) for teacher, *_ in asked[:-1])
    assert torch.equal(asked[-1][0], train[0])
    assert asked[-1][1:] == (found.temperature, found.alpha)
    assert [at for _, *at in asked[:-1]] == [[t, a] for a in (1.0, 0.5) for t in (1.0, 2.0, 4.0, 8.0)]


def test_the_plan_fits_the_budget_and_says_what_would():
    for budget in (60.0, 200.0, 2000.0):
        plan = choose_plan(0.5, budget, None, None)
        assert plan.seconds <= budget
        assert plan.members >= 2
    assert choose_plan(0.5, 1e6, None, None).members == 8
    assert choose_plan(0.5, 1e6, 4, 7).epochs == 7


def test_a_budget_too_small_says_what_it_would_take(refusal):
    words = refusal(choose_plan, 60.0, 60.0, None, 10)
    assert "must hold 2 networks of 10 epochs, received 1 min: give 25 min" in words
    needed = 60 * 25.0
    assert choose_plan(60.0, needed, None, 10).members == 2


LOGITS, LABELS = views(examples=60)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (LOGITS[0], LABELS, "must be floats (member, example, class)"),
        (LOGITS.astype(int), LABELS, "must be floats"),
        (LOGITS[:1], LABELS, "needs 2 members and 2 classes or more, received 1 and 5"),
        (LOGITS, LABELS[:-1], "one for each of the 60 examples"),
        (LOGITS, LABELS.astype(float), "labels must be integers"),
        (LOGITS[:, :20], LABELS[:20], "needs 40 test examples or more, received 20"),
        (LOGITS[:, :0], LABELS[:0], "needs 40 test examples or more, received 0"),
        (np.where(np.arange(60)[:, None] == 7, np.nan, LOGITS), LABELS, "received nan (member 0, example 7 is the first of 30)"),
        (LOGITS, LABELS + 1, "labels must lie in 0..4, one of the 5 logits, received 1..5"),
        (LOGITS, LABELS - 1, "received -1..3"),
        (LOGITS, np.where(LABELS == 3, 0, LABELS), "received none of class 3 (1 of 5 missing)"),
    ],
)
def test_unfit_logits_are_refused_in_one_line(refusal, logits, labels, words):
    assert words in refusal(audit_logits, logits, labels)


def test_an_unknown_rule_is_refused(refusal):
    assert "average must be one of logits, probabilities" in refusal(audit_logits, LOGITS, LABELS, average="votes")


def test_logits_are_read_from_both_kinds_and_joined(tmp_path):
    from safetensors.numpy import save_file

    np.savez(tmp_path / "a.npz", logits=LOGITS[:2], labels=LABELS)
    save_file({"logits": LOGITS[2]}, tmp_path / "b.safetensors")
    logits, labels = read_logits([tmp_path / "a.npz", tmp_path / "b.safetensors"])
    assert np.array_equal(logits, LOGITS[:3])
    assert np.array_equal(labels, LABELS)


def test_files_that_do_not_fit_are_refused(tmp_path, refusal):
    def file(name: str, **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    good = file("good.npz", logits=LOGITS, labels=LABELS)
    assert "received (60, 5) in" in (words := refusal(read_logits, [good, file("short.npz", logits=LOGITS[:, :50])]))
    assert "(50, 5)" in words
    assert "labels must be the same" in refusal(read_logits, [good, file("o.npz", logits=LOGITS, labels=LABELS[::-1])])
    assert "must hold an array named logits, found x" in refusal(read_logits, [file("x.npz", x=LABELS)])
    assert "an array named labels" in refusal(read_logits, [file("n.npz", logits=LOGITS)])
    assert "there is no file" in refusal(read_logits, [tmp_path / "gone.npz"])
    assert "are read from .npz or .safetensors files" in refusal(read_logits, [tmp_path / "members.pkl"])
    (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:200])
    assert "is damaged" in refusal(read_logits, [tmp_path / "cut.npz"])


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_pickles_are_never_executed(tmp_path, refusal):
    np.savez(tmp_path / "trap.npz", logits=np.array([_Trap()], dtype=object), labels=LABELS)
    assert "holds pickled objects" in refusal(read_logits, [tmp_path / "trap.npz"])


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture(scope="module")
def digits() -> tuple[ImageSet, ImageSet]:
    return load_images("digits", "train", 200), load_images("digits", "test", 200)


QUICK = MemberConfig(epochs=2, batch=50, engine="batched")


def test_a_model_is_audited_end_to_end(digits, tmp_path):
    told = []
    found = viewrace.audit(
        small,
        *digits,
        members=3,
        students=1,
        config=QUICK,
        save=tmp_path / "members.safetensors",
        progress=lambda what, fraction: told.append(fraction),
    )
    assert found.cost is not None
    assert found.cost.trained == 3 + CELLS
    assert found.pilot is not None
    assert len(found.pilot.cells) == CELLS - 1
    assert told == sorted(told)
    assert told[-1] == 1.0
    again = viewrace.audit(
        small, *digits, members=Members.load(tmp_path / "members.safetensors", small), students=0, config=QUICK
    )
    assert again.gain.gains["accuracy"] == found.gain.gains["accuracy"]
    assert again.pilot is None
    json.dumps(found.to_json(), allow_nan=False)


def test_the_audit_of_a_model_is_that_of_its_logits(digits):
    members = train_members(small, digits[0], QUICK, 3, root=1)
    whole = viewrace.audit(small, *digits, members=3, students=0, config=QUICK)
    alone = audit_logits(members.logits(digits[1].images), digits[1].labels)
    assert whole.gain == alone.gain
    assert whole.diversity == alone.diversity


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"factory": lambda: nn.Linear(3, 3)}, "the network failed on inputs of shape (2, 1, 8, 8)"),
        ({"factory": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7))}, "must give logits of shape (2, 10)"),
        ({"factory": lambda: 3}, "must return a torch.nn.Module, received int"),
        ({"members": 1}, "members must be 2 or more, received 1"),
        ({"students": -1}, "students must be 0 or more"),
        ({"budget": 0.0}, "the budget must be above 0 minutes"),
        ({"budget": 1e-6}, "the budget must hold 2 networks"),
        ({"average": "votes"}, "average must be one of"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_an_unfit_audit_is_refused_in_one_line(refusal, digits, change, words):
    asked = {"factory": small, "train": digits[0], "test": digits[1], "config": QUICK} | change
    assert words in refusal(viewrace.audit, asked.pop("factory"), asked.pop("train"), asked.pop("test"), **asked)


def test_a_class_without_a_test_image_is_refused(refusal, digits):
    train, test = digits
    some = test.take(test.labels != 4)
    assert "received none of '4'" in refusal(viewrace.audit, small, train, some, config=QUICK)


def test_members_that_diverge_are_left_out_or_refused(refusal, digits):
    wild = QUICK.replace(rate=1e30)
    assert "members diverged" in refusal(viewrace.audit, small, *digits, members=2, students=0, config=wild)


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
    assert data["answer"].sel(case="copies").values.tolist() == [list(CASES["copies"])]
    assert data["gain"].dims == ("root", "case", "end")
