"""Settings: what goes in comes out again, what cannot be is refused in one line, presets follow the data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewrace.config import Settings, load, parse_override, settings
from viewrace.presets import preset, resolve

fractions = st.floats(0.0, 1.0)
positives = st.floats(1e-6, 1e6)
intervals = st.tuples(st.floats(0, 2), st.floats(0, 2)).map(sorted).map(tuple)


@st.composite
def valid(draw) -> Settings:
    """Settings from all over the valid range: both layouts, scalars and one number a view, things that may be none."""
    classes, views = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    per_view = st.lists(st.floats(0.01, 1.0), min_size=views, max_size=views)
    return settings(
        {
            "data.layout": draw(st.sampled_from(["patches", "flat"])),
            "data.classes": classes,
            "data.views": views,
            "data.dim": draw(st.integers(classes * views, 40)),
            "data.patches": draw(st.integers(40, 60)),
            "data.mu": draw(fractions),
            "data.p": draw(st.one_of(st.floats(0.01, 1.0), per_view)),
            "data.strengths": draw(st.one_of(st.none(), per_view)),
            "data.amplitude": draw(intervals),
            "data.single_distractor_amplitude": draw(st.one_of(st.none(), intervals)),
            "data.noise": draw(st.floats(0, 10)),
            "data.cosine_within": draw(st.floats(-1, 0.99)),
            "net.family": draw(st.sampled_from(["patch", "mlp"])),
            "net.hidden": draw(st.lists(st.integers(1, 9), max_size=3)),
            "net.q": draw(st.integers(1, 6)),
            "net.rho": draw(positives),
            "train.time": draw(st.one_of(st.none(), positives)),
            "train.error": draw(positives),
            "distill.truncation": draw(st.one_of(st.none(), positives)),
            "self_distill.alpha": draw(fractions),
        }
    )


@pytest.fixture(scope="module")
def yaml_file(tmp_path_factory):
    return tmp_path_factory.mktemp("yaml") / "settings.yaml"


@given(original=valid())
def test_yaml_reads_back_to_equal_settings(yaml_file, original):
    yaml_file.write_text(original.to_yaml(), encoding="utf-8")
    again = load(yaml_file)
    assert again == original
    assert again.fingerprint() == original.fingerprint()


@given(first=valid(), second=valid())
def test_fingerprints_are_equal_where_settings_are(first, second):
    assert (first.fingerprint() == second.fingerprint()) == (first == second)


def test_what_a_file_leaves_out_keeps_its_default(tmp_path):
    path = tmp_path / "few.yaml"
    path.write_text("net:\n  q: 3\n", encoding="utf-8")
    assert load(path) == settings({"net.q": 3})
    path.write_text("", encoding="utf-8")
    assert load(path) == settings()


def test_dotted_and_nested_keys_are_one():
    assert settings({"net": {"q": 3, "width": 2}, "data.mu": 0.1}) == settings({"net.q": 3, "net.width": 2, "data": {"mu": 0.1}})


def test_a_change_leaves_the_original_and_is_checked_anew(refusal):
    original = settings()
    changed = original.replace(**{"net.q": 3, "data.classes": 5})
    assert (changed.net.q, changed.data.classes, changed.data.views) == (3, 5, original.data.views)
    assert original == settings()
    with pytest.raises(ValueError, match="frozen"):
        original.net.q = 3
    assert refusal(original.replace, **{"data.dim": 29}).startswith("data.dim must be at least classes x views = 30")


RULES = [
    ("data.classes", 1, "should be greater than or equal to 2"),
    ("data.views", 0, "should be greater than or equal to 1"),
    ("data.examples", 0, "should be greater than or equal to 1"),
    ("data.mu", 1.5, "should be less than or equal to 1"),
    ("data.mu", -0.1, "should be greater than or equal to 0"),
    ("data.p", 0.0, "must lie in [0.001, 1]"),
    ("data.p", 1.5, "must lie in [0.001, 1]"),
    ("data.p", (1.0, -0.5, 1.0), "must lie in [0.001, 1]"),
    ("data.p", (0.5, 0.5), "must have one number for each of the 3 views"),
    ("data.strengths", (1.0, 2.0), "must have one number for each of the 3 views"),
    ("data.strengths", (1.0, 2.0, 0.0), "should be greater than 0"),
    ("data.cosine_within", 1.0, "should be less than 1"),
    ("data.cosine_within", -1.1, "should be greater than or equal to -1"),
    ("data.cosine_between", 1.2, "should be less than 1"),
    ("data.amplitude", (1.5, 0.6), "must be a pair low, high with 0 <= low <= high"),
    ("data.distractor_amplitude", (-0.1, 0.6), "must be a pair low, high with 0 <= low <= high"),
    ("data.distractors", -1.0, "should be greater than or equal to 0"),
    ("data.distractors", 11, "must be at most classes = 10"),
    ("data.noise", float("inf"), "should be a finite number"),
    ("data.patches", 7, "must be at least patches_per_feature x (views + expected distracting views) = 8"),
    ("data.patches_per_feature", 2, "must be at least patches_per_feature x (views + expected distracting views) = 16"),
    ("data.dim", 29, "must be at least classes x views = 30"),
    ("data.source", "audio", "should be 'features' or 'digits'"),
    ("net.q", 0, "should be greater than or equal to 1"),
    ("net.q", 2.5, "should be a valid integer"),
    ("net.rho", 0.0, "should be greater than 0"),
    ("net.init", -1.0, "should be greater than 0"),
    ("net.width", 0, "should be greater than or equal to 1"),
    ("net.hidden", (4, 0), "should be greater than or equal to 1"),
    ("train.steps", 0, "should be greater than or equal to 1"),
    ("train.time", 0.0, "should be greater than 0"),
    ("train.momentum", 1.0, "should be less than 1"),
    ("train.method", "adam", "should be 'flow', 'gd' or 'sgd'"),
    ("distill.temperature", 0.0, "should be greater than 0"),
    ("distill.alpha", 1.1, "should be less than or equal to 1"),
    ("distill.alpha", -0.1, "should be greater than or equal to 0"),
    ("self_distill.temperature", -4.0, "should be greater than 0"),
    ("self_distill.alpha", 2.0, "should be less than or equal to 1"),
    ("self_distill.generations", 51, "should be less than or equal to 50"),
]
RECEIVED = {  # where the culprit is one number of several, their count, or another setting that the rule binds
    ("data.p", (1.0, -0.5, 1.0)): "-0.5",
    ("data.p", (0.5, 0.5)): "2",
    ("data.strengths", (1.0, 2.0)): "2",
    ("data.strengths", (1.0, 2.0, 0.0)): "0.0",
    ("data.p", 0.0): "0",
    ("net.hidden", (4, 0)): "0",
    ("data.patches_per_feature", 2): "9",
}


@pytest.mark.parametrize(("key", "value", "rule"), RULES)
def test_a_value_out_of_range_is_refused_with_the_setting_the_rule_and_the_value(refusal, key, value, rule):
    text = refusal(settings, {key: value})
    named = "data.patches" if key == "data.patches_per_feature" else key
    assert text.startswith(f"{named} {rule}")
    received = text.partition("received ")[2]
    expected = RECEIVED.get((key, value), repr(value))
    assert received == expected or received.startswith((f"{expected}: ", f"{expected},"))


def test_digits_bound_classes_and_dimensions(refusal):
    digits = {"data.source": "digits", "data.dim": 64}
    assert refusal(settings, digits | {"data.classes": 11}).startswith("data.classes must be at most 10 with source = digits")
    assert refusal(settings, digits | {"data.dim": 32}).startswith("data.dim must be 64 with source = digits")
    assert "cosine_within" in refusal(settings, digits | {"data.cosine_within": 0.1})


ALLOWED = [
    {"data.classes": 2},
    {"data.views": 1},
    {"data.mu": 0},
    {"data.mu": 1},
    {"data.p": 1},
    {"data.p": [0.5, 1.0, 0.1]},
    {"data.cosine_within": -1},
    {"data.patches": 8},
    {"data.dim": 30},
    {"data.distractors": 10, "data.patches": 30},
    {"data.layout": "flat", "data.patches": 1},
    {"data.source": "digits", "data.dim": 64},
    {"data.amplitude": [1.0, 1.0]},
    {"net.q": 1},
    {"net.hidden": []},
    {"distill.alpha": 0},
    {"distill.alpha": 1},
    {"self_distill.generations": 50},
]


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_the_ends_of_the_ranges_are_allowed(changes):
    flat = settings(changes).model_dump()
    for key, value in changes.items():
        group, name = key.split(".")
        assert flat[group][name] == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("data.clases", "data.classes"),
        ("data.view", "data.views"),
        ("net.widht", "net.width"),
        ("train.toleranc", "train.tolerance"),
        ("self_distill.temprature", "self_distill.temperature"),
        ("dataa", "data"),
    ],
)
def test_an_unknown_setting_is_told_the_nearest_known_one(refusal, wrong, near):
    assert refusal(settings, {wrong: 3}) == f"unknown setting {wrong}: the nearest known one is {near}"


def test_a_value_is_not_a_group_nor_a_group_a_value(refusal):
    assert refusal(settings, {"net.q": 3, "net.q.deep": 1}) == "unknown setting net.q.deep: q is a single value, not a group"
    text = refusal(settings, {"net": 3})
    assert text.startswith("net should be")
    assert "received 3" in text


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("net.q=3", "net.q", 3),
        ("data.p=[0.5, 1]", "data.p", [0.5, 1]),
        ("train.time=null", "train.time", None),
        (" net.q = 3", "net.q", 3),
        ("data.source=digits", "data.source", "digits"),
        ("a=b=c", "a", "b=c"),
        ("distill.one_sided=false", "distill.one_sided", False),
    ],
)
def test_an_override_is_a_key_and_a_yaml_value(text, key, value):
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("number", ["1e-3", "0.001", "1.0e-3"])
def test_numbers_may_be_written_as_programmers_do(number):
    key, value = parse_override(f"train.tolerance={number}")
    assert settings({key: value}).train.tolerance == pytest.approx(1e-3)


def test_what_is_no_override_is_refused(refusal):
    assert refusal(parse_override, "net.q").startswith("--set takes key=value, received 'net.q'")
    assert refusal(parse_override, "=3").startswith("--set takes key=value, received '=3'")
    assert refusal(parse_override, "data.p=[1").startswith("the value in --set data.p=[1 is not valid YAML")


def test_a_file_that_is_no_yaml_is_refused_with_the_place(tmp_path, refusal):
    path = tmp_path / "bad.yaml"
    path.write_text("data:\n  classes: [1\n", encoding="utf-8")
    assert refusal(load, path).startswith(f"{path} is not valid YAML at line 3, column 1")
    path.write_bytes(b"\xff\xfe\xfa")
    assert refusal(load, path).startswith(f"{path} is not valid YAML")


def test_a_key_that_is_there_twice_is_refused_with_the_place(tmp_path, refusal):
    path = tmp_path / "twice.yaml"
    path.write_text("net: {q: 3}\ndata: {mu: 0}\nnet: {init: 0.02}\n", encoding="utf-8")
    assert refusal(load, path).startswith(f"{path} is not valid YAML at line 3, column 1, net is there twice")
    path.write_text("net:\n  q: 3\n  q: 4\n", encoding="utf-8")
    assert "q is there twice" in refusal(load, path)


def test_a_file_that_holds_no_groups_is_refused(tmp_path, refusal):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n- 2\n", encoding="utf-8")
    assert refusal(load, path) == f"{path} must hold groups of settings (data:, net:, ...), received list"
    path.write_text("net:\n  - q\n", encoding="utf-8")
    assert refusal(load, path).startswith("net should be")


def test_a_file_that_cannot_be_read_is_refused(tmp_path, refusal):
    assert refusal(load, tmp_path / "none.yaml").startswith(f"cannot read {tmp_path / 'none.yaml'}: No such file")
    assert refusal(load, tmp_path).startswith(f"cannot read {tmp_path}: Is a directory")


@given(classes=st.integers(2, 15), views=st.integers(1, 6))
def test_the_preset_has_room_for_any_number_of_classes_and_views(classes, views):
    chosen = resolve({"data.classes": classes, "data.views": views})
    assert chosen == preset(views, classes)
    data = chosen.data
    assert (data.classes, data.views) == (classes, views)
    assert data.dim >= classes * views
    assert data.examples == 30 * classes
    assert data.patches == views + round(data.distractors / classes * (classes - 1) * views)


@given(classes=st.integers(2, 10), views=st.integers(1, 6))
def test_the_digits_preset_fits_digits(classes, views):
    data = resolve({"data.source": "digits", "data.classes": classes, "data.views": views}).data
    assert (data.source, data.classes, data.views, data.dim) == ("digits", classes, views, 64)
    assert data.distractors * views == pytest.approx(2.0)
    assert data.feature_noise == 0


def test_overrides_win_over_the_preset():
    chosen = resolve({"data.classes": 4, "data.examples": 17, "data.dim": 20, "net.q": 3}, views=2)
    assert (chosen.data.views, chosen.data.examples, chosen.data.dim, chosen.net.q) == (2, 17, 20, 3)
    assert resolve({"data.views": 4}, views=2).data.views == 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"data.classes": 1}, "data.classes should be greater than or equal to 2, received 1"),
        ({"data.views": 0}, "data.views should be greater than or equal to 1, received 0"),
        ({"data.classes": "ten"}, "data.classes should be a valid integer"),
        ({"data.source": "digits", "data.classes": 11}, "data.classes must be at most 10 with source = digits"),
        ({"data.nothing": 1}, "unknown setting data.nothing"),
    ],
)
def test_what_no_preset_fits_is_refused_by_the_settings(refusal, overrides, words):
    assert refusal(resolve, overrides).startswith(words)
