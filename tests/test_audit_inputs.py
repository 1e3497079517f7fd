"""What an audit reads: logits and labels from files, and what is unfit is refused in one line."""

import numpy as np
import pytest

from known_members import views
from viewrace.auditing import audit_logits, read_logits

LOGITS, LABELS = views(examples=60)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (LOGITS[0], LABELS, "must be floats (member, example, class)"),
        (LOGITS.astype(int), LABELS, "must be floats"),
        (LOGITS[:1], LABELS, "needs 2 members and 2 classes or more, received 1 and 5"),
        (LOGITS, LABELS[:-1], "one for each of the 60 examples"),
        (LOGITS, LABELS.astype(float), "labels must be integers"),
        (LOGITS[:, :20], LABELS[:20], "needs 40 test examples or more, received 20"),
        (LOGITS[:, :0], LABELS[:0], "needs 40 test examples or more, received 0"),
        (np.where(np.arange(60)[:, None] == 7, np.nan, LOGITS), LABELS, "received nan (member 0, example 7 is the first of 30)"),
        (LOGITS, LABELS + 1, "labels must lie in 0..4, one of the 5 logits, received 1..5"),
        (LOGITS, LABELS - 1, "received -1..3"),
        (LOGITS, np.where(LABELS == 3, 0, LABELS), "received none of class 3 (1 of 5 missing)"),
    ],
)
def test_unfit_logits_are_refused_in_one_line(refusal, logits, labels, words):
    assert words in refusal(audit_logits, logits, labels)


def test_an_unknown_rule_is_refused(refusal):
    assert "average must be one of logits, probabilities" in refusal(audit_logits, LOGITS, LABELS, average="votes")


def test_logits_are_read_from_both_kinds_and_joined(tmp_path):
    from safetensors.numpy import save_file

    np.savez(tmp_path / "a.npz", logits=LOGITS[:2], labels=LABELS)
    save_file({"logits": LOGITS[2]}, tmp_path / "b.safetensors")
    logits, labels = read_logits([tmp_path / "a.npz", tmp_path / "b.safetensors"])
    assert np.array_equal(logits, LOGITS[:3])
    assert np.array_equal(labels, LABELS)


def test_files_that_do_not_fit_are_refused(tmp_path, refusal):
    def file(name: str, **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    good = file("good.npz", logits=LOGITS, labels=LABELS)
    assert "received (60, 5) in" in (words := refusal(read_logits, [good, file("short.npz", logits=LOGITS[:, :50])]))
    assert "(50, 5)" in words
    assert "labels must be the same" in refusal(read_logits, [good, file("o.npz", logits=LOGITS, labels=LABELS[::-1])])
    assert "must hold an array named logits, found x" in refusal(read_logits, [file("x.npz", x=LABELS)])
    assert "an array named labels" in refusal(read_logits, [file("n.npz", logits=LOGITS)])
    assert "there is no file" in refusal(read_logits, [tmp_path / "gone.npz"])
    assert "are read from .npz or .safetensors files" in refusal(read_logits, [tmp_path / "members.pkl"])
    (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:200])
    assert "is damaged" in refusal(read_logits, [tmp_path / "cut.npz"])


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_pickles_are_never_executed(tmp_path, refusal):
    np.savez(tmp_path / "trap.npz", logits=np.array([_Trap()], dtype=object), labels=LABELS)
    assert "holds pickled objects" in refusal(read_logits, [tmp_path / "trap.npz"])


def test_probabilities_in_place_of_logits_are_flagged():
    said = np.random.default_rng(0).dirichlet(np.ones(5), size=(4, 60))
    labels = np.arange(60) % 5
    assert any("as probabilities do" in flag for flag in audit_logits(said, labels).flags)
    for logits in (np.log(said), said + 0.01, said - said.mean(axis=2, keepdims=True)):
        assert not any("as probabilities do" in flag for flag in audit_logits(logits, labels).flags)
