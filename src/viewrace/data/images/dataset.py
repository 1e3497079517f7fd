"""Dataset objects in the manner of torchvision and Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from viewrace.data.images.decode import picture
from viewrace.data.images.imageset import ImageSet
from viewrace.errors import ViewraceError

__all__ = ["from_dataset"]

IMAGES, LABELS = ("image", "img", "pixel_values"), ("label", "labels", "fine_label")
READ_TWICE = 3
"""Items that are read twice, to see whether a random transform is on."""


def from_dataset(dataset: Any) -> ImageSet:
    """The images of any object with a length whose items are (image, label) pairs or dicts with `image` and `label`.

    Images may be PIL pictures, uint8 or float arrays or tensors, (channel, height, width) or with the channel last. Names of
    the classes come from `dataset.classes` or from the label's feature. Random transforms are refused: each member has its own.
    """
    try:
        count = len(dataset)
    except TypeError:
        raise ViewraceError(f"a data set must have a length, received {type(dataset).__name__}: give one of items") from None
    if not count:
        raise ViewraceError(f"a data set must hold one image or more, received an empty {type(dataset).__name__}: give another")
    read = [_item(dataset, row) for row in range(count)]
    shapes = {tuple(image.shape) for image, _ in read}
    if len(shapes) > 1:
        raise ViewraceError(f"images must have one shape, received {sorted(shapes)[:2]}: resize them in the data set's transform")
    for row in range(min(count, READ_TWICE)):
        again, label = _item(dataset, row)
        if label != read[row][1] or not torch.equal(again.nan_to_num(), read[row][0].nan_to_num()):
            raise ViewraceError(
                f"a data set must give the same image each time, received another for item {row}: take out its random transforms"
            )
    labels = torch.tensor([label for _, label in read])
    names = _names(dataset) or tuple(str(index) for index in range(int(labels.max()) + 1))
    return ImageSet(torch.stack([image for image, _ in read]), labels, names)


def _item(dataset: Any, row: int) -> tuple[Tensor, int]:
    try:
        item = dataset[row]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ViewraceError(f"the data set failed to give item {row} ({reason}): mend it") from None
    image, label = (_first(item, IMAGES), _first(item, LABELS)) if isinstance(item, Mapping) else _pair(item, row)
    if isinstance(label, (np.integer, Tensor)) and np.ndim(label) == 0:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int):
        raise ViewraceError(f"the label of item {row} must be a whole number, received {label!r}: give the class's index")
    return _image(image, row), label


def _pair(item: Any, row: int) -> tuple[Any, Any]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise ViewraceError(f"item {row} must be an (image, label) pair or a dict, received {type(item).__name__}: wrap it")
    return item[0], item[1]


def _first(item: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    found = [name for name in names if name in item]
    if not found:
        raise ViewraceError(f"an item must have {' or '.join(names)}, received {', '.join(map(str, item))}: rename the column")
    return item[found[0]]


def _image(image: Any, row: int) -> Tensor:
    """(channel, height, width) float32."""
    if hasattr(image, "convert"):
        image = picture(image, f"of item {row}")
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim not in (2, 3) or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        raise ViewraceError(
            f"the image of item {row} must be a picture, or uint8 or floats of 2 or 3 axes, received {array.dtype} of shape "
            f"{array.shape}: convert it"
        )
    pixels = torch.from_numpy(array.astype(np.float32))
    pixels = pixels / 255 if array.dtype == np.uint8 else pixels
    if pixels.ndim == 2:
        return pixels[None]
    return pixels.permute(2, 0, 1) if pixels.shape[2] in (1, 3) and pixels.shape[0] not in (1, 3) else pixels


def _names(dataset: Any) -> tuple[str, ...]:
    """Names of the classes, or none."""
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        found = [getattr(features[name], "names", None) for name in LABELS if name in features]
        return tuple(found[0]) if found and found[0] else ()
    classes = getattr(dataset, "classes", None)
    return tuple(str(name) for name in classes) if classes else ()
