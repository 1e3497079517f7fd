"""Readers of images: what was put in comes out, whatever the container."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from viewrace.data.images import ImageSet, check_split, load_images

CLASSES = ("ant", "bee", "cat")
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
TEST_ROWS = [6, 7, 8]
TRAIN_ROWS = [0, 1, 2, 3, 4, 5, 9]


def png(pixels: np.ndarray) -> bytes:
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(pixels.squeeze() if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def agree(data: ImageSet, rows: list[int], pixels: np.ndarray = PIXELS) -> None:
    assert torch.equal(data.images, torch.from_numpy(pixels[rows].astype(np.float32) / 255))
    assert data.labels.tolist() == LABELS[rows].tolist()
    assert data.classes == CLASSES


def test_the_digits_are_split_once_and_for_all():
    train, test = load_images("digits", "train"), load_images("digits", "test")
    check_split(train, test)
    assert (len(train), len(test), train.shape) == (1201, 596, (1, 8, 8))
    assert train.classes == tuple("0123456789")
    assert not set(map(bytes, train.images.numpy())) & set(map(bytes, test.images.numpy()))
    share = torch.bincount(test.labels) / (torch.bincount(test.labels) + torch.bincount(train.labels))
    assert (share - 1 / 3).abs().max() < 0.005
    assert train.images.max() == 1


@given(limit=st.integers(1, 1300))
def test_a_limit_keeps_classes_even_and_the_order(limit):
    full, some = load_images("digits", "train"), load_images("digits", "train", limit)
    counts = torch.bincount(some.labels, minlength=10)
    assert len(some) == min(limit, len(full))
    if limit < 1100:
        assert counts.max() - counts.min() <= 1
    position = {bytes(image): row for row, image in enumerate(full.images.numpy())}
    rows = [position[bytes(image)] for image in some.images.numpy()]
    assert rows == sorted(rows)
    assert full.labels[rows].equal(some.labels)


def write_folder(root: Path, rows: list[int], pixels: np.ndarray = PIXELS) -> None:
    for row in rows:
        room = root / CLASSES[LABELS[row]]
        room.mkdir(parents=True, exist_ok=True)
        (room / f"{row}.png").write_bytes(png(pixels[row].transpose(1, 2, 0)))


@pytest.mark.parametrize("test_name", ["test", "val", None])
def test_a_folder_of_images_per_class(tmp_path, test_name):
    write_folder(tmp_path / "train" if test_name else tmp_path, TRAIN_ROWS if test_name else list(range(10)))
    if test_name:
        write_folder(tmp_path / test_name, TEST_ROWS)
    (tmp_path / ".hidden").mkdir()
    by_class = sorted(TRAIN_ROWS, key=lambda row: (LABELS[row], row))
    agree(load_images(f"folder:{tmp_path}", "train"), by_class)
    agree(load_images(f"folder:{tmp_path}", "test"), TEST_ROWS)


def test_a_class_that_is_missing_in_test_is_named(tmp_path, refusal):
    write_folder(tmp_path / "train", TRAIN_ROWS)
    write_folder(tmp_path / "test", [6, 7])
    parts = [load_images(f"folder:{tmp_path}", split) for split in ("train", "test")]
    assert "in the test set, received none of 'cat'" in refusal(check_split, *parts)


def test_gray_pictures_have_one_channel_unless_one_has_colour(tmp_path):
    gray = PIXELS[:, :1]
    write_folder(tmp_path, list(range(10)), gray)
    train = load_images(f"folder:{tmp_path}", "train")
    assert train.shape == (1, 32, 32)
    (tmp_path / "ant" / "0.png").write_bytes(png(PIXELS[0].transpose(1, 2, 0)))
    mixed = load_images(f"folder:{tmp_path}", "train")
    assert mixed.shape == (3, 32, 32)
    assert torch.equal(mixed.images[1:], train.images[1:].expand(-1, 3, -1, -1))


def test_pictures_are_cut_and_scaled_where_a_size_is_given(tmp_path, refusal):
    wide = np.zeros((3, 16, 48), dtype=np.uint8)
    wide[:, :, 16:32] = 200
    write_folder(tmp_path, list(range(10)))
    (tmp_path / "ant" / "0.png").write_bytes(png(wide.transpose(1, 2, 0)))
    assert "add @SIZE to the source" in refusal(load_images, f"folder:{tmp_path}", "train")
    sized = load_images(f"folder:{tmp_path}@8", "train")
    assert sized.shape == (3, 8, 8)
    torch.testing.assert_close(sized.images[0], torch.full((3, 8, 8), 200 / 255), rtol=0, atol=1e-6)


def test_a_broken_picture_is_named(tmp_path, refusal):
    write_folder(tmp_path, list(range(10)))
    (tmp_path / "bee" / "1.png").write_bytes(b"not a picture")
    assert "bee/1.png" in refusal(load_images, f"folder:{tmp_path}", "train")


def write_parquet(path: Path, rows: list[int], layout: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    files = [png(PIXELS[row].transpose(1, 2, 0)) for row in rows]
    images = [{"bytes": file, "path": None} for file in files] if layout == "hub" else files
    labels = [CLASSES[label] for label in LABELS[rows]] if layout == "names" else LABELS[rows]
    features = {"info": {"features": {"label": {"names": CLASSES, "_type": "ClassLabel"}}}}
    metadata = {"hub": {"huggingface": json.dumps(features)}, "plain": {"classes": ",".join(CLASSES)}}.get(layout, {})
    table = arrow.table({"img" if layout == "hub" else "image": images, "label": labels}).replace_schema_metadata(metadata)
    path.parent.mkdir(exist_ok=True)
    pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=2)


@pytest.mark.parametrize("layout", ["plain", "hub", "names"])
def test_parquet_files_are_read_whole_or_by_split(tmp_path, layout):
    write_parquet(tmp_path / "all.parquet", list(range(10)), layout)
    agree(load_images(f"parquet:{tmp_path / 'all.parquet'}", "test"), TEST_ROWS)
    agree(load_images(f"parquet:{tmp_path / 'all.parquet'}", "train"), TRAIN_ROWS)
    write_parquet(tmp_path / "data" / "train-0-of-2.parquet", TRAIN_ROWS[:3], layout)
    write_parquet(tmp_path / "data" / "train-1-of-2.parquet", TRAIN_ROWS[3:], layout)
    write_parquet(tmp_path / "data" / "test-0-of-1.parquet", TEST_ROWS, layout)
    agree(load_images(f"parquet:{tmp_path / 'data'}", "train"), TRAIN_ROWS)
    agree(load_images(f"parquet:{tmp_path / 'data'}", "test"), TEST_ROWS)


def test_bad_parquet_is_refused(tmp_path, refusal):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    assert "cannot read" in refusal(load_images, f"parquet:{tmp_path / 'no.parquet'}", "train")
    parquet.write_table(arrow.table({"text": ["a"]}), tmp_path / "text.parquet")
    assert "must have a column" in refusal(load_images, f"parquet:{tmp_path / 'text.parquet'}", "train")
    parquet.write_table(arrow.table({"image": [b"x", b"y"], "label": [0.5, None]}), tmp_path / "float.parquet")
    assert "must hold whole numbers or names" in refusal(load_images, f"parquet:{tmp_path / 'float.parquet'}", "train")
    parquet.write_table(arrow.table({"image": [None, "y"], "label": [0, 1]}), tmp_path / "null.parquet")
    assert "must hold the bytes of an image" in refusal(load_images, f"parquet:{tmp_path / 'null.parquet'}", "train")
    assert "no Parquet file" in refusal(load_images, f"parquet:{tmp_path / 'none'}", "train")


@pytest.mark.parametrize("package", ["pyarrow", "pillow"])
def test_a_missing_extra_is_one_line_that_says_how_to_install_it(tmp_path, refusal, monkeypatch, package):
    write_folder(tmp_path / "pictures", list(range(10)))
    write_parquet(tmp_path / "all.parquet", list(range(10)), "plain")
    hidden = "pyarrow.parquet" if package == "pyarrow" else "PIL.Image"
    monkeypatch.setitem(sys.modules, hidden, None)
    spec = f"parquet:{tmp_path / 'all.parquet'}" if package == "pyarrow" else f"folder:{tmp_path / 'pictures'}"
    assert f"needs {package}: pip install 'viewrace[images]'" in refusal(load_images, spec, "train")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays, classes=np.array(CLASSES))
    else:
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        safetensors.numpy.save_file(whole, path, metadata={"classes": json.dumps(CLASSES)})


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("last", [False, True], ids=["channel-first", "channel-last"])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_arrays_are_read_whole_or_by_split(tmp_path, suffix, last, kind):
    pixels = PIXELS if kind == "uint8" else PIXELS.astype(np.float32) / 255
    pixels = pixels.transpose(0, 2, 3, 1) if last else pixels
    write_arrays(tmp_path / f"all{suffix}", {"images": pixels, "labels": LABELS[:, None]})
    agree(load_images(f"arrays:{tmp_path / f'all{suffix}'}", "test"), TEST_ROWS)
    parts = {
        "x_train": pixels[TRAIN_ROWS],
        "y_train": LABELS[TRAIN_ROWS],
        "x_test": pixels[TEST_ROWS],
        "y_test": LABELS[TEST_ROWS],
    }
    write_arrays(tmp_path / f"parts{suffix}", parts)
    agree(load_images(f"arrays:{tmp_path / f'parts{suffix}'}", "train"), TRAIN_ROWS)
    agree(load_images(f"arrays:{tmp_path / f'parts{suffix}'}", "test"), TEST_ROWS)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": PIXELS}, "must hold images and labels"),
        ({"images": PIXELS, "labels": LABELS[:5]}, "must be whole numbers, one for each of 10 images"),
        ({"images": PIXELS, "labels": LABELS / 2}, "must be whole numbers"),
        ({"images": PIXELS, "labels": LABELS - 1}, "labels must lie in 0..2"),
        ({"images": PIXELS, "labels": LABELS + 1}, "labels must lie in 0..2"),
        ({"images": PIXELS.astype(np.float32), "labels": LABELS}, "pixels must be finite numbers in [0, 1]"),
        ({"images": np.full((10, 3, 4, 4), np.nan, dtype=np.float32), "labels": LABELS}, "pixels must be finite"),
        ({"images": PIXELS.astype(np.int64), "labels": LABELS}, "must be uint8, or floats"),
        ({"images": PIXELS[:, 0, 0], "labels": LABELS}, "must be uint8, or floats"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "received none"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, refusal, arrays, words):
    write_arrays(tmp_path / "bad.npz", arrays)
    assert words in refusal(load_images, f"arrays:{tmp_path / 'bad.npz'}", "train")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mnist", "one of digits, cifar10:DIR"),
        ("cifar:x", "for example cifar10:DIR"),
        ("folder:", "for example folder:DIR"),
        ("digits:x", "for example digits"),
        ("folder:/nowhere", "there is no folder"),
        ("arrays:/nowhere.npz", "there is no file"),
        ("cifar10:/nowhere", "has no file batches.meta"),
    ],
)
def test_unknown_sources_are_refused(refusal, spec, words):
    assert words in refusal(load_images, spec, "train")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64), "one image or more"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 1]), "must be float32"),
        (torch.zeros(2, 4, 4), torch.tensor([0, 1]), "must be float32"),
        (torch.tensor([0.0, torch.inf]).view(2, 1, 1, 1), torch.tensor([0, 1]), "image 1 is the first"),
        (torch.tensor([0.0, -0.1]).view(2, 1, 1, 1), torch.tensor([0, 1]), "image 1 is the first"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0.0, 1.0]), "labels must be int64"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0]), "labels must be int64, one for each of the 2"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 3]), "received 0..3"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([-1, 0]), "received -1..0"),
    ],
)
def test_images_are_checked_when_they_are_made(refusal, images, labels, words):
    assert words in refusal(ImageSet, images, labels, CLASSES)


def test_one_class_is_not_enough(refusal):
    assert "two classes or more" in refusal(ImageSet, torch.zeros(1, 1, 2, 2), torch.tensor([0]), ("only",))


CIFAR = Path(os.environ.get("VIEWRACE_CIFAR10", Path(__file__).parents[2] / "shared" / "data" / "cifar10"))


@pytest.mark.skipif(not CIFAR.is_dir(), reason="needs CIFAR-10 as Parquet: set VIEWRACE_CIFAR10 to its folder")
def test_the_real_cifar_has_ten_classes_in_both_splits():
    train, test = (load_images(f"parquet:{CIFAR}", split, limit=200) for split in ("train", "test"))
    check_split(train, test)
    assert train.shape == (3, 32, 32)
    assert train.classes[3] == "cat"
    assert torch.bincount(train.labels).tolist() == [20] * 10
    assert 0.35 < float(train.images.mean()) < 0.6
