"""Small distributions that the tests of data draw from: K = 4, M = 3, without noise."""

from viewrace.config import Data, settings
from viewrace.data import Distribution

BASE = {
    "classes": 4,
    "views": 3,
    "examples": 40,
    "test_examples": 48,
    "dim": 14,
    "patches": 24,
    "distractors": 1.5,
    "amplitude": (0.6, 1.5),
    "distractor_amplitude": (0.1, 0.4),
    "noise": 0.0,
    "feature_noise": 0.0,
}
FLAT = {"layout": "flat", "p": 0.5}
DIGITS = {"source": "digits", "dim": 64}


def data(*changes: dict, **more) -> Data:
    merged = BASE | {key: value for change in changes for key, value in change.items()} | more
    return settings({f"data.{key}": value for key, value in merged.items()}).data


def distribution(*changes: dict, root: int = 0, **more) -> Distribution:
    return Distribution(data(*changes, **more), root)
