"""`viewrace show` of a folder of JSON: the words of the run that wrote it, and one line where the file is broken."""

import io
import json
import sys

import numpy as np
import pytest
from rich.console import Console

from viewrace.cli import main
from viewrace.screen_bench import bench_parts

POINT = {
    "seeds": 2,
    "neurons": 20,
    "dim": 6,
    "columns": 80,
    "axes": ["seeds"],
    "flops": 38400,
    "memory": None,
    "seconds": {"viewrace": [1e-3, 2e-3], "limit": [1e-3, 1e-3], "loop": [4e-3, 4e-3]},
}
BENCH = {
    "device": "processor",
    "threads": 2,
    "kernel": "compiled",
    "precision": "float32",
    "environment": {"torch": "2.13"},
    "turns": 2,
    "side": 64,
    "square": [1e9, 2e9],
    "points": [POINT, POINT | {"seeds": 4, "seconds": {name: [2e-3, 4e-3] for name in POINT["seconds"]}}],
    "others": {"mlp": {"viewrace": [1e-3, 1e-3], "loop": [5e-3, 5e-3]}},
}


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Call a command in this process; gives its exit status and what it wrote."""
    monkeypatch.setenv("COLUMNS", "120")

    def called(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["viewrace", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return called


def test_an_audit_is_shown_as_it_was_printed(call, tmp_path):
    labels = np.arange(60) % 3
    logits = np.random.default_rng(0).normal(size=(3, 60, 3)) + 2 * np.eye(3)[labels]
    np.savez(tmp_path / "members.npz", logits=logits, labels=labels)
    _, printed, _ = call("audit", "--logits", "members.npz", "--out", "here")
    (tmp_path / "members.npz").unlink()
    assert "ensemble of 3" in printed
    assert call("show", "here") == (0, printed, "")


def test_a_benchmark_is_shown_as_it_was_printed(call, tmp_path):
    (tmp_path / "bench.json").write_text(json.dumps(BENCH))
    status, said, error = call("show", ".")
    paper = Console(width=120, file=io.StringIO())
    for part in bench_parts(BENCH):
        paper.print(part)
    assert (status, error) == (0, "")
    assert said == paper.file.getvalue()
    for words in ("2 threads, compiled kernel, torch 2.13, float32", "2, 20, 6, 80", "mlp", "growth with seeds: time^1.00"):
        assert words in said


@pytest.mark.parametrize("name", ["audit", "bench"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"members": 3',
        "[1, 2]",
        "null",
        "7",
        "{}",
        "[" * 100_000,
        json.dumps(BENCH | {"points": [{}]}),
        '{"advice": [1]}',
        "\x00",
    ],
)
def test_a_broken_file_is_one_line_and_status_2(call, tmp_path, name, text):
    (tmp_path / f"{name}.json").write_text(text)
    status, said, error = call("show", ".")
    assert (status, said) == (2, "")
    assert error.count("\n") == 1
    assert f"{name}.json is damaged" in error


def test_what_is_no_text_or_no_file_to_read_is_refused(call, tmp_path):
    (tmp_path / "audit.json").write_bytes(b"\xff\xfe\x00")
    status, _, error = call("show", ".")
    assert (status, error.count("\n")) == (2, 1)
    assert "audit.json is damaged" in error


def test_markup_in_a_file_is_no_markup_on_the_screen(call, tmp_path):
    """A name that closes what was never opened breaks the table, not the command."""
    (tmp_path / "bench.json").write_text(json.dumps(BENCH | {"others": {"[/bold]": {"loop": [1.0, 1.0]}}}))
    status, _, error = call("show", ".")
    assert (status, error.count("\n")) == (2, 1)
