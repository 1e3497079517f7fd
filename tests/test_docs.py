"""The pages say what the code does."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

import viewrace
from viewrace.claims import CLAIMS
from viewrace.train.members import MemberConfig

ROOT = Path(__file__).parents[1]


def test_the_settings_pages_are_made_from_the_models():
    path = ROOT / "docs" / "make_settings.py"
    spec = importlib.util.spec_from_file_location("make_settings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.page(), "run python docs/make_settings.py"
    assert module.IMAGES_TARGET.read_text(encoding="utf-8") == module.images_page(), "run python docs/make_settings.py"


def test_links_between_the_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_the_readme_names_only_commands_and_settings_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL):
        viewrace.settings(yaml.safe_load(block))
    for line in text.splitlines():
        changes = {key: yaml.safe_load(value) for key, value in re.findall(r"--set ([\w.]+)=(\S+)", line)}
        if "viewrace audit" in line:
            MemberConfig(**changes)
        else:
            viewrace.settings(changes | ({"data.dim": 64} if "digits" in changes.values() else {}))
    for names in re.findall(r"--claims ([\w,-]+)", text):
        assert set(names.split(",")) <= {"all", *(claim.id for claim in CLAIMS)}


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert "probe_accuracy" in capsys.readouterr().out


def test_the_python_of_the_images_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "images.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "images.md", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == 4
