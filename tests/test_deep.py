"""The deep claims: their images, their networks trained once, their arithmetic, and what they refuse."""

import numpy as np
import pytest
import torch
import xarray as xr

import viewrace
from viewrace.claims import Lab, Scale, find
from viewrace.claims import deep_networks as networks
from viewrace.claims.channel_views import CHANNELS, FRACTIONS, ChannelViews, _features, accuracy_of_heads, fitted_heads
from viewrace.claims.composite_nets import NORM, channels_net
from viewrace.claims.deep_data import deep_set, digit_pools, experiment_root, left_out
from viewrace.claims.deep_table import COLUMNS, columns_of, difference, share_kept, teachers_of
from viewrace.config import settings
from viewrace.nets.images import conv_net
from viewrace.nets.module import draw
from viewrace.presets import preset
from viewrace.report.figures import figures_of
from viewrace.streams import numpy_generator, torch_generator

NOWHERE = {"images.cifar10": "parquet:nowhere"}
DEEP = ("deep-ensemble", "deep-distillation", "deep-self-distillation")


@pytest.fixture
def generator():
    return numpy_generator(0, viewrace.streams.Stream.BOOTSTRAP)


@pytest.fixture
def bare():
    """Settings that name no CIFAR-10."""
    return preset()


def test_without_cifar_it_is_left_out_with_a_reason_and_where_it_was_named_refused(bare, refusal):
    assert "CIFAR-10 is left out" in left_out(bare)
    assert "no Parquet file at nowhere" in refusal(left_out, settings(NOWHERE))


def test_an_experiment_has_images_of_its_own_and_tests_on_none_that_it_trained_on():
    assert len({experiment_root(root, number) for root in range(20) for number in range(4)}) == 80
    (train, test), (other, _) = (digit_pools(experiment_root(3, number), 300) for number in range(2))
    assert (len(train), len(test)) == (300, 1497)
    assert not torch.equal(train.images, other.images)
    pools = [[bytes(image) for image in part.images.numpy()] for part in (train, test)]
    assert len(set(pools[0]) & set(pools[1])) == 0


def test_composite_test_images_show_one_view_each(bare):
    data = deep_set("composite", Scale.SMOKE, bare, 5)
    shown = data.test.images.flatten(2).amax(dim=2) > 0
    assert shown.sum(dim=1).tolist() == [1] * len(data.test)
    many = (data.train.images.flatten(2).amax(dim=2) > 0).sum(dim=1)
    assert 0.03 < float((many == 1).float().mean()) < 0.2


def test_networks_are_trained_once_for_all_claims_and_kept(bare, monkeypatch):
    monkeypatch.setitem(networks.MEMBERS, Scale.SMOKE, 2)
    kept: dict[str, dict[str, torch.Tensor]] = {}

    class Shelf:
        def get(self, key):
            return kept.get(key)

        def put(self, key, tensors):
            kept[key] = tensors

    calls = []
    real = networks.train_members
    monkeypatch.setattr(networks, "train_members", lambda *args, **how: calls.append(how["count"]) or real(*args, **how))
    first = networks.Experiment(Lab(bare, [0], shelf=Shelf()), "composite", Scale.SMOKE, 0, 0)
    first.data.__dict__["config"] = first.data.config.replace(epochs=1)
    scores = first.scores()
    assert calls == [2, 2, 2, 1, 1]
    again = networks.Experiment(Lab(bare, [0], shelf=Shelf()), "composite", Scale.SMOKE, 0, 0)
    found = again.scores()
    assert len(calls) == 5
    np.testing.assert_array_equal(scores["single"], found["single"])
    members, test = again.members(), again.data.test
    assert len(calls) == 5
    np.testing.assert_allclose(members.accuracy(test).numpy(), scores["single"], atol=1e-6)
    ensemble = (members.logits(test.images).mean(dim=0).argmax(dim=1) == test.labels).double().mean()
    assert float(ensemble) == pytest.approx(float(scores["ensemble"]))


def test_a_lab_makes_a_thing_once_with_and_without_a_shelf(bare):
    made = []
    lab = Lab(bare, [0])
    for _ in range(2):
        found = lab.kept("thing", lambda: made.append(1) or {"number": torch.ones(1)})
    assert made == [1]
    assert float(found["number"]) == 1


