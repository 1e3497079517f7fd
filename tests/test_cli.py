"""The commands as a user meets them: words, exit status, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from viewrace.cli import main

SMALL = ["--set", "data.classes=4", "--set", "data.examples=60", "--set", "data.test_examples=80", "--set", "net.width=3"]


def viewrace(*arguments: str, cwd=None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "140", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "viewrace", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=timeout, check=False)


@pytest.fixture
def inside(tmp_path, monkeypatch, capsys):
    """Call the command in this process, in an empty folder; gives its exit status and what it wrote to stderr."""

    def call(*arguments: str) -> tuple[object, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["viewrace", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    return call


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One small run that several tests look at."""
    folder = tmp_path_factory.mktemp("cli")
    done = viewrace("reproduce", "--claims", "single-view,ensemble", "--scale", "smoke", *SMALL, "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_ends_with_a_table_and_a_report(ran):
    folder, done = ran
    assert "single-view: " in done.stdout
    assert "predicted" in done.stdout
    assert "report: out/report.html" in done.stdout
    found = {item.name for item in (folder / "out").iterdir()}
    assert found == {"single-view.nc", "ensemble.nc", "verdicts.json", "manifest.json", "report.html"}


def test_verdicts_are_plain_json_with_every_field(ran):
    folder, _ = ran
    verdicts = json.loads((folder / "out" / "verdicts.json").read_text())
    assert [verdict["id"] for verdict in verdicts] == ["single-view", "ensemble"]
    wanted = {"id", "statement", "source", "predicted", "estimate", "low", "high", "n", "verdict", "flags", "seconds"}
    for verdict in verdicts:
        assert wanted <= set(verdict)
        assert verdict["low"] <= verdict["estimate"] <= verdict["high"]
    assert len(verdicts[1]["curves"]["margin_estimate"]) == 10


def test_the_report_needs_no_network(ran):
    folder, _ = ran
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<svg") == 3
    for reach in ("<script", "<link", "@import", 'src="http', "url(http"):
        assert reach not in page
    for words in ("single-view", "Protocol", "classes: 4", "torch"):
        assert words in page


def test_a_second_run_reuses_what_is_complete(ran):
    folder, _ = ran
    before = (folder / "out" / "single-view.nc").stat().st_mtime_ns
    again = viewrace("reproduce", "--claims", "single-view,ensemble", "--scale", "smoke", *SMALL, "--out", "out", cwd=folder)
    assert again.returncode == 0
    assert again.stdout.count("reused, complete from an earlier run") == 2
    assert (folder / "out" / "single-view.nc").stat().st_mtime_ns == before


def test_a_file_edited_by_hand_is_named_and_recomputed(ran):
    folder, _ = ran
    file = folder / "out" / "ensemble.nc"
    file.write_bytes(file.read_bytes()[:-100])
    shown = viewrace("show", "out", cwd=folder)
    assert "ensemble.nc was changed since it was written" in shown.stdout
    again = viewrace("reproduce", "--claims", "single-view,ensemble", "--scale", "smoke", *SMALL, "--out", "out", cwd=folder)
    assert "ensemble.nc was changed since it was written (checksum): computing it anew" in again.stdout
    assert again.stdout.count("reused, complete from an earlier run") == 1
    assert viewrace("show", "out", cwd=folder).stdout.count("changed since") == 0


def test_other_settings_do_not_overwrite(ran):
    folder, _ = ran
    refused = viewrace("reproduce", "--scale", "smoke", "--seed", "5", "--out", "out", cwd=folder)
    assert refused.returncode == 2
    assert "holds results of other settings" in refused.stderr


def test_show_prints_every_check(ran):
    folder, _ = ran
    shown = viewrace("show", "out", cwd=folder)
    assert shown.returncode == 0
    assert "accuracy on single-view examples" in shown.stdout


def test_claims_lists_statement_and_source():
    listed = viewrace("claims")
    assert listed.returncode == 0
    for name in ("single-view", "ensemble", "distillation", "self-distillation", "real-pixels", "finite-size"):
        assert name in listed.stdout
    assert "Theorem 2" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "data.classes=1"], "data.classes"),
        (["--set", "data.views=0"], "data.views"),
        (["--views", "0"], "views"),
        (["--set", "data.mu=1.5"], "data.mu"),
        (["--set", "data.p=0"], "data.p"),
        (["--set", "data.cosine_within=2"], "data.cosine_within"),
        (["--set", "data.patches=2"], "data.patches must be at least"),
        (["--set", "data.dim=10"], "data.dim must be at least classes x views = 30"),
        (["--set", "net.q=0"], "net.q"),
        (["--set", "net.family=conv"], "received 'conv': choose one of these; networks of images are trained by viewrace audit"),
        (["--set", "data.source=cifar10"], "received 'cifar10': choose one of these; other images are for viewrace audit"),
        (["--set", "distill.temperature=0"], "distill.temperature"),
        (["--set", "distill.alpha=1.5"], "distill.alpha"),
        (["--set", "net.widht=3"], "the nearest known one is net.width"),
        (["--set", "data.classes"], "--set takes key=value"),
        (["--set", "net.q=[1"], "not valid YAML"),
        (["--claims", "ensmble"], "did you mean ensemble?"),
        (["--claims", ","], "no claim was named"),
        (["--claims", "ensemble,all"], "all stands for every claim, received it beside others"),
        (["--claims", "ensmble", "--scale", "smoke"], "did you mean ensemble?"),
        (["--processes", "0"], "processes must be 1 or more, received 0"),
        (["--scale", "huge"], "scale must be one of smoke, quick, full"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--out", "/proc/nowhere/out"], "cannot write to"),
    ],
)
def test_bad_input_is_one_line_and_status_2(inside, tmp_path, arguments, words):
    status, error = inside("reproduce", *arguments)
    assert status == 2
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_input_shows_no_traceback_from_outside(tmp_path):
    done = viewrace("reproduce", "--set", "net.q=0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("text", "words"), [("data: [", "not valid YAML"), ("- 1\n", "must hold groups"), (None, "cannot read")])
def test_an_unreadable_config_is_one_line_and_status_2(inside, tmp_path, text, words):
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)
    status, error = inside("train", "c.yaml")
    assert status == 2
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["repro"], "No such command 'repro'"),
        (["reproduce", "--views", "three"], "Invalid value for '--views': Input should be a valid integer, unable"),
        (["reproduce", "--views", "three"], "as an integer, received 'three'; see viewrace --help"),
        (["reproduce", "--views", "3", "--set", "data.views=2"], "views was given twice"),
        (["train", "c.yaml", "--count", "0"], "count must be at least 1"),
        (["show", "nowhere"], "holds no results"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(inside, tmp_path, arguments, words):
    (tmp_path / "c.yaml").write_text("")
    status, error = inside(*arguments)
    assert status == 2
    assert words in error
    assert error.count("\n") == 1


def test_train_measures_and_show_reads_it_back(tmp_path):
    config = "data: {classes: 3, views: 2, layout: flat, p: 0.5, dim: 12, examples: 90, test_examples: 90, distractors: 0}\n"
    config += "net: {family: mlp, q: 1, hidden: [16], init: 1.0}\n"
    config += "train: {method: sgd, rate: 0.1, momentum: 0.9, batch: 30, steps: 2000}\n"
    (tmp_path / "mlp.yaml").write_text(config)
    done = viewrace("train", "mlp.yaml", "--count", "3", "--out", "out", "--weights", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "coverage, margin 0.1" in done.stdout
    assert list((tmp_path / "out" / "weights").glob("*.safetensors"))
    shown = viewrace("show", "out", cwd=tmp_path)
    assert "coverage, margin 0.1" in shown.stdout


@pytest.mark.parametrize(
    ("there", "words"),
    [((), "nothing was complete yet"), (("a.nc",), "what is complete is kept in"), ((".networks/a.safetensors",), "is kept in")],
)
def test_a_run_that_is_stopped_says_whether_anything_is_kept(inside, tmp_path, monkeypatch, there, words):
    def stop(*_):
        for name in there:
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("viewrace.study.train_networks", stop)
    (tmp_path / "c.yaml").write_text("")
    said = []
    monkeypatch.setattr("viewrace.cli.console.print", lambda text, **_: said.append(text))
    assert inside("train", "c.yaml", "--out", "out")[0] == 130
    assert words in said[-1]


def test_ctrl_c_says_how_to_go_on_and_the_next_run_goes_on(tmp_path):
    arguments = ["reproduce", "--claims", "ensemble,distillation", "--scale", "smoke", "--out", "out"]
    run = subprocess.Popen(
        [sys.executable, "-m", "viewrace", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell leaves it ignored
    )
    for _ in range(600):
        if (tmp_path / "out" / "ensemble.nc").exists():
            break
        time.sleep(0.1)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Run the same command again" in output
    assert "Traceback" not in output
    assert not list((tmp_path / "out").rglob("*.part"))
    assert not (tmp_path / "out" / "distillation.nc").exists()
    again = viewrace(*arguments, cwd=tmp_path)
    assert again.returncode == 0
    assert "ensemble: " in again.stdout
    assert "reused" in again.stdout
