"""Members on disk: saved and read back, and a training that was stopped goes on as if it had not been."""

import pytest
import torch
from torch import nn

from viewrace.data.images import ImageSet, load_images
from viewrace.nets.images import conv_net
from viewrace.train.members import MemberConfig, Members, train_members

CONV = conv_net(1, 8, 10, width=4)
CONFIG = MemberConfig(epochs=3, batch=40, rate=0.1)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_images("digits", "train", 120)


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def same(members: Members, other: Members) -> bool:
    """Everything is the same to the bit."""
    pairs = [(members.weights[name], other.weights[name]) for name in members.weights]
    pairs += [(members.buffers[name], other.buffers[name]) for name in members.buffers]
    pairs += [(members.trace.loss, other.trace.loss), (members.trace.right, other.trace.right)]
    return all(torch.equal(one, two) for one, two in pairs)


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"engine": "batched"}, id="sgd"),
        pytest.param({"engine": "loop", "optimizer": "adamw", "rate": 0.01}, id="adamw"),
        pytest.param({"engine": "batched", "augment": {"shift": 1}}, id="augmented"),
    ],
)
def test_a_run_that_was_stopped_goes_on_to_the_bit(digits, tmp_path, change):
    config = CONFIG.replace(**change)

    def stop(done: float) -> None:
        if done > 0.7:
            raise Stop

    kept = tmp_path / "deep" / "members.safetensors"
    with pytest.raises(Stop):
        train_members(CONV, digits, config, 2, 0, checkpoint=kept, progress=stop)
    told: list[float] = []
    resumed = train_members(CONV, digits, config, 2, 0, checkpoint=kept, progress=told.append)
    assert told[0] == pytest.approx(7 / 9)
    assert same(resumed, train_members(CONV, digits, config, 2, 0))
    done: list[float] = []
    assert same(train_members(CONV, digits, config, 2, 0, checkpoint=kept, progress=done.append), resumed)
    assert done == []


def test_a_checkpoint_of_another_training_is_refused_and_left_alone(digits, tmp_path, refusal):
    kept = tmp_path / "members.safetensors"
    config = CONFIG.replace(epochs=1, engine="loop")
    teacher = torch.zeros(len(digits), 10)
    train_members(linear, digits, config, 2, 0, checkpoint=kept)
    before = kept.read_bytes()
    others = {
        "settings": {"config": config.replace(rate=0.2)},
        "root seed": {"root": 1},
        "members": {"start": 1},
        "data": {"data": digits.take(slice(0, 110))},
        "teacher": {"teacher": teacher, "alpha": 0.5},
        "loss": {"joint": True},
        "initial weights": {"factory": CONV},
    }
    for name, change in others.items():
        call = {"factory": linear, "data": digits, "config": config, "count": 2, "root": 0, "checkpoint": kept} | change
        assert name in refusal(train_members, **call)
    assert kept.read_bytes() == before


@pytest.fixture(scope="module")
def trained(digits) -> Members:
    return train_members(CONV, digits, CONFIG.replace(epochs=1, engine="loop"), 3, 0, start=2)


def test_what_is_saved_is_read_back(digits, trained, tmp_path):
    trained.save(tmp_path / "out" / "members.safetensors")
    again = Members.load(tmp_path / "out" / "members.safetensors", CONV)
    assert same(again, trained)
    assert torch.equal(again.logits(digits.images), trained.logits(digits.images))
    assert (again.classes, again.root, again.start, again.batched) == (digits.classes, 0, 2, False)


@pytest.mark.parametrize("kind", ["members", "checkpoint"])
@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_a_damaged_file_is_refused(digits, trained, tmp_path, refusal, kind, damage):
    path = tmp_path / "file.safetensors"
    config = CONFIG.replace(epochs=1)
    if kind == "members":
        trained.save(path)
    else:
        train_members(CONV, digits, config, 2, 0, checkpoint=path)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-3] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"{}" if damage == "other" else content)
    if kind == "members":
        words = refusal(Members.load, path, CONV)
    else:
        words = refusal(train_members, CONV, digits, config, 2, 0, checkpoint=path)
    assert "is damaged" in words


def test_a_file_of_something_else_is_refused(digits, trained, tmp_path, refusal):
    path = tmp_path / "members.safetensors"
    trained.save(path)
    assert "of another architecture" in refusal(Members.load, path, linear)
    assert "holds members" in refusal(train_members, CONV, digits, CONFIG, 2, 0, checkpoint=path)
    assert "there is no file" in refusal(Members.load, tmp_path / "none", CONV)
    (tmp_path / "file").write_text("")
    assert "cannot write" in refusal(trained.save, tmp_path / "file" / "inside")


def test_members_of_two_trainings_are_not_joined(digits, trained, refusal):
    other = train_members(linear, digits, CONFIG.replace(epochs=1), 1, 0)
    assert "one architecture and data set" in refusal(trained.joined, other)
