"""The audit of a model: the plan that fits its budget, the students of the pilot, and a run from end to end."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import viewrace
from known_members import CLASSES, views
from viewrace.auditing import audit_logits
from viewrace.auditing.inputs import checked
from viewrace.auditing.pilot import fly
from viewrace.auditing.plan import CELLS, choose_plan
from viewrace.data.images import ImageSet, load_images
from viewrace.train.members import MemberConfig, Members, train_members


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
