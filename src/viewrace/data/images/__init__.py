"""Real images: readers that give images and labels, checked."""

from viewrace.data.images.dataset import from_dataset
from viewrace.data.images.imageset import ImageSet, check_split
from viewrace.data.images.load import load_images
from viewrace.data.images.stored import Split

__all__ = ["ImageSet", "Split", "check_split", "from_dataset", "load_images"]
