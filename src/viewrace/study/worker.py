"""A process of its own for some root seeds: runs claims one after the other and keeps what each measured, for `crew` to join.

It reads one request (JSON) from its input and writes a line of JSON at a time: units of work done, a claim that is finished,
an error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from viewrace.claims import Lab, Scale, find
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.study.room import Room

__all__ = ["main", "request", "work"]

OFTEN = 0.25
"""Seconds between two lines about work done."""


def request(settings: Settings, claims: Sequence[str], scale: Scale, roots: Sequence[int], room: Path, threads: int) -> str:
    """What a worker is asked: to run `claims` under its root seeds on so many threads, and keep what they measure in `room`."""
    tree = settings.model_dump(mode="json")
    tree["train"]["threads"] = threads
    return json.dumps({"settings": tree, "claims": list(claims), "scale": scale, "roots": list(roots), "room": str(room)})


def work(asked: dict[str, Any], say: TextIO) -> None:
    """Do what a request asks for; what its room holds is not run again."""
    told, room, settings = _Told(say), Room(Path(asked["room"])), Settings.model_validate(asked["settings"])
    labs = {root: Lab(settings, (root,), told.units, room) for root in asked["roots"]}
    for name in asked["claims"]:
        told.claim = name
        for root, lab in labs.items():
            began, claim = time.perf_counter(), find(name)
            if room.part(name, root) is None:
                room.put_part(name, root, claim.run(lab, Scale(asked["scale"])))
            told.line(claim=name, root=root, seconds=time.perf_counter() - began)


class _Told:
    """Writes lines; of work done for a claim not more than a few a second."""

    def __init__(self, say: TextIO):
        self.say, self.claim, self.held, self.last = say, "", 0.0, time.perf_counter()

    def units(self, units: float) -> None:
        self.held += units
        if time.perf_counter() - self.last > OFTEN:
            self.last, done, self.held = time.perf_counter(), self.held, 0.0
            self.line(claim=self.claim, units=done)

    def line(self, **said: Any) -> None:
        print(json.dumps(said), file=self.say, flush=True)


def main() -> None:
    """Entry of the process; whoever started it stops it, also where Ctrl-C reaches both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else prints is not a line for the other side
    try:
        work(json.loads(sys.stdin.readline()), say)
    except ViewraceError as error:
        print(json.dumps({"refused": str(error)}), file=say, flush=True)
    except BrokenPipeError:
        sys.exit(1)
    except Exception:
        print(json.dumps({"failed": traceback.format_exc()}), file=say, flush=True)
