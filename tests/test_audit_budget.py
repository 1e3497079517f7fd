"""What an audit trains in the time allowed."""

import re

import pytest

from viewrace.auditing.pilot import GRID, SHORT, TEMPERATURES
from viewrace.auditing.plan import SIZES, choose_plan


def test_short_of_time_the_pilot_goes_without_its_highest_temperature():
    assert {temperature for temperature, _ in SHORT} == set(TEMPERATURES[:-1])
    networks = [members + students * (len(grid) + 1) for members, students, grid in SIZES]
    assert networks == sorted(networks, reverse=True)
    tight = choose_plan(65.0, 3600.0, None, None)
    assert (tight.members, tight.students, tight.grid, tight.networks) == (3, 1, SHORT, 10)
    assert choose_plan(40.0, 3600.0, None, None).grid == GRID
    assert [choose_plan(each, 3600.0, None, None).members for each in (100.0, 200.0, 300.0)] == [5, 3, 2]


@pytest.mark.parametrize("members", [None, 2, 4])
@pytest.mark.parametrize("students", [None, 0, 1, 3])
@pytest.mark.parametrize("budget", [40.0, 80.0, 160.0, 640.0])
def test_a_plan_keeps_to_what_was_asked_for_and_to_the_budget(members, students, budget):
    plan = choose_plan(0.25, budget, members, None, students)
    assert plan.members == (members or plan.members)
    assert plan.students == (plan.students if students is None else students)
    assert plan.networks == plan.members + plan.students * plan.cells
    assert plan.seconds <= 0.8 * budget
    assert plan.epochs >= 4


def test_the_minutes_it_says_are_enough(refusal):
    words = refusal(choose_plan, 60.0, 60.0, None, None)
    least, whole = map(float, re.findall(r"([\d.]+) (?:min or more|with students)", words))
    assert choose_plan(60.0, 60 * least, None, None).students == 0
    assert choose_plan(60.0, 60 * whole, None, None).students == 1