def table(**columns: float) -> xr.Dataset:
    """Two roots, two experiments, three networks, two students; each column's accuracy plus what an experiment adds."""
    extra = np.array([[0.0, 0.02], [-0.01, 0.01]])
    shapes = {"single": ("network", 3), "distilled": ("student", 2), "self_distilled": ("student", 2)}
    data = {}
    for column in COLUMNS:
        value = columns.get(column, 0.5) + extra
        if column in shapes:
            dim, count = shapes[column]
            spread = 0.01 * (np.arange(count) - (count - 1) / 2)
            data[column] = (("set", "root", "experiment", dim), (value[..., None] + spread)[None])
        else:
            data[column] = (("set", "root", "experiment"), value[None])
    data["outcome"] = (("set", "root", "experiment", "any"), np.zeros((1, 2, 2, 4), dtype=int))
    return xr.Dataset(data, coords={"set": ["digits"], "root": [0, 1]}, attrs={"left_out": ""})


def test_differences_are_paired_by_experiment_and_shares_are_of_the_means(generator):
    columns = columns_of(table(single=0.6, ensemble=0.64, distilled=0.63), "digits")
    gain = difference(columns["ensemble"], columns["single"], generator)
    assert (gain.value, gain.low, gain.high, gain.n) == pytest.approx((0.04, 0.04, 0.04, 4))
    assert share_kept(columns, generator).value == pytest.approx(0.75)
    nothing = columns_of(table(single=0.6, ensemble=0.6, distilled=0.63), "digits")
    assert np.isnan(share_kept(nothing, generator).value)
    uneven = columns | {"ensemble": columns["single"] + np.array([0.2, -0.01, 0.1, 0.1])}
    assert np.isnan(share_kept(uneven, generator).value)
    assert teachers_of(table(single=0.6), "digits").mean() == pytest.approx(0.605 - 0.005)


@pytest.mark.parametrize(
    ("claim", "columns", "verdict"),
    [
        ("deep-ensemble", {"single": 0.6, "ensemble": 0.65, "joint": 0.61}, "supported"),
        ("deep-ensemble", {"single": 0.6, "ensemble": 0.65, "joint": 0.66}, "refuted"),
        ("deep-ensemble", {"single": 0.66, "ensemble": 0.65, "joint": 0.61}, "refuted"),
        ("deep-distillation", {"single": 0.6, "ensemble": 0.65, "distilled": 0.64}, "supported"),
        ("deep-distillation", {"single": 0.6, "ensemble": 0.65, "distilled": 0.61}, "refuted"),
        ("deep-distillation", {"single": 0.6, "ensemble": 0.6, "distilled": 0.64}, "inconclusive"),
        ("deep-self-distillation", {"single": 0.6, "self_distilled": 0.6}, "supported"),
        ("deep-self-distillation", {"single": 0.6, "self_distilled": 0.59}, "refuted"),
    ],
)
def test_verdicts_follow_the_orderings(claim, columns, verdict):
    data = table(**columns)
    found = find(claim).judge(data)
    assert found.verdict == verdict
    judged = {"deep-ensemble": "ensemble", "deep-distillation": "distilled"}.get(claim, "self_distilled")
    others = 0.005 if judged == "self_distilled" else 0.0  # the two networks that teach, in place of all three
    assert found.checks[0].estimate == pytest.approx(columns[judged] - columns["single"] + others)
    assert found.curves["digits_estimate"][2] == pytest.approx(columns.get("ensemble", 0.5) + 0.005)
    assert len(figures_of(data, found.to_json())) == 1


def test_a_set_that_was_left_out_is_flagged():
    assert find("deep-ensemble").judge(table().assign_attrs(left_out="CIFAR-10 is left out")).flags == ("CIFAR-10 is left out",)


def test_heads_find_a_linear_rule_and_know_no_more_than_they_see():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    labels = (features[:, 0] > 0.3).long() + 2 * (features[:, 1] > 0).long()
    both = accuracy_of_heads(fitted_heads(features, labels, 4), features, labels)
    blind = accuracy_of_heads(fitted_heads(features[:, 2:], labels, 4), features[:, 2:], labels)
    assert both > 0.85
    assert blind < 0.45
    shifted = 5 + 3 * features
    assert accuracy_of_heads(fitted_heads(shifted, labels, 4), shifted, labels) == pytest.approx(both)


