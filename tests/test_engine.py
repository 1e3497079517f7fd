"""What the engine may change without changing a result: parts of the data, files, threads, number formats, devices."""

import logging

import numpy as np
import pytest
import torch

from viewrace import memory
from viewrace.config import Settings, Train, settings
from viewrace.data import Distribution, mapped
from viewrace.nets import DeepLinear, make_family
from viewrace.train import HardLoss, ProbePenalty, SoftLoss, flow, machine, objective, train
from viewrace.train.objective import Objective

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
GIB = 2**30


@pytest.fixture
def family(tiny):
    return make_family(tiny.net, tiny.data)


@pytest.fixture
def weights(family, seeds):
    return {name: 3 * tensor.double() for name, tensor in family.init(seeds(4)).items()}


def losses(labels):
    teacher = torch.randn(1, len(labels), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    each = torch.randn(4, len(labels), 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    yield HardLoss(labels)
    yield HardLoss(labels, "mse", entropy=0.1)
    yield SoftLoss(labels, teacher, alpha=0.7)
    yield SoftLoss(labels, each, temperature=1.5, kind="azl")


def equal(first, second, **tolerance):
    for name, tensor in first.gradient.items():
        torch.testing.assert_close(tensor, second.gradient[name], **tolerance)
    for mine, theirs in zip(first[1:], second[1:], strict=True):
        torch.testing.assert_close(mine, theirs, check_dtype=False, **tolerance)


@pytest.mark.parametrize("case", range(4))
def test_parts_of_the_data_give_the_gradient_of_all_of_it(family, tiny_examples, weights, case, monkeypatch):
    inputs, everyone, loss = tiny_examples.inputs.double(), torch.arange(4), list(losses(tiny_examples.labels))[case]
    penalty = ProbePenalty(tiny_examples.inputs[:6, None, :1].reshape(3, 2, 1, 1, -1).double(), competition=0.3)
    whole = Objective(family, inputs, loss, penalty).at(weights, everyone)
    monkeypatch.setattr(objective, "BLOCK_NUMBERS", 7 * family.activations(1))
    parts = Objective(family, inputs, loss, penalty)
    assert len(parts.parts) == 5
    equal(parts.at(weights, everyone), whole, rtol=1e-10, atol=1e-13)


def test_seeds_with_different_numbers_of_stages_step_together_as_they_would_alone(monkeypatch):
    """Least squares with rates from 0.0006 to 8, from starts of different size."""
    chance, taken = torch.Generator().manual_seed(2), []
    inputs = torch.randn(40, 1, 4, generator=chance, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.2, 0.03])
    loss, family = HardLoss(torch.arange(40) % 3, "mse"), DeepLinear(classes=3, dim=4, patches=1, hidden=(), init=1.0)
    start = family.init([chance, chance, chance])["weight_0"].double() * torch.tensor([0.1, 1.0, 30.0])[:, None, None]
    config = Train(time=300.0, error=0.01, tolerance=1e-12, steps=10_000, precision="float64")
    whole = flow.coefficients
    monkeypatch.setattr(flow, "coefficients", lambda stages, dtype: taken.append(len(stages.unique())) or whole(stages, dtype))
    together = train(family, {"weight_0": start}, inputs, loss, config)
    assert max(taken) > 1
    for seed in range(3):
        alone = train(family, {"weight_0": start[seed : seed + 1]}, inputs, loss, config)
        assert int(alone.evaluations[0]) == int(together.evaluations[seed])
        torch.testing.assert_close(together.params["weight_0"][seed], alone.params["weight_0"][0], rtol=1e-9, atol=1e-12)


def test_inputs_in_a_file_train_the_same_network(family, tiny_examples, seeds, tmp_path, monkeypatch):
    np.save(tmp_path / "inputs.npy", tiny_examples.inputs.numpy())
    loss, config = HardLoss(tiny_examples.labels), Train(steps=40)
    expected = train(family, seeds(2), tiny_examples.inputs, loss, config)
    monkeypatch.setattr(objective, "BLOCK_NUMBERS", 7 * family.activations(1))
    found = train(family, seeds(2), mapped(tmp_path / "inputs.npy"), loss, config)
    torch.testing.assert_close(found.params["weight"], expected.params["weight"], rtol=1e-3, atol=1e-4)
    assert not torch.equal(found.params["weight"], family.init(seeds(2))["weight"])


@pytest.mark.parametrize(("array", "words"), [(np.zeros((2, 3, 4)), "float64 2 x 3 x 4"), (np.zeros(3, "f4"), "float32 3:")])
def test_a_file_of_other_numbers_is_refused(refusal, tmp_path, array, words):
    np.save(tmp_path / "inputs.npy", array)
    assert words in refusal(mapped, tmp_path / "inputs.npy")


def test_a_file_that_is_not_there_or_holds_no_numbers_is_refused(refusal, tmp_path):
    assert "No such file" in refusal(mapped, tmp_path / "none.npy")
    (tmp_path / "text.npy").write_text("words")
    assert "numpy.save" in refusal(mapped, tmp_path / "text.npy")


def test_what_cannot_fit_is_refused_before_it_is_allocated(refusal, family, tiny_examples, seeds, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device=None: GIB // 1000)
    said = refusal(train, family, seeds(3), tiny_examples.inputs, HardLoss(tiny_examples.labels), Train())
    assert said.startswith("training 3 networks on 30 examples needs about 0.0 GiB, received 0.0 GiB of free memory: ")
    assert "--count" in said
    monkeypatch.setattr(memory, "free_memory", lambda device=None: GIB)
    many = settings({"data.test_examples": 10_000_000})
    assert "lower data.test_examples or data.dim" in refusal(Distribution(many.data, 0).test)


def test_where_the_system_does_not_tell_what_is_free_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device=None: None)
    memory.require(1e30, "everything", "lower it")


def test_threads_are_set_for_the_training_alone(refusal, family, tiny_examples, seeds):
    before = torch.get_num_threads()
    with machine.machine(Train(threads=1)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    said = refusal(train, family, seeds(1), tiny_examples.inputs, HardLoss(tiny_examples.labels), Train(threads=10**6))
    assert "received 1000000" in said


def test_mixed_precision_is_float32_where_the_machine_has_no_bf16_products_and_that_is_said_once(
    family, tiny_examples, seeds, monkeypatch, caplog
):
    machine._plain.cache_clear()
    monkeypatch.setattr(machine, "bf16_products", lambda device: False)
    loss = HardLoss(tiny_examples.labels)
    plain = train(family, seeds(2), tiny_examples.inputs, loss, Train(steps=20))
    with caplog.at_level(logging.WARNING, "viewrace"):
        mixed = [train(family, seeds(2), tiny_examples.inputs, loss, Train(steps=20, precision="mixed")) for _ in range(2)]
    assert torch.equal(mixed[0].params["weight"], plain.params["weight"])
    assert len(caplog.records) == 1
    assert torch.get_float32_matmul_precision() == "highest"


def test_mixed_precision_asks_for_bf16_products_where_there_are_some(monkeypatch):
    monkeypatch.setattr(machine, "bf16_products", lambda device: True)
    with machine.machine(Train(precision="mixed")):
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == "highest"


def test_results_are_known_by_what_was_asked_for_and_not_by_what_computed_it():
    plain = Settings()
    assert plain.replace(**{"train.threads": 2, "train.device": "cuda"}).fingerprint() == plain.fingerprint()
    assert plain.replace(**{"train.precision": "mixed"}).fingerprint() != plain.fingerprint()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused(refusal, family, tiny_examples, seeds):
    said = refusal(train, family, seeds(1), tiny_examples.inputs, HardLoss(tiny_examples.labels), Train(device="cuda"))
    assert said == "train.device needs a CUDA device, received cuda where torch finds none: set train.device=cpu"


@needs_cuda
def test_a_cuda_device_trains_the_same_networks(family, tiny_examples, seeds):
    loss, teacher = HardLoss(tiny_examples.labels), torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(1))
    for each in (loss, SoftLoss(tiny_examples.labels, teacher)):
        for method in ("flow", "gd", "sgd"):
            config = {"method": method, "steps": 40, "precision": "float64"}
            here = train(family, seeds(3), tiny_examples.inputs, each, Train(**config))
            there = train(family, seeds(3), tiny_examples.inputs, each, Train(device="cuda", **config))
            torch.testing.assert_close(there.params["weight"], here.params["weight"], rtol=1e-4, atol=1e-6)
            assert there.params["weight"].device.type == "cpu"


@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_networks_of_a_cuda_device_learn_and_answer_as_those_of_the_processor(family, tiny_examples, seeds, precision):
    loss = HardLoss(tiny_examples.labels)
    here = train(family, seeds(3), tiny_examples.inputs, loss, Train(steps=60))
    there = train(family, seeds(3), tiny_examples.inputs, loss, Train(steps=60, device="cuda", precision=precision))
    bound = 1e-2 if precision == "float32" else 0.2
    assert float((there.params["weight"] - here.params["weight"]).norm() / here.params["weight"].norm()) < bound
    assert there.logits(tiny_examples.inputs).device.type == "cpu"
    torch.testing.assert_close(there.loss, here.loss, rtol=0.3, atol=1e-3)
