"""Root seeds side by side: a process each, since a root seed has data of its own and shares no product with another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
import xarray as xr

import viewrace
from viewrace.claims import Claim, Lab, Scale
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.study.room import Room
from viewrace.study.worker import request

__all__ = ["Crew", "crew", "processes_for"]


def processes_for(settings: Settings, roots: int, asked: int | None) -> int:
    """How many processes train. asked: 1 for this one alone; by default one a root seed, where torch takes more than one
    thread here and the settings name no number of threads and no other device than the processor."""
    if asked is not None and asked < 1:
        raise ViewraceError(f"processes must be 1 or more, received {asked}: give 1 to train in this process alone")
    alone = settings.train.threads is not None or settings.train.device != "cpu" or torch.get_num_threads() < 2
    return 1 if alone else min(roots, asked or roots)


class Crew:
    """The workers and what they have said. Where there are fewer than root seeds, each takes several in turn."""

    def __init__(self, room: Room, roots: Sequence[int], progress: Callable[[float], None]):
        self.room, self.roots, self.progress = room, tuple(roots), progress
        self._processes: list[subprocess.Popen[str]] = []
        self._listening: list[threading.Thread] = []
        self._said: SimpleQueue[tuple[int, dict[str, Any]]] = SimpleQueue()
        self._seconds: dict[tuple[str, int], float] = {}
        self._ended: dict[int, int] = {}
        self._units: defaultdict[str, float] = defaultdict(float)

    def start(self, settings: Settings, claims: Sequence[str], scale: Scale, count: int) -> None:
        """Start `count` workers, which share the threads that torch takes here."""
        threads = max(1, torch.get_num_threads() // count)
        for first in range(count):
            mine = self.roots[first::count]
            process = _worker(request(settings, claims, scale, mine, self.room.path, threads))
            self._processes.append(process)
            self._listening.append(threading.Thread(target=self._follow, args=(process, mine), daemon=True))
            self._listening[-1].start()

    def _follow(self, process: subprocess.Popen[str], roots: Sequence[int]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._said.put((roots[0], json.loads(line)))
        status = process.wait()
        for root in roots:
            self._said.put((root, {"ended": status}))

    def wait(self, claim: Claim) -> tuple[xr.Dataset, float]:
        """What the claim measured, all root seeds joined, once all have it; and the seconds of the slowest."""
        while missing := [root for root in self.roots if (claim.id, root) not in self._seconds]:
            for root in filter(self._ended.__contains__, missing):
                raise ViewraceError(
                    f"the process of root seed {root} ended with status {self._ended[root]} (out of memory?): run the same "
                    "command again to go on, with --processes 1 to train in one process"
                )
            self.progress(self._units.pop(claim.id, 0.0))
            self._hear(*self._said.get())
        parts = [self._part(claim, root) for root in self.roots]
        return claim.join(parts), max(self._seconds[claim.id, root] for root in self.roots)

    def _hear(self, root: int, said: dict[str, Any]) -> None:
        if "refused" in said:
            raise ViewraceError(said["refused"])
        if "failed" in said:
            raise RuntimeError(f"the process of root seed {root} failed:\n{said['failed']}")
        if "ended" in said:
            self._ended[root] = said["ended"]
        if "seconds" in said:
            self._seconds[said["claim"], said["root"]] = said["seconds"]
        if "units" in said:
            self._units[said["claim"]] += said["units"]

    def _part(self, claim: Claim, root: int) -> xr.Dataset:
        part = self.room.part(claim.id, root)
        if part is None:
            raise ViewraceError(f"what {claim.id} measured under root seed {root} cannot be read in {self.room.path}: run again")
        return part

    def stop(self) -> None:
        """End all workers; what they have finished is in the room."""
        for process in self._processes:
            process.kill()
        for thread in self._listening:
            thread.join()


def _worker(asked: str) -> subprocess.Popen[str]:
    """A worker that was given its request; it finds this very package."""
    here = str(Path(viewrace.__file__).parent.parent)
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", "from viewrace.study.worker import main; main()"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, encoding="utf-8", env=os.environ | {"PYTHONPATH": paths}, **pipes)
    assert process.stdin is not None
    with process.stdin as said:
        said.write(asked + "\n")
    return process


@contextmanager
def crew(
    room: Room, lab: Lab, claims: Sequence[Claim], scale: Scale, count: int, progress: Callable[[float], None]
) -> Iterator[Crew]:
    """`count` workers for those claims whose root seeds depend on no other; they are stopped at the end, however it comes."""
    workers = Crew(room, lab.roots, progress)
    try:
        if names := [claim.id for claim in claims if claim.by_root]:
            workers.start(lab.settings, names, scale, count)
        yield workers
    finally:
        workers.stop()
