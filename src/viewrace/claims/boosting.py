"""Claim: boosted and bagged trees gain by members that err apart, and one member of theirs cannot be taught the gain."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from viewrace.auditing.pilot import Reach, fly, right_of, share_kept
from viewrace.auditing.spread import groups_of, spread
from viewrace.claims.base import Claim, Scale
from viewrace.claims.gains import DIGITS, ENDS, columns, digits_of, ends, ensemble_gain, gain_by_size, gain_over, pooled
from viewrace.claims.lab import Lab
from viewrace.claims.trees import TREES, Trees
from viewrace.claims.verdict import Check, Verdict, at_least, at_most
from viewrace.config import Settings
from viewrace.data.images import ImageSet
from viewrace.measure import Estimate, error_correlation, halves
from viewrace.nets.images import image_net
from viewrace.streams import Stream, numpy_generator
from viewrace.train.members import MemberConfig, train_members

__all__ = ["DEEP", "METHODS", "Boosting"]

EXAMPLES = 600
TREE_COUNT = {Scale.SMOKE: 10, Scale.QUICK: 50, Scale.FULL: 200}
MEMBERS = {Scale.SMOKE: 3, Scale.QUICK: 10, Scale.FULL: 20}
STUDENTS = {Scale.SMOKE: 2, Scale.QUICK: 4, Scale.FULL: 8}
EPOCHS = {Scale.SMOKE: 4, Scale.QUICK: 20, Scale.FULL: 20}
SIZES = (1, 2, 3, 5, 10, 20, 50, 100, 200)
PAIRED = 10
HALF = 0.5
GRID = tuple((temperature, alpha) for temperature in (1.0, 4.0) for alpha in (1.0, 0.5))
CONFIG = MemberConfig(batch=50, rate=0.1, nesterov=False, weight_decay=0.0)
DEEP = "deep ensemble"
METHODS = (*TREES, DEEP)


class Boosting(Claim):
    id = "boosting"
    title = "Boosting and bagging against deep ensembles"
    statement = (
        "AdaBoost, gradient boosting and bagging gain by members that err on other examples, and one of their members "
        "cannot be taught the gain; members of a deep ensemble err together, and one network can be taught it."
    )
    source = (
        "Allen-Zhu & Li, ICLR 2023, section 1 (ensembles in deep learning are not boosting); Freund & Schapire 1997; Breiman 1996"
    )
    protocol = (
        f"scikit-learn's digits, {EXAMPLES} drawn under the root seed to train on, the others to test on. AdaBoost of "
        "trees of depth 4, gradient boosting (depth 3, rate 0.3; a stage is a member: a tree for each class), bagging of "
        "full trees; a conv net for the deep ensemble. Single: one tree, or stage, of the member's size on all the "
        "training data; one network. Students: the same, fitted to the ensemble's probabilities at temperatures 1 and 4, "
        "alpha 1 and 0.5; the best cell is chosen on one half of the test examples and judged on the other. Error "
        "correlation: of the errors on the test examples, mean over pairs of the first ten members. Supported where every "
        f"gain is above 0 with its interval; the trees' students keep surely less than {HALF} of it, the network's at "
        f"least {HALF} with its interval above 0; and the deep ensemble's error correlation is above each of the others'. "
        "Trees 10, 50, 200; networks 3, 10, 20; students in each cell 2, 4, 8."
    )
    by_default = False
    by_root = True

    def work(self, settings: Settings, scale: Scale, roots: int) -> float:
        return 20.0 * roots * (len(METHODS) + 2)

    def run(self, lab: Lab, scale: Scale) -> xr.Dataset:
        parts = []
        for root in lab.roots:
            pair = digits_of(root, EXAMPLES)
            found, wrong = {}, {}
            for method in METHODS:
                measure = _deep if method == DEEP else _trees
                found[method], wrong[method] = measure(method, pair, root, scale)
                lab.progress(60.0 if method == DEEP else 20.0)
            apart = _apart(wrong, pair[1].labels, numpy_generator(root, Stream.BOOTSTRAP, 2))
            parts.append(xr.concat(list(found.values()), dim="kind").assign_coords(kind=list(METHODS)).assign(apart))
        data = xr.concat(parts, dim="root").assign_coords(root=list(lab.roots), end=list(ENDS))
        return data.assign_attrs(test_examples=len(pair[1]))

    def judge(self, data: xr.Dataset) -> Verdict:
        examples = int(data.attrs["test_examples"])

        def of(name: str, method: str) -> Estimate:
            return pooled(data[name].sel(kind=method), examples, examples / DIGITS)

        checks: list[Check] = [
            at_least(f"{each}: ensemble minus single", 0.0, of("gain", each), clear_of=0.0) for each in METHODS
        ]
        checks += [at_most(f"{each}: share that one student keeps", HALF, of("share", each)) for each in TREES]
        checks.append(at_least(f"{DEEP}: share that one student keeps", HALF, of("share", DEEP), clear_of=0.0))
        for each in TREES:
            name = f"error correlation, {DEEP} minus {each}"
            checks.append(at_least(name, 0.0, of("correlation_apart", each), clear_of=0.0))
        measures = {f"{each}: error correlation": of("correlation", each) for each in METHODS}
        curves = {"members": data["members"].values.astype(float).tolist()}
        for name in ("gain", "share", "correlation"):
            curves |= columns(name, [of(name, each) for each in METHODS])
        for each in METHODS:
            curves[each] = data["accuracy"].sel(kind=each).mean("root").values.tolist()
        for level in ("single", "ensemble", "student"):
            curves[level] = [float(data[level].sel(kind=each).mean()) for each in METHODS]
        return self._verdict(data, checks, curves, measures)


def _trees(method: str, pair: tuple[ImageSet, ImageSet], root: int, scale: Scale) -> tuple[xr.Dataset, NDArray[np.bool_]]:
    """What trees of one method gain and keep; which test examples the first members get wrong."""
    trees = Trees(method, pair, root, TREE_COUNT[scale])
    students, labels, generator = STUDENTS[scale], pair[1].labels, numpy_generator(root, Stream.BOOTSTRAP)
    by_size = right_of(trees.by_size(), labels)
    ensemble = by_size[-1]
    single = right_of(trees.alone(students), labels)
    cells = [right_of(trees.taught(students, *at), labels) for at in GRID]
    share = share_kept(cells, Reach(ensemble, single, groups_of(labels, generator)), halves(labels, generator))
    found = {
        "gain": gain_over(ensemble, single, labels, generator),
        "share": share,
        "single": float(single.mean()),
        "student": max(float(right.mean()) for right in cells),
    }
    return _columns(found, by_size.mean(axis=1)), right_of(trees.members(PAIRED), labels) == 0


def _deep(method: str, pair: tuple[ImageSet, ImageSet], root: int, scale: Scale) -> tuple[xr.Dataset, NDArray[np.bool_]]:
    """The same of a deep ensemble."""
    train, test = pair
    factory, config = image_net("conv", train.shape, len(train.classes)), CONFIG.replace(epochs=EPOCHS[scale])
    members, generator = train_members(factory, train, config, MEMBERS[scale], root), numpy_generator(root, Stream.BOOTSTRAP)
    said = members.logits(train.images).double(), members.logits(test.images).double()

    def pupils(teacher: Tensor, temperature: float, alpha: float) -> Tensor:
        soft: dict[str, Any] = {"teacher": teacher.float(), "temperature": temperature, "alpha": alpha}
        taught = train_members(factory, train, config, STUDENTS[scale], root, start=len(members), **soft)
        return taught.logits(test.images).double()

    pilot = fly(pupils, said, test.labels, "logits", generator, GRID)
    right = right_of(said[1], test.labels)
    found = {
        "gain": ensemble_gain(said[1], test.labels, generator),
        "share": pilot.share,
        "single": float(right.mean()),
        "student": max(cell.accuracy for cell in pilot.cells),
    }
    sizes = range(1, len(members) + 1)
    accuracy = right.mean() + np.array(gain_by_size(said[1], test.labels, sizes, generator))
    return _columns(found, accuracy), right[:PAIRED] == 0


def _columns(found: dict[str, Any], accuracy: NDArray[np.float64]) -> xr.Dataset:
    """accuracy: at N = 1, 2, .. members; kept at `SIZES`, NaN beyond."""
    at = [float(accuracy[size - 1]) if size <= len(accuracy) else np.nan for size in SIZES]
    kept: dict[str, Any] = {name: ("end", ends(value)) if isinstance(value, Estimate) else value for name, value in found.items()}
    kept |= {"ensemble": float(accuracy[-1]), "accuracy": ("members", at)}
    return xr.Dataset(kept, coords={"members": list(SIZES)})


def _apart(wrong: dict[str, NDArray[np.bool_]], labels: Tensor, generator: np.random.Generator) -> dict[str, Any]:
    """Error correlation of each method, and how far that of the deep ensemble is above it; over examples and members."""
    group = groups_of(labels, generator)

    def of(method: str, left: int | None, member: int | None) -> float:
        kept = np.arange(len(wrong[method])) != member
        return error_correlation(wrong[method][kept][:, group != left])

    def held(method: str, deep: float) -> list[float]:
        """deep times that of the deep ensemble, less, or without it plain, that of the method."""
        sign = -1.0 if deep else 1.0
        members = min(len(wrong[method]), len(wrong[DEEP]))
        found = spread(
            lambda left, member: deep * of(DEEP, left, member) + sign * of(method, left, member),
            int(group.max()) + 1,
            members,
            len(labels),
        )
        return ends(found)

    return {
        "correlation": (("kind", "end"), [held(method, 0.0) for method in METHODS]),
        "correlation_apart": (("kind", "end"), [held(method, 1.0) for method in METHODS]),
    }
