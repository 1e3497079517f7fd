"""Where a result comes from: what every file carries."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import viewrace

__all__ = ["environment", "now"]

PACKAGES = ("torch", "numpy", "scipy", "xarray", "scikit-learn", "pydantic")


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment() -> dict[str, str]:
    """Versions, platform and the git commit of the code ("none" for an installed package)."""
    found = {"viewrace": viewrace.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found | {"platform": platform.platform(), "machine": _processor(), "git_commit": _commit()}


def _processor() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    try:
        run = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return run.stdout.strip() if run.returncode == 0 else "none"