def test_features_are_the_channels_before_the_read_out(bare):
    lab = Lab(bare, [0])
    for name in ("digits", "composite"):
        experiment = networks.Experiment(lab, name, Scale.SMOKE, 0, 0)
        experiment.data.__dict__["config"] = experiment.data.config.replace(epochs=1)
        members = experiment.members()
        images = experiment.data.test.images[:20]
        found = _features(members, images)
        assert found.shape == (len(members), 20, CHANNELS)
        module = experiment.data.factory().eval()
        module.load_state_dict({key: tensor[1] for key, tensor in (members.weights | members.buffers).items()})
        inputs = (images - members.mean[:, None, None]) / members.deviation[:, None, None]
        torch.testing.assert_close(found[1], module.body(inputs).mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)


def test_a_read_out_of_every_place_tells_places_apart():
    net = conv_net(1, (8, 12), 3, width=2, average=False)().eval()
    assert net.head.in_features == 4 * 2 * 3
    image = torch.zeros(2, 1, 8, 12)
    image[0, 0, :4, :4] = 1.0
    image[1, 0, 4:, 8:] = 1.0
    assert not torch.allclose(*net(image))


def channels(half: float, before: float) -> xr.Dataset:
    values = np.empty((1, 2, 1, 2, len(FRACTIONS), 2))
    values[:, :, :, 0] = np.array([0.9, half, 0.7, 0.6])[:, None]
    values[:, :, :, 1] = np.array([before, 0.5, 0.4, 0.3])[:, None]
    values += 0.001 * np.arange(2)
    dims = ("set", "root", "experiment", "kind", "fraction", "network")
    coords = {"set": ["digits"], "root": [0, 1], "kind": ["trained", "untrained"], "fraction": list(FRACTIONS)}
    return xr.Dataset({"accuracy": (dims, values)}, coords=coords, attrs={"left_out": ""})


@pytest.mark.parametrize(("half", "before", "verdict"), [(0.88, 0.8, "supported"), (0.8, 0.7, "refuted"), (0.88, 0.9, "refuted")])
def test_half_of_the_channels_is_judged_against_all_and_against_no_training(half, before, verdict):
    found = ChannelViews().judge(channels(half, before))
    assert found.verdict == verdict
    assert len(figures_of(channels(half, before), found.to_json())) == 1


def test_a_blank_channel_says_nothing_and_the_others_add_up():
    factory = channels_net((3, 8, 8), 4, width=5, q=4, init=0.3, rho=1.0)
    net = draw(factory, [torch_generator(0, viewrace.streams.Stream.INIT)])[0]
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    alone = []
    for channel in range(3):
        only = torch.zeros_like(images)
        only[:, channel] = images[:, channel]
        alone.append(net(only))
    torch.testing.assert_close(sum(alone), net(images), rtol=1e-5, atol=1e-6)
    assert not net(torch.zeros(1, 3, 8, 8)).any()
    seen = images[0, 1].flatten()
    response = net.weight[1].detach() @ ((seen - seen.mean()) / NORM)
    z = response.clamp(min=0).unflatten(0, (4, 5))
    expected = torch.where(z <= 1, z**4 / 4, z - 0.75).sum(dim=1)
    torch.testing.assert_close(alone[1][0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_deep_claims_at_smoke_scale_train_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = viewrace.reproduce([*DEEP, "channel-views"], scale="smoke", out=tmp_path / "results")
    first, *others = study.verdicts
    assert all("CIFAR-10 is left out" in flag for verdict in study.verdicts for flag in verdict.flags)
    assert sum(verdict.seconds for verdict in others[:2]) < first.seconds / 5
    gains = [check for check in study["deep-ensemble"].checks if "one network" in check.name]
    assert all(check.estimate > 0 for check in gains)
    half, over = study["channel-views"].checks
    assert half.estimate < 0.1
    assert over.verdict == "supported"


@pytest.mark.slow
def test_composite_coverage_at_smoke_scale_tells_the_race_from_its_absence():
    verdict = viewrace.reproduce(["composite-coverage"], scale="smoke")["composite-coverage"]
    one, gain, *_, relu, nothing = verdict.checks
    assert one.verdict == gain.verdict == "supported"
    assert relu.estimate > one.estimate + 0.2
    assert nothing.estimate < gain.estimate / 3
