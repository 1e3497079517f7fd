"""Which view each network will learn, told from its initial weights and the data, before it is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

import viewrace
from viewrace.claims import Lab
from viewrace.claims.lab import Bench, Role
from viewrace.config import Settings
from viewrace.errors import ViewraceError
from viewrace.files import write_text
from viewrace.measure import Estimate, bootstrap, margin, winner
from viewrace.race import (
    RULES,
    Prediction,
    calibration_error,
    fit_calibration,
    log_advantage,
    predict,
    probe_advantage,
    start_of,
)
from viewrace.streams import Stream, numpy_generator
from viewrace.study.folder import Folder
from viewrace.study.provenance import environment, now
from viewrace.train import device_of

__all__ = ["PREDICTION", "predict_winners", "prediction_summary"]

PREDICTION = "prediction"
PROBE = "probe"


def predict_winners(
    settings: Settings,
    count: int = 10,
    seed: int = 1,
    rule: str = "growth",
    pilots: int = 24,
    verify: bool = False,
    out: str | Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """Name the winning view of every class for `count` networks before they are trained.

    rule: one of race.RULES, or `probe` for any family. Its probability is calibrated on `pilots` networks of other seeds,
    which are trained. verify: train the `count` networks too and see. The networks are those of `train_networks` with the
    same settings and seed. Returns a Dataset over seed, label, view (docs/results.md). Raises ViewraceError for a family
    without a per-view correlation, and for q <= 2, unless the rule is `probe`.
    """
    _refuse(settings, count, seed, rule, pilots)
    device_of(settings.train)
    bench = Bench(settings, seed)
    advantage = _advantage(bench, Role.MEMBER, count, rule)  # a refusal leaves no folder behind
    identity: dict[str, Any] = {"viewrace": viewrace.__version__, "settings": settings.fingerprint(), "roots": [seed]}
    identity |= {"count": count, "rule": rule, "pilots": pilots, "verify": verify}
    folder = Folder(out, identity) if out is not None else None
    if folder is not None and folder.state(PREDICTION) == "whole":
        return folder.read(PREDICTION)
    started, told = now(), [0.0]

    def tell(units: float) -> None:
        told[0] += units / (pilots + verify * count)
        if progress is not None:
            progress(min(told[0], 1.0))

    lab = Lab(settings, [seed], tell, folder.room if folder else None)
    trained = lab.train(bench, f"pilot-{pilots}", bench.family(), bench.generators(Role.PILOT, 0, pilots), bench.hard_loss())
    calibration = fit_calibration(_advantage(bench, Role.PILOT, pilots, rule), winner(trained.views.probes))
    data = _dataset(predict(advantage, calibration))
    if verify:
        networks = lab.members(bench, count)
        data["winner"] = ("seed", "label"), winner(networks.views.probes)
        data["outcome"] = "seed", networks.trained.outcome.numpy()
    attributes: dict[str, Any] = {"rule": rule, "pilots": pilots, "slope": calibration.slope, "lapse": calibration.lapse}
    attributes |= {"pilot_accuracy": calibration.accuracy, "pilot_pairs": calibration.pairs, "settings": settings.to_yaml()}
    attributes |= {"pilot_coverage": float(margin(trained.views.probes).mean())}
    attributes |= {"roots": [seed], "started": started, "ended": now()}
    data = data.assign_attrs(attributes | {f"env_{name}": value for name, value in environment().items()})
    if folder is not None:
        folder.write(PREDICTION, data, {"count": count})
        write_text(folder.path / "settings.yaml", settings.to_yaml())
        folder.room.finish(False)
    return data


def _refuse(settings: Settings, count: int, seed: int, rule: str, pilots: int) -> None:
    if count < 1:
        raise ViewraceError(f"count must be at least 1, received {count}: give the number of networks")
    if seed < 0:
        raise ViewraceError(f"seed must be at least 0, received {seed}: give a root seed")
    if pilots < 2:
        raise ViewraceError(f"pilots must be at least 2, received {pilots}: a probability is calibrated on trained networks")
    if rule not in (*RULES, PROBE):
        raise ViewraceError(f"rule must be one of {', '.join([*RULES, PROBE])}, received {rule}: choose one")
    if settings.data.views < 2:
        raise ViewraceError(
            f"views must be at least 2 to tell a winner, received {settings.data.views}: set data.views=2 or more"
        )


def _advantage(bench: Bench, role: Role, count: int, rule: str) -> Tensor:
    family = bench.family()
    params = family.init(bench.generators(role, 0, count))
    if rule == PROBE:
        return probe_advantage(family, params, bench.distribution.probes(family.seats_matter))
    return log_advantage(start_of(family, params, bench.examples, bench.distribution.features), rule)


def _dataset(prediction: Prediction) -> xr.Dataset:
    return xr.Dataset(
        {
            "predicted": (("seed", "label"), prediction.winner),
            "probability": (("seed", "label", "view"), prediction.probability),
            "lead": (("seed", "label"), prediction.lead),
        }
    )


def prediction_summary(data: xr.Dataset) -> dict[str, Estimate | float | str]:
    """How far a prediction can be trusted, and how it did where it was verified."""
    generator = numpy_generator(int(np.atleast_1d(data.attrs["roots"])[0]), Stream.BOOTSTRAP)
    sure = data["probability"].max("view").values
    lines: dict[str, Estimate | float | str] = {
        "rule": str(data.attrs["rule"]),
        f"right on {data.attrs['pilots']} pilot networks": float(data.attrs["pilot_accuracy"]),
        f"coverage of the pilots, margin 0.1 (1/M = {1 / data.sizes['view']:.2f} in a race)": float(data.attrs["pilot_coverage"]),
        "mean probability of the predicted view": float(sure.mean()),
        "pairs below probability 0.9": f"{int((sure < 0.9).sum())} of {sure.size}",
    }
    if "winner" in data:
        right = (data["predicted"] == data["winner"]).transpose("seed", "label").values.astype(float)
        lines["right on these networks, once trained"] = bootstrap(right.mean(axis=1), generator)
        lines["calibration error"] = calibration_error(sure, right)
    return lines
