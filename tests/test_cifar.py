"""CIFAR's own files: read as Python 2 wrote them, and nothing in a pickle is ever run."""

import contextlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viewrace.data.images import ImageSet, load_images
from viewrace.data.images.cifar import read_pickle
from viewrace.errors import ViewraceError

CLASSES = ("ant", "bee", "cat")
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)


def agree(data: ImageSet, rows: list[int]) -> None:
    assert torch.equal(data.images, torch.from_numpy(PIXELS[rows].astype(np.float32) / 255))
    assert data.labels.tolist() == LABELS[rows].tolist()
    assert data.classes == CLASSES


def python2(value) -> bytes:
    """Opcodes with which Python 2 wrote a value into the files of CIFAR: strings as bytes, arrays as NumPy 1 wrote them."""
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(key) + python2(held) for key, held in value.items()) + b"u"
    shape = b"(" + b"".join(map(python2, value.shape)) + b"t"
    kind = b"cnumpy\ndtype\n(" + python2(b"u1") + python2(0) + python2(1) + b"tR(" + python2(3) + python2(b"|")
    kind += b"NNN" + python2(-1) + python2(-1) + python2(0) + b"tb"
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + python2(0) + b"t" + python2(b"b") + b"tR"
    return start + b"(" + python2(1) + shape + kind + python2(False) + python2(value.tobytes()) + b"tb"


def pickled(value) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


def cifar_files(kind: str) -> dict[str, bytes]:
    flat = PIXELS.reshape(10, 3072)
    if kind == "cifar100":
        parts = {"train": list(range(6)), "test": list(range(6, 10))}
        files = {"meta": {b"fine_label_names": [name.encode() for name in CLASSES], b"coarse_label_names": [b"animal"]}}
        key = b"fine_labels"
    else:
        parts = {f"data_batch_{index + 1}": [index] for index in range(5)} | {"test_batch": [5, 6, 7, 8, 9]}
        files = {"batches.meta": {b"label_names": [name.encode() for name in CLASSES], b"num_vis": 3072}}
        key = b"labels"
    files |= {name: {b"data": flat[rows], key: LABELS[rows].tolist(), b"batch_label": b"x"} for name, rows in parts.items()}
    return {name: pickled(tree) for name, tree in files.items()}


@pytest.fixture(params=["folder", "nested", "tar"])
def place(request, tmp_path):
    """Writes files as a plain folder, a folder in a folder, or a tar file."""

    def put(files: dict[str, bytes]) -> Path:
        if request.param == "tar":
            with tarfile.open(tmp_path / "files.tar.gz", "w:gz") as archive:
                for name, content in files.items():
                    info = tarfile.TarInfo(f"cifar-batches-py/{name}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
            return tmp_path / "files.tar.gz"
        room = tmp_path / "cifar-batches-py" if request.param == "nested" else tmp_path
        room.mkdir(exist_ok=True)
        for name, content in files.items():
            (room / name).write_bytes(content)
        return tmp_path

    return put


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_cifar_is_read_as_it_was_written(place, kind):
    path = place(cifar_files(kind))
    split = 6 if kind == "cifar100" else 5
    agree(load_images(f"{kind}:{path}", "train"), list(range(split)))
    agree(load_images(f"{kind}:{path}", "test"), list(range(split, 10)))


def test_what_python_two_wrote_is_what_numpy_reads():
    tree = pickle.loads(pickled({b"data": PIXELS[:2].reshape(2, -1)}), encoding="bytes")
    assert np.array_equal(tree[b"data"], PIXELS[:2].reshape(2, -1))


class Bomb:
    """A pickle that leaves a file behind when it is run."""

    def __init__(self, path: Path, call):
        self.path, self.call = path, call

    def __reduce__(self):
        return self.call, (f"touch {self.path}" if self.call is os.system else str(self.path),)


def touch(path: str) -> None:
    Path(path).touch()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("call", [os.system, touch, os.mkdir])
def test_a_pickle_that_would_run_something_does_not(tmp_path, refusal, protocol, call):
    trace = tmp_path / "it-ran"
    content = pickle.dumps({"data": Bomb(trace, call)}, protocol=protocol)
    assert "nothing of it was run" in refusal(read_pickle, content, "data_batch_1")
    assert not trace.exists()
    pickle.loads(content)
    assert trace.exists(), "the bomb is a dud, so that it did nothing shows nothing"


@pytest.mark.parametrize("name", ["builtins eval", "numpy load", "numpy.core.multiarray fromfile", "viewrace.cli main"])
def test_any_other_name_in_a_pickle_is_refused(refusal, name):
    module, function = name.split()
    content = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    assert f"it asks for {module}.{function}" in refusal(read_pickle, content, "file")


@pytest.mark.parametrize("kind", [np.float64, object, np.uint16])
def test_an_array_that_is_not_of_bytes_is_refused(refusal, kind):
    content = pickle.dumps({"data": np.zeros(4, dtype=kind)}, protocol=2)
    assert "not a plain file of CIFAR" in refusal(read_pickle, content, "file")


@given(cut=st.integers(0, 3300), flip=st.integers(0, 255))
def test_a_damaged_pickle_is_read_or_refused_never_a_crash(cut, flip):
    content = bytearray(pickled({b"data": PIXELS[:1].reshape(1, -1), b"labels": [1]}))
    content[cut % len(content)] ^= flip
    for damaged in (bytes(content), bytes(content[:cut])):
        with contextlib.suppress(ViewraceError):
            read_pickle(damaged, "file")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: files.pop("test_batch"), "has no file test_batch"),
        (lambda files: files.pop("batches.meta"), "has no file batches.meta"),
        (lambda files: files.update(test_batch=pickled([1])), "test_batch must hold a dict with data"),
        (lambda files: files.update(test_batch=pickled({b"data": PIXELS[:1], b"labels": [0]})), "3072 bytes"),
        (lambda files: files.update({"batches.meta": pickled({b"label_names": 3})}), "must list the names"),
        (lambda files: files.update(test_batch=files["test_batch"][:900]), "not a plain file of CIFAR"),
        (
            lambda files: files.update(test_batch=pickled({b"data": PIXELS[:1].reshape(1, -1), b"labels": [3]})),
            "labels must lie in 0..2",
        ),
    ],
)
def test_bad_files_of_cifar_are_refused(place, refusal, change, words):
    files = cifar_files("cifar10")
    change(files)
    assert words in refusal(load_images, f"cifar10:{place(files)}", "test")


def test_an_array_of_objects_is_not_unpickled(tmp_path, refusal):
    trace = tmp_path / "it-ran"
    np.savez(tmp_path / "bad.npz", images=np.array([Bomb(trace, touch)], dtype=object), labels=LABELS[:1])
    assert "more than plain arrays" in refusal(load_images, f"arrays:{tmp_path / 'bad.npz'}", "train")
    assert not trace.exists()
