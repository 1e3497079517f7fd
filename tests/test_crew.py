"""Root seeds side by side: the same results as one after the other, and one line where a process fails."""

import io
import json
import os
import signal

import numpy as np
import pytest
import torch
import xarray as xr

import viewrace
from helpers import THREE_CLASSES
from viewrace.claims import CLAIMS, Claim, Lab, Scale, find
from viewrace.config import settings
from viewrace.errors import ViewraceError
from viewrace.study import runner, worker
from viewrace.study.crew import Crew, crew, processes_for
from viewrace.study.room import Room

TINY = THREE_CLASSES | {"train.steps": 20, "distill.steps": 20, "distill.members": 3}
ROOTS = (1, 2)


@pytest.fixture
def two_roots(monkeypatch):
    monkeypatch.setitem(runner.ROOTS, Scale.SMOKE, len(ROOTS))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


@pytest.mark.parametrize("name", ["single-view", "ensemble", "distillation"])
def test_root_seeds_by_themselves_join_to_the_run_of_all(name):
    claim, chosen = find(name), settings(TINY)
    whole = claim.run(Lab(chosen, ROOTS), Scale.SMOKE)
    joined = claim.join([claim.run(Lab(chosen, (root,)), Scale.SMOKE) for root in ROOTS])
    assert claim.by_root
    xr.testing.assert_identical(joined, whole)
    assert claim.judge(joined).to_json() == claim.judge(whole).to_json()


def test_a_join_keeps_the_order_of_axes_and_takes_what_has_no_root_from_the_first():
    def part(root, steps):
        columns = {"a": (("set", "root", "seed"), np.full((2, 1, 3), root)), "film": ("step", np.arange(steps)), "b": 0.5 * root}
        return xr.Dataset(columns, coords={"root": [root], "set": ["x", "y"]}, attrs={"views": root})

    joined = Claim.join([part(4, 5), part(2, 7), part(3, 5)])
    assert joined["a"].dims == ("set", "root", "seed")
    assert joined["root"].values.tolist() == [4, 2, 3]
    assert joined["a"].values[0, :, 0].tolist() == [4, 2, 3]
    assert (joined.sizes["step"], float(joined["b"]), joined.attrs) == (5, 2.0, {"views": 4})


def test_processes_run_what_one_runs_and_go_on_from_what_is_there(two_roots, tmp_path):
    claims, chosen = ["single-view", "ensemble"], {"changes": TINY, "views": 2, "scale": "smoke", "seed": 1}
    one_thread = viewrace.preset(2).replace(**TINY | {"train.threads": 1})
    held = {name: find(name).run(Lab(one_thread, ROOTS), Scale.SMOKE) for name in claims}
    seen = []

    class Watcher(runner._Silent):
        def moves(self, fraction):
            seen.append(fraction)

    study = viewrace.reproduce(claims, out=tmp_path / "out", watcher=Watcher(), **chosen)
    assert study.roots == ROOTS
    for name in claims:
        found = study.data[name].drop_attrs()
        np.testing.assert_array_equal(found["root"], ROOTS)
        xr.testing.assert_identical(found, held[name].drop_attrs())
    assert seen
    assert max(seen) <= 1.0
    assert not (tmp_path / "out" / ".networks").exists()
    again = viewrace.reproduce(claims, out=tmp_path / "out", **chosen)
    assert [verdict.to_json() for verdict in again.verdicts] == [verdict.to_json() for verdict in study.verdicts]


def said_by(chosen, claims, room, roots=(1,)):
    say = io.StringIO()
    worker.work(json.loads(worker.request(chosen, claims, Scale.SMOKE, roots, room, 1)), say)
    return [json.loads(line) for line in say.getvalue().splitlines()]


def test_a_worker_keeps_what_it_measured_and_does_not_measure_it_again(tmp_path, monkeypatch):
    chosen = settings(TINY)
    said = said_by(chosen, ["single-view"], tmp_path, ROOTS)
    assert [line["root"] for line in said if "seconds" in line] == list(ROOTS)
    held = Room(tmp_path).part("single-view", 2)
    xr.testing.assert_identical(held, find("single-view").run(Lab(chosen, (2,)), Scale.SMOKE))
    monkeypatch.setattr(type(find("single-view")), "run", lambda *_: pytest.fail("ran again"))
    said_by(chosen, ["single-view"], tmp_path, ROOTS)


def test_a_part_that_was_cut_is_made_anew(tmp_path):
    chosen, room = settings(TINY), Room(tmp_path)
    said_by(chosen, ["single-view"], tmp_path)
    file = next((tmp_path / ".networks").glob("*.nc"))
    file.write_bytes(file.read_bytes()[:100])
    assert room.part("single-view", 1) is None
    said_by(chosen, ["single-view"], tmp_path)
    assert room.part("single-view", 1) is not None


def working(room, roots=(1,)):
    return crew(room, Lab(settings(TINY), roots), [find("single-view")], Scale.SMOKE, len(roots), lambda units: None)


def test_a_worker_that_is_killed_is_one_line(tmp_path):
    with working(Room(tmp_path)) as workers:
        os.kill(workers._processes[0].pid, signal.SIGKILL)
        with pytest.raises(ViewraceError, match=r"process of root seed 1 ended with status -9 .*--processes 1"):
            workers.wait(find("single-view"))


def test_workers_are_gone_when_the_run_is_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt), working(Room(tmp_path), ROOTS) as workers:
        raise KeyboardInterrupt
    assert [process.returncode for process in workers._processes] == [-9, -9]


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [({"refused": "steps must be fewer"}, ViewraceError, "steps must be fewer"), ({"failed": "Trace.."}, RuntimeError, "Trace")],
)
def test_what_stops_a_worker_stops_the_run(tmp_path, line, kind, words):
    workers = Crew(Room(tmp_path), ROOTS, lambda units: None)
    workers._said.put((2, line))
    with pytest.raises(kind, match=words):
        workers.wait(find("single-view"))


def test_work_for_a_later_claim_counts_when_its_turn_comes(tmp_path):
    units = []
    workers = Crew(Room(tmp_path), (1,), units.append)
    for line in ({"claim": "ensemble", "units": 3.0}, {"claim": "single-view", "units": 1.0}):
        workers._said.put((1, line))
    for name in ("single-view", "ensemble"):
        Room(tmp_path).put_part(name, 1, xr.Dataset({"a": ("root", [1.0])}, {"root": [1]}))
        workers._said.put((1, {"claim": name, "root": 1, "seconds": 2.0}))
        before = sum(units)
        assert workers.wait(find(name))[1] == 2.0
        assert sum(units) - before == {"single-view": 1.0, "ensemble": 3.0}[name]


@pytest.mark.parametrize(
    ("changes", "threads", "asked", "count"),
    [
        ({}, 2, None, 3),
        ({}, 8, 2, 2),
        ({}, 8, 1, 1),
        ({}, 8, 9, 3),
        ({}, 1, None, 1),
        ({"train.threads": 2}, 8, None, 1),
        ({"train.device": "cuda"}, 8, None, 1),
    ],
)
def test_how_many_processes(monkeypatch, changes, threads, asked, count):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert processes_for(settings(changes), 3, asked) == count


def test_fewer_than_one_process_is_refused():
    with pytest.raises(ViewraceError, match="processes must be 1 or more, received 0"):
        processes_for(settings(), 3, 0)


def test_claims_that_share_a_pilot_over_root_seeds_are_not_split():
    assert {claim.id for claim in CLAIMS if not claim.by_root} >= {"winner", "dynamics", "blocker-001"}
