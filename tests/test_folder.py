"""A results folder: whole or not there, known by its checksum, never somebody else's."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import xarray as xr

from viewrace.errors import ViewraceError
from viewrace.files import checksum, write_text, write_whole
from viewrace.study import Folder

IDENTITY = {"settings": "abc", "scale": "smoke", "roots": [1]}


@pytest.fixture
def data() -> xr.Dataset:
    return xr.Dataset({"margin": (("root", "seed"), np.arange(6.0).reshape(2, 3))}, attrs={"claim": "x"})


def test_what_is_written_is_read_back(tmp_path, data):
    folder = Folder(tmp_path / "out", IDENTITY)
    folder.write("single-view", data, {"id": "single-view"})
    again = Folder(tmp_path / "out", IDENTITY)
    assert again.state("single-view") == "whole"
    xr.testing.assert_identical(again.read("single-view"), data)
    assert again.note("single-view") == {"id": "single-view"}


@pytest.mark.parametrize("damage", ["cut", "edit", "delete"])
def test_a_file_that_was_changed_is_not_whole(tmp_path, data, damage):
    folder = Folder(tmp_path, IDENTITY)
    folder.write("ensemble", data, {})
    file = tmp_path / "ensemble.nc"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "edit":
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    assert Folder(tmp_path, IDENTITY).state("ensemble") == "damaged"


def test_a_damaged_manifest_means_everything_is_computed_anew(tmp_path, data):
    Folder(tmp_path, IDENTITY).write("ensemble", data, {})
    (tmp_path / "manifest.json").write_text('{"format": 1, "entr')
    assert Folder(tmp_path, IDENTITY).state("ensemble") == "missing"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("x"), "is a file, not a folder"),
        (lambda path: (path.mkdir(), (path / "thesis.tex").write_text("x")), "holds something else"),
        (lambda path: Folder(path, IDENTITY | {"scale": "full"}), "holds results of other settings (scale: there full"),
    ],
)
def test_a_folder_that_is_somebody_elses_is_refused_and_left_alone(tmp_path, make, words):
    path = tmp_path / "out"
    make(path)
    before = sorted(str(item) for item in tmp_path.rglob("*"))
    with pytest.raises(ViewraceError) as refused:
        Folder(path, IDENTITY)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(str(item) for item in tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ViewraceError, match="cannot write to"):
        Folder(tmp_path / "file" / "inside", IDENTITY)


def test_reading_needs_results(tmp_path):
    with pytest.raises(ViewraceError, match="holds no results"):
        Folder(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def fail(partial):
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(file, fail)
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "old"


def test_a_process_killed_while_writing_leaves_the_old_file_whole(tmp_path):
    file = tmp_path / "a.bin"
    write_whole(file, lambda partial: partial.write_bytes(b"old"))
    before = checksum(file)
    code = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from viewrace.files import write_whole
        def write(partial):
            partial.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        write_whole(Path({str(file)!r}), write)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert checksum(file) == before
    Folder(tmp_path / "other", IDENTITY)


def test_kept_networks_come_back_and_broken_ones_count_as_absent(tmp_path):
    folder = Folder(tmp_path, IDENTITY)
    tensors = {"weights.w": torch.randn(2, 3), "outcome": torch.tensor([0, 1])}
    folder.room.put("key", tensors)
    kept = Folder(tmp_path, IDENTITY).room.get("key")
    assert kept is not None
    assert all(torch.equal(kept[name], tensors[name]) for name in tensors)
    file = tmp_path / ".networks" / "key.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    assert folder.room.get("key") is None
    assert not file.exists()


@pytest.mark.parametrize("keep", [True, False])
def test_networks_are_kept_where_asked(tmp_path, keep):
    folder = Folder(tmp_path, IDENTITY)
    folder.room.put("key", {"weights.w": torch.zeros(1)})
    folder.room.finish(keep)
    assert (tmp_path / "weights" / "key.safetensors").exists() == keep
    assert not (tmp_path / ".networks").exists()


def test_the_manifest_is_plain_json(tmp_path, data):
    Folder(tmp_path, IDENTITY).write("ensemble", data, {"id": "ensemble"})
    tree = json.loads((tmp_path / "manifest.json").read_text())
    assert tree["identity"] == IDENTITY
    assert tree["entries"]["ensemble"]["sha256"] == checksum(tmp_path / "ensemble.nc")
    assert os.listdir(tmp_path)
