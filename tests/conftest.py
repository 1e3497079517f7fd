"""What the tests share: a tiny experiment, and how a refusal is read."""

import os

# Read when torch is loaded: threads that spin while they wait cost a tiny product 50 times its time on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hypothesis import settings as hypothesis_settings

from viewrace.config import Settings, Train, settings
from viewrace.data import Distribution, Examples
from viewrace.data.images import ImageSet, load_images
from viewrace.errors import ViewraceError
from viewrace.nets import PatchNet, make_family
from viewrace.streams import Stream, torch_generator
from viewrace.train import HardLoss, train

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


@pytest.fixture(scope="session")
def sharp(tiny):
    """A race on both parts of the activation: rho is passed while it is run."""
    return tiny.replace(**{"net.rho": 1.0, "net.init": 0.3})


@pytest.fixture(scope="session")
def sharp_family(sharp) -> PatchNet:
    return make_family(sharp.net, sharp.data)


@pytest.fixture(scope="session")
def learn(sharp_family, tiny_examples, seeds):
    """Train networks of `sharp` on the tiny examples; `init` is a number of seeds or weights."""

    def run(init=3, loss=None, **config):
        trace, order = config.pop("trace", None), config.pop("order", 0)
        chosen = Train(**({"precision": "float64"} | config))
        start = seeds(init) if isinstance(init, int) else init
        loss = loss or HardLoss(tiny_examples.labels)
        return train(sharp_family, start, tiny_examples.inputs, loss, chosen, trace=trace, order=order)

    return run


@pytest.fixture(scope="session")
def initial(sharp_family, seeds):
    """(seed, class, neuron, dim) float64 weights at the start."""

    def weights(count: int) -> torch.Tensor:
        return sharp_family.init(seeds(count))["weight"].double()

    return weights


@pytest.fixture(params=["fused", "eager"])
def kernel(request, monkeypatch):
    """Every path through a patch network is held to the same."""
    monkeypatch.setenv("VIEWRACE_KERNEL", request.param)
