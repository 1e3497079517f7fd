"""What the tests share: a tiny experiment, and how a refusal is read."""

import os

# Read when torch is loaded: threads that spin while they wait cost a tiny product 50 times its time on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hypothesis import settings as hypothesis_settings

from viewrace.config import Settings, settings
from viewrace.data import Distribution, Examples
from viewrace.data.images import ImageSet, load_images
from viewrace.errors import ViewraceError
from viewrace.streams import Stream, torch_generator

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
# Derandomised: a run on another machine, or on another day, tries the same cases.
hypothesis_settings.register_profile("house", deadline=None, derandomize=True, max_examples=40)
hypothesis_settings.load_profile("house")

TINY = {
    "data.classes": 3,
    "data.views": 2,
    "data.examples": 30,
    "data.test_examples": 60,
    "data.dim": 8,
    "data.patches": 5,
    "data.distractors": 1.0,
    "net.width": 3,
    "net.q": 3,
}


@pytest.fixture(scope="session")
def tiny() -> Settings:
    """K = 3, M = 2, N = 30: a network trains on it in well under a second."""
    return settings(TINY)


@pytest.fixture(scope="session")
def tiny_examples(tiny) -> Examples:
    return Distribution(tiny.data, root=0).train()


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """120 training digits."""
    return load_images("digits", "train", 120)


@pytest.fixture(scope="session")
def seeds():
    """Generators of the inits of members `start` to `stop`."""

    def generators(stop: int, start: int = 0) -> list[torch.Generator]:
        return [torch_generator(0, Stream.INIT, 0, index) for index in range(start, stop)]

    return generators


@pytest.fixture(scope="session")
def refusal():
    """The words with which a call is refused: one line, always."""

    def words(call, *args, **kwargs) -> str:
        with pytest.raises(ViewraceError) as caught:
            call(*args, **kwargs)
        text = str(caught.value)
        assert len(text.splitlines()) == 1
        return text

    return words
