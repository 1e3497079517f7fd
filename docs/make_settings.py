"""Write docs/settings.md from the models: python docs/make_settings.py"""

from pathlib import Path

from viewrace.config import Settings

TARGET = Path(__file__).with_name("settings.md")


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
        lines += [
            "",
            f"## {group}",
            "",
            str(model.__doc__).splitlines()[0],
            "",
            "| setting | default | what it is |",
            "| --- | --- | --- |",
        ]
        for name, item in model.model_fields.items():
            lines.append(f"| `{group}.{name}` | `{item.default}` | {item.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
