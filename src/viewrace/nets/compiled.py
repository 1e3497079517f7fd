"""patch.c, compiled on this machine by its own C compiler once, and kept in the user's cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

__all__ = ["MOST_Q", "cache_folder", "library", "machine_key"]

MOST_Q = 6
"""The largest power of the activation that patch.c has an entry for."""

SOURCE = Path(__file__).with_name("patch.c")
NUMBERS = {torch.float32: "float", torch.float64: "double"}
COMMON = ("-O2", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-shared", "-fPIC", "-Wno-psabi")
NATIVE = ("-march=native", "-mprefer-vector-width=512", "-fopenmp")
ATTEMPTS = (NATIVE, ("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())
"""Flags from the fastest to the plainest; the first set that the compiler takes is used."""

TIMEOUT = 60


def cache_folder() -> Path:
    """Where compiled code and what was measured are kept: VIEWRACE_CACHE, or viewrace/ in the user's cache folder."""
    if asked := os.environ.get("VIEWRACE_CACHE"):
        return Path(asked)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "viewrace"


@cache
def machine_key() -> str:
    """A short hash of the processor, the number of cores, the torch version and patch.c: what compiled code is good for."""
    lines = [platform.machine(), platform.processor(), str(os.cpu_count()), torch.__version__, SOURCE.read_text()]
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        lines += sorted({line for line in told if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        pass
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """patch.c for numbers of `dtype`, compiled where it is not yet; None, said once in the log, where that cannot be."""
    name = NUMBERS.get(dtype)
    if name is None:
        return None
    file = cache_folder() / f"patch-{name}-{machine_key()}.so"
    try:
        try:
            return ctypes.CDLL(str(file))
        except OSError:  # not there yet, or damaged
            _compile(name, file)
            return ctypes.CDLL(str(file))
    except (OSError, subprocess.SubprocessError) as error:
        _say(str(error))
        return None


def _compile(number: str, file: Path) -> None:
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise OSError("there is no C compiler (cc, gcc or clang)")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as room:
        partial = Path(room) / file.name
        for flags in ATTEMPTS:
            command = [*compiler.split(), *COMMON, *flags, f"-DNUMBER={number}", str(SOURCE), "-o", str(partial)]
            made = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
            if made.returncode == 0:
                os.replace(partial, file)
                return
    raise OSError(f"{compiler} does not compile patch.c: {made.stderr.strip().splitlines()[-1:] or made.returncode}")


@cache
def _say(reason: str) -> None:
    logging.getLogger("viewrace").warning("no fused kernel, going on with torch's own operations: %s", reason)
