"""`viewrace audit` as a user meets it: words, files, exit status."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from viewrace.cli import main

MODEL = """
from torch import nn

def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
"""


@pytest.fixture
def inside(tmp_path, monkeypatch, capsys):
    """Call the command in this process, in a folder with a model; gives its exit status and what it wrote."""
    (tmp_path / "usernets.py").write_text(MODEL)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["viewrace", "audit", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    yield call
    sys.modules.pop("usernets", None)


def test_saved_logits_give_three_sentences_a_page_and_json(inside, tmp_path):
    labels = np.arange(60) % 3
    one = np.random.default_rng(0).normal(size=(1, 60, 3)) + 2 * np.eye(3)[labels]
    np.savez(tmp_path / "members.npz", logits=np.repeat(one, 3, axis=0), labels=labels)
    status, out, error = inside("--logits", "members.npz", "--out", "here")
    assert (status, error) == (0, "")
    said = " ".join(out.split())
    assert "No benefit: do not build an ensemble (+0.0 [+0.0, +0.0] points of accuracy with 3 members)." in said
    assert "Its members agree on every example, so there is nothing to average." in said
    assert "There is no gain to distil." in said
    assert "note: members 0, 1, 2 are one network: count them once" in said
    assert out.splitlines()[-1] == "report: here/audit.html"
    found = json.loads((tmp_path / "here" / "audit.json").read_text())
    assert found["answers"] == {"helps": "no", "why": "none", "distils": None, "self_suffices": None}
    assert sorted(item.name for item in (tmp_path / "here").iterdir()) == ["audit.html", "audit.json"]


def test_a_model_is_trained_audited_and_kept(inside, tmp_path):
    quick = ["--data", "digits", "--limit", "200", "--set", "epochs=2", "--out", "here"]
    status, out, error = inside("--model", "usernets:small", *quick, "--members", "2", "--budget", "5")
    assert (status, error) == (0, "")
    assert "student" in out.splitlines()[0]
    assert (tmp_path / "here" / "members.safetensors").exists()
    saved = ["--saved", "here/members.safetensors"]
    status, out, error = inside("--model", "usernets:small", *quick, *saved, "--budget", "0.02")
    assert status in (0, 2)
    assert error == "" or "the budget must hold 2 networks" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "an audit needs --model and --data, or --logits"),
        (["--model", "usernets:small"], "an audit needs --model and --data"),
        (["--model", "usernets:small", "--logits", "x.npz"], "give either --logits, or --model and --data"),
        (["--logits", "x.npz"], "there is no file x.npz"),
        (["--logits", "x.npz", "--members", "4"], "are about training, received with --logits"),
        (["--logits", "x.npz", "--budget", "3"], "are about training, received with --logits"),
        (["--logits", "x.npz", "--limit", "30"], "are about training, received with --logits"),
        (["--logits", "x.npz", "--set", "epochs=3"], "are about training, received with --logits"),
        (["--model", "nowhere:net", "--data", "digits"], "cannot import nowhere of nowhere:net"),
        (["--model", "usernets:smal", "--data", "digits"], "found nothing of that name"),
        (["--model", "usernets:narrow", "--data", "digits"], "must give logits of shape (2, 10)"),
        (["--model", "usernets:small", "--data", "digit"], "unknown source of images 'digit'"),
        (["--model", "usernets:small", "--data", "digits", "--set", "epoch=3"], "unknown option epoch"),
        (["--model", "usernets:small", "--data", "digits", "--members", "1"], "members must be 2 or more"),
        (["--model", "usernets:small", "--data", "digits", "--budget", "1e-7"], "the budget must hold 2 networks of 4 epochs"),
        (["--model", "usernets:small", "--data", "digits", "--saved", "a", "--members", "2"], "give either --saved or --members"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(inside, tmp_path, arguments, words):
    status, _, error = inside(*arguments)
    assert status == 2
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("kept", "words"), [(False, "members are kept once all are trained"), (True, "--saved here/members")])
def test_an_audit_that_is_stopped_says_what_is_kept(inside, tmp_path, monkeypatch, kept, words):
    def stop(*_, save, **__):
        if kept:
            save.parent.mkdir()
            save.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("viewrace.auditing.audit", stop)
    status, out, _ = inside("--model", "usernets:small", "--data", "digits", "--limit", "200", "--out", "here")
    assert status == 130
    assert words in out


@pytest.mark.slow
def test_the_model_of_the_readme_is_audited(inside, tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```py\n(.*?)```", readme, flags=re.DOTALL)
    (command,) = re.findall(r"viewrace audit (--model mynets:small .*)", readme)
    (tmp_path / "mynets.py").write_text(block)
    status, out, error = inside(*command.split(), "--limit", "60", "--members", "2", "--set", "epochs=1")
    assert (status, error) == (0, "")
    assert "report: results/audit-mynets.small-digits-seed1-" in out
