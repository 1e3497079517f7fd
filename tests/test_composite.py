"""Composite images: every view shows a picture of the class from its own pool, and what is blank is blank."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from viewrace.data.composite import Composite, CompositeConfig, Composites
from viewrace.data.images import ImageSet, load_images
from viewrace.measure import composite_views, coverage, in_context_accuracy
from viewrace.train.members import MemberConfig, train_members

TRAIN, TEST = (load_images("digits", split) for split in ("train", "test"))
LAYOUTS = [pytest.param({}, id="channels"), pytest.param({"layout": "tiles"}, id="tiles")]


def composites(root: int = 0, **changes) -> Composites:
    return Composites(TRAIN, TEST, CompositeConfig(**({"views": 3, "examples": 400, "test_examples": 300} | changes)), root)


def place(images: Tensor, view: int) -> Tensor:
    """(.., 8, 8): where a view stands in images (.., channel, height, width), read off the layout by hand."""
    tiles = images.shape[-1] > 8
    return images[..., 0, :, 8 * view : 8 * view + 8] if tiles else images[..., view, :, :]


def view_of(drawn: Composite, view: int) -> Tensor:
    return place(drawn.images, view)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("turned", [False, True])
def test_every_view_shows_its_picture_of_the_class(layout, turned):
    made = composites(**layout, turned=turned, brightness=(0.4, 0.9), mu=0.3)
    for drawn, pool in ((made.train(), TRAIN), (made.test(), TEST), (made.test_single(), TEST)):
        for view in range(3):
            pictures = pool.images[drawn.picture[:, view], 0].numpy()
            shown = np.rot90(pictures, view, axes=(1, 2)) if turned else pictures
            expected = torch.from_numpy(shown.copy()) * drawn.factor[:, view, None, None]
            torch.testing.assert_close(view_of(drawn, view), expected, rtol=1e-6, atol=0)
        assert (pool.labels[drawn.picture] == drawn.labels[:, None]).all()
        assert drawn.as_images().classes == pool.classes


def test_views_are_drawn_each_by_itself_and_evenly():
    drawn = composites(examples=6000).train()
    assert torch.bincount(drawn.labels).tolist() == [600] * 10
    same = (drawn.picture[:, 0] == drawn.picture[:, 1]).float().mean()
    assert abs(float(same) - 1 / 120) < 5 * (1 / 120 / 6000) ** 0.5
    used = torch.bincount(drawn.picture.flatten(), minlength=len(TRAIN))
    assert used.min() > 0
    assert abs(float(used.float().var() / used.float().mean()) - 1) < 0.25


@pytest.mark.parametrize("mu", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weak", [0.0, 0.1])
def test_single_view_images_are_as_many_as_asked_for(mu, weak):
    drawn = composites(mu=mu, weak=weak, examples=5000).train()
    strong = drawn.factor == 1
    single = strong.sum(dim=1) == 1
    assert abs(float(single.float().mean()) - mu) <= 5 * (mu * (1 - mu) / 5000) ** 0.5
    assert (strong[~single]).all()
    assert (drawn.factor[single][~strong[single]] == weak).all()
    if mu == 1:
        share = strong.float().mean(dim=0)
        assert (share - 1 / 3).abs().max() < 5 * (2 / 9 / 5000) ** 0.5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blanked_and_only_are_each_others_rest(layout):
    drawn = composites(**layout).train()
    for view in range(3):
        only, rest = drawn.only(view), drawn.blanked(view)
        assert torch.equal(only.images + rest.images, drawn.images)
        assert torch.equal(view_of(only, view), view_of(drawn, view))
        assert not view_of(rest, view).any()
        assert (only.factor > 0).sum(dim=1).tolist() == [1] * len(drawn)
    assert torch.equal(drawn.blanked([0, 2]).images, drawn.only(1).images)
    assert not drawn.blanked([0, 1, 2]).images.any()
    assert torch.equal(drawn.only([0, 1, 2]).images, drawn.images)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_probes_show_one_view_of_unseen_pictures(layout):
    made = composites(**layout)
    probes = made.probes(20)
    known = {bytes(image[0]): label for image, label in zip(TEST.images.numpy(), TEST.labels.tolist(), strict=True)}
    for view in range(3):
        shown = [place(probes[:, view], other) for other in range(3)]
        assert [bool(pictures.any()) for pictures in shown] == [other == view for other in range(3)]
        for label, pictures in enumerate(shown[view].numpy()):
            assert [known[bytes(np.ascontiguousarray(picture))] for picture in pictures] == [label] * 20


def test_a_draw_is_its_root_seed_and_purpose():
    one, two, other = composites().train(), composites().train(), composites(root=1).train()
    assert torch.equal(one.images, two.images)
    assert not torch.equal(one.images, other.images)
    assert not torch.equal(composites().test().picture, composites(mu=1.0).test_single().picture)


class FirstView(nn.Module):
    """Looks at view 0 alone, by the nearest mean picture: a network that has learned one view."""

    def __init__(self):
        super().__init__()
        means = torch.stack([TRAIN.images[TRAIN.labels == label, 0].mean(dim=0) for label in range(10)])
        self.weight = nn.Parameter(means.flatten(1))
        self.drawn = nn.Parameter(torch.rand(1))

    def forward(self, images):
        seen = images[:, 0].flatten(1)
        nearness = seen @ self.weight.T - self.weight.square().sum(dim=1) / 2
        return nearness + seen.square().mean(dim=1, keepdim=True)


def test_coverage_finds_the_one_view_that_a_network_knows():
    made = composites(examples=20)
    config = MemberConfig(epochs=1, rate=1e-30, weight_decay=0, normalise=False)
    members = train_members(FirstView, made.train().as_images(), config, 1, 0)
    views = composite_views(members, made, probes=30)
    assert views.probes.shape == (1, 10, 3, 30, 10)
    assert coverage(views.probes[:, :, :1])[0] > 0.8
    assert coverage(views.probes[:, :, 1:])[0] == 0
    assert 0.25 < in_context_accuracy(views.single, views.labels)[0] < 0.45


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: composites(brightness=(0.5, 1.5)), "0 < low <= high <= 1, received (0.5, 1.5)"),
        (lambda: composites(views=9, turned=True), "can be turned in 8 ways, received 9 views"),
        (lambda: composites(mu=1.5), "mu should be less than or equal to 1, received 1.5"),
        (lambda: composites().train().only(3), "must lie in 0..2, received 3"),
        (lambda: composites().train().blanked([0, -1]), "must lie in 0..2, received -1"),
        (lambda: Composites(TRAIN, TEST.take(TEST.labels > 0), CompositeConfig(), 0), "received none of '0'"),
        (lambda: Composites(wide(TRAIN), wide(TEST), CompositeConfig(turned=True), 0), "must be square, received 8x4"),
    ],
)
def test_composites_that_cannot_be_are_refused(refusal, make, words):
    assert words in refusal(make)


def wide(data: ImageSet) -> ImageSet:
    return ImageSet(data.images[..., :4], data.labels, data.classes)
