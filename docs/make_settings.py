"""Write docs/settings.md and docs/image-settings.md from the models: python docs/make_settings.py"""

from pathlib import Path

from pydantic import BaseModel

from viewrace.config import Settings
from viewrace.data.augment import Augment
from viewrace.data.composite import CompositeConfig
from viewrace.train.members import MemberConfig

TARGET = Path(__file__).with_name("settings.md")
IMAGES_TARGET = Path(__file__).with_name("image-settings.md")


def table(model: type[BaseModel], prefix: str = "") -> list[str]:
    """One row for each setting of a model, with its default."""
    rows = ["| setting | default | what it is |", "| --- | --- | --- |"]
    for name, item in model.model_fields.items():
        default = item.get_default(call_default_factory=True)
        shown = "nothing" if isinstance(default, BaseModel) else default
        rows.append(f"| `{prefix}{name}` | `{shown}` | {item.description} |")
    return rows


def page() -> str:
    lines = [
        "# Settings",
        "",
        "Nested, the same in YAML, after `--set` and in Python. `viewrace reproduce` starts from the preset for its number of",
        "views, classes and source; a YAML file and `viewrace.settings` start from the defaults below. Made by",
        "`docs/make_settings.py`.",
    ]
    for group, field in Settings.model_fields.items():
        model = field.annotation
        lines += ["", f"## {group}", "", str(model.__doc__).splitlines()[0], "", *table(model, f"{group}.")]
    return "\n".join(lines) + "\n"


def images_page() -> str:
    lines = [
        "# Settings of members and of composite images",
        "",
        "Options of the classes that [images.md](images.md) uses from Python. Made by `docs/make_settings.py`.",
    ]
    for model in (MemberConfig, Augment, CompositeConfig):
        lines += ["", f"## {model.__name__}", "", str(model.__doc__).splitlines()[0], "", *table(model)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    IMAGES_TARGET.write_text(images_page(), encoding="utf-8")
