"""viewrace: find out which views a network learns, why ensembles help, and whether distillation keeps the gain.

The public API is this one list; everything else is private. Names are loaded when first used, so that the command line
answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viewrace import race, theory
    from viewrace.auditing import Audit, audit, audit_logits
    from viewrace.claims import CLAIMS, Scale, Verdict
    from viewrace.config import Settings, load, settings
    from viewrace.data import Distribution, Examples, check
    from viewrace.data.composite import CompositeConfig, Composites
    from viewrace.data.images import ImageSet, from_dataset, load_images
    from viewrace.errors import ViewraceError
    from viewrace.nets.images import image_net
    from viewrace.presets import preset
    from viewrace.study import Diagnosis, Study, diagnose, predict_winners, reproduce, train_networks
    from viewrace.train.members import MemberConfig, Members, train_members

__version__ = "0.1.0"
__all__ = [
    "CLAIMS",
    "Audit",
    "CompositeConfig",
    "Composites",
    "Diagnosis",
    "Distribution",
    "Examples",
    "ImageSet",
    "MemberConfig",
    "Members",
    "Scale",
    "Settings",
    "Study",
    "Verdict",
    "ViewraceError",
    "audit",
    "audit_logits",
    "check",
    "diagnose",
    "from_dataset",
    "image_net",
    "load",
    "load_images",
    "predict_winners",
    "preset",
    "race",
    "reproduce",
    "settings",
    "theory",
    "train_members",
    "train_networks",
]

_HOMES = {
    "viewrace.auditing": ("Audit", "audit", "audit_logits"),
    "viewrace.claims": ("CLAIMS", "Scale", "Verdict"),
    "viewrace.config": ("Settings", "load", "settings"),
    "viewrace.data": ("Distribution", "Examples", "check"),
    "viewrace.data.composite": ("CompositeConfig", "Composites"),
    "viewrace.data.images": ("ImageSet", "from_dataset", "load_images"),
    "viewrace.errors": ("ViewraceError",),
    "viewrace.nets.images": ("image_net",),
    "viewrace.presets": ("preset",),
    "viewrace.study": ("Diagnosis", "Study", "diagnose", "predict_winners", "reproduce", "train_networks"),
    "viewrace.train.members": ("MemberConfig", "Members", "train_members"),
}


def __getattr__(name: str) -> Any:
    if name in ("race", "theory"):
        return import_module(f"viewrace.{name}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'viewrace' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
