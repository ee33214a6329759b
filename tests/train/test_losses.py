"""Losses: ignored pixels are not there, and what is there is computed as the formulas say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ushape.data.classes import IGNORE
from ushape.train.losses import class_weights, cross_entropy, one_hot, prior_shift, segmentation_loss, soft_dice

CLASSES = 4
BAD = st.sampled_from([math.inf, -math.inf, math.nan, 1e30, -7.0])


def batch(seed: int, size: int = 8, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    """Random scores [2, CLASSES, S, S] and labels [2, S, S] of which a share is ignored."""
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, CLASSES, size, size, generator=random)
    labels = torch.randint(CLASSES, (2, size, size), generator=random)
    labels[torch.rand(labels.shape, generator=random) < ignored] = IGNORE
    return scores, labels


def pyramid(seed: int, size: int = 8, levels: int = 3) -> list[Tensor]:
    return [batch(seed + i, size // 2**i)[0] for i in range(levels)]


FORMS = [
    (0.0, 0.0, None),
    (2.0, 0.0, None),
    (0.5, 0.1, None),
    (0.0, 0.3, [0.5, 1.0, 2.0, 0.1]),
    (1.0, 0.2, [3, 1, 1, 1]),
]


def form(number: int) -> tuple[float, float, Tensor | None]:
    """focal, smoothing and weights of one of the losses tried."""
    focal, smoothing, weights = FORMS[number]
    return focal, smoothing, None if weights is None else torch.tensor(weights).float()


def loss_and_gradients(scores: list[Tensor], labels: Tensor, dice: float, *more: object) -> tuple[Tensor, list[Tensor]]:
    leaves = [s.clone().requires_grad_() for s in scores]
    loss = segmentation_loss(leaves if len(leaves) > 1 else leaves[0], labels, dice, *more)
    loss.backward()
    return loss.detach(), [leaf.grad for leaf in leaves if leaf.grad is not None]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), bad=BAD, dice=st.sampled_from([0.0, 1.0, 0.3]), levels=st.integers(1, 3),
       share=st.sampled_from([0.1, 0.5, 0.95, 1.0]), which=st.integers(0, len(FORMS) - 1))  # fmt: skip
def test_scores_at_ignored_pixels_change_nothing_and_get_no_gradient(seed, bad, dice, levels, share, which):
    labels = batch(seed, ignored=share)[1]
    scores = pyramid(seed, levels=levels)
    changed = [s.clone() for s in scores]
    masks = [(labels if i == 0 else labels[:, 2**i // 2 :: 2**i, 2**i // 2 :: 2**i]) == IGNORE for i in range(levels)]
    for each, mask in zip(changed, masks, strict=True):
        each.movedim(1, -1)[mask] = bad
    loss, gradients = loss_and_gradients(scores, labels, dice, *form(which))
    other, other_gradients = loss_and_gradients(changed, labels, dice, *form(which))
    assert torch.equal(loss, other)
    assert torch.isfinite(loss)
    for one, two, mask in zip(gradients, other_gradients, masks, strict=True):
        assert torch.equal(one, two)
        assert (two.movedim(1, -1)[mask] == 0).all()
        assert (one.movedim(1, -1)[~mask] != 0).any() == bool((~mask).any())


def test_changing_a_counted_score_changes_the_loss():
    scores, labels = batch(0)
    changed = scores.clone()
    n, y, x = (int(v) for v in (labels != IGNORE).nonzero()[0])
    changed[n, 0, y, x] += 1
    assert segmentation_loss(scores, labels, 1.0) != segmentation_loss(changed, labels, 1.0)


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("which", range(len(FORMS)))
def test_all_ignored_is_a_loss_of_zero_with_zero_gradients(levels: int, which: int):
    labels = torch.full((2, 8, 8), IGNORE)
    loss, gradients = loss_and_gradients(pyramid(0, levels=levels), labels, 1.0, *form(which))
    assert loss == 0
    assert all((g == 0).all() for g in gradients)


def test_cross_entropy_is_torchs_with_ignore_index():
    scores, labels = batch(3)
    ours = segmentation_loss(scores, labels, 0.0)
    torch.testing.assert_close(ours, F.cross_entropy(scores, labels, ignore_index=IGNORE))


def test_half_precision_scores_are_computed_in_single_precision():
    scores, labels = batch(4)
    half = segmentation_loss(scores.bfloat16(), labels, 1.0)
    assert half.dtype == torch.float32
    assert torch.equal(half, segmentation_loss(scores.bfloat16().float(), labels, 1.0))


def test_dice_of_a_hand_example():
    # two pixels of class 0 and one of class 1 count, the fourth does not; class 2 has no pixel
    labels = torch.tensor([[[0, 0], [1, IGNORE]]])
    p = torch.tensor([[[[0.5, 1.0], [0.25, 0.9]], [[0.25, 0.0], [0.5, 0.1]], [[0.25, 0.0], [0.25, 0.0]]]])
    first = 2 * (0.5 + 1.0) / ((0.5 + 1.0 + 0.25) + 2)
    second = 2 * 0.5 / ((0.25 + 0.0 + 0.5) + 1)
    torch.testing.assert_close(soft_dice(p, one_hot(labels, 3)), torch.tensor(1 - (first + second) / 2))


def test_classes_without_a_counted_pixel_are_left_out_of_dice():
    scores, labels = batch(5)
    labels[labels == 2] = IGNORE
    p = scores.softmax(1)
    truth = one_hot(labels, CLASSES)
    kept = [0, 1, 3]
    torch.testing.assert_close(soft_dice(p, truth), soft_dice(p[:, kept], truth[:, kept]))
    assert soft_dice(truth, truth) == 0


def test_dice_sums_over_the_batch_and_not_over_images():
    scores, labels = batch(6)
    p, truth = scores.softmax(1), one_hot(labels, CLASSES)
    side_by_side = soft_dice(torch.cat([*p[:, None]], dim=3), torch.cat([*truth[:, None]], dim=3))
    torch.testing.assert_close(soft_dice(p, truth), side_by_side)


def test_dice_is_weighted():
    scores, labels = batch(7)
    alone = segmentation_loss(scores, labels, 0.0)
    dice = soft_dice(scores.softmax(1), one_hot(labels, CLASSES) * 1.0)
    torch.testing.assert_close(segmentation_loss(scores, labels, 2.5), alone + 2.5 * dice)


def test_perfect_scores_have_nearly_no_loss():
    labels = batch(8)[1]
    assert segmentation_loss(one_hot(labels, CLASSES) * 50, labels, 1.0) < 1e-4


def test_one_hot_has_nothing_where_ignored():
    truth = one_hot(torch.tensor([[[1, IGNORE]]]), 3)
    assert truth.tolist() == [[[[0, 0]], [[1, 0]], [[0, 0]]]]


def test_cross_entropy_of_a_hand_example():
    log_p = torch.tensor([[[[0.5, 0.25]], [[0.5, 0.75]]]]).log()
    truth = one_hot(torch.tensor([[[0, 1]]]), 2)
    torch.testing.assert_close(cross_entropy(log_p, truth), torch.tensor(-(math.log(0.5) + math.log(0.75)) / 2))


def test_supervised_levels_weigh_half_of_the_finer_one():
    labels = batch(9)[1]
    scores = pyramid(9)
    at = [labels, labels[:, 1::2, 1::2], labels[:, 2::4, 2::4]]
    each = [segmentation_loss(s, a, 1.0) for s, a in zip(scores, at, strict=True)]
    expected = (each[0] + each[1] / 2 + each[2] / 4) / 1.75
    torch.testing.assert_close(segmentation_loss(scores, labels, 1.0), expected)


def test_one_level_in_a_list_is_the_level_alone():
    scores, labels = batch(10)
    assert torch.equal(segmentation_loss([scores], labels, 1.0), segmentation_loss(scores, labels, 1.0))


def test_coarse_scores_beyond_the_image_count_nowhere():
    # an image of 6 x 6 is padded to 8 x 8 inside a three-level network: coarser scores cover the padding
    labels = batch(11)[1][:, :6, :6]
    scores = [batch(11)[0][:, :, :6, :6], *pyramid(12)[1:]]
    loss, gradients = loss_and_gradients(scores, labels, 1.0)
    for coarse, inside in ((gradients[1], 3), (gradients[2], 1)):
        assert (coarse[:, :, inside:] == 0).all()
        assert (coarse[:, :, :, inside:] == 0).all()
    changed = [s.clone() for s in scores]
    changed[1][:, :, 3:] = math.nan
    changed[2][:, :, :, 1:] = math.inf
    assert torch.equal(loss, segmentation_loss(changed, labels, 1.0))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), focal=st.sampled_from([0.0, 0.5, 2.0]), smoothing=st.sampled_from([0.0, 0.1, 0.5]),
       weights=st.none() | st.lists(st.floats(0, 5), min_size=CLASSES, max_size=CLASSES))  # fmt: skip
def test_focal_loss_smoothing_and_weights_are_what_their_formulas_say(seed, focal, smoothing, weights):
    scores, labels = batch(seed)
    ours = segmentation_loss(scores, labels, 0.0, focal, smoothing, None if weights is None else torch.tensor(weights))
    total, counted = 0.0, 0
    for column, label in zip(scores.movedim(1, -1).reshape(-1, CLASSES).double().numpy(), labels.ravel().tolist(),
                             strict=True):  # fmt: skip
        if label == IGNORE:
            continue
        p = np.exp(column) / np.exp(column).sum()
        aim = np.full(CLASSES, smoothing / CLASSES)
        aim[label] += 1 - smoothing
        total += (1.0 if weights is None else weights[label]) * -(aim * (1 - p) ** focal * np.log(p)).sum()
        counted += 1
    assert float(ours) == pytest.approx(total / counted, rel=1e-4, abs=1e-6)


def test_smoothing_is_torchs():
    scores, labels = batch(13)
    theirs = F.cross_entropy(scores, labels, ignore_index=IGNORE, label_smoothing=0.2)
    torch.testing.assert_close(segmentation_loss(scores, labels, 0.0, 0.0, 0.2), theirs)


def test_a_certain_score_has_a_finite_focal_gradient():
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    scores = torch.zeros(1, CLASSES, 2, 2)
    scores[:, 0] = 200.0
    loss, (gradient,) = loss_and_gradients([scores], labels, 0.0, 0.5)
    assert loss == 0
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_class_weights_have_mean_one_over_the_pixels(power: float):
    counts = np.array([800, 150, 0, 50])
    weights = class_weights(counts, power).numpy()
    assert (counts * weights).sum() / counts.sum() == pytest.approx(1)
    assert weights[2] == 0
    assert weights[3] / weights[0] == pytest.approx(16**power)


def test_with_a_shift_the_lowest_cross_entropy_is_that_of_natural_shares():
    """Pixels that look all alike, half of a class drawn four times as often as it occurs: what is learnt is 1 / 5."""
    natural, drawn = np.array([0.8, 0.2, 0.0]), np.array([0.5, 0.5, 0.0])
    shift = prior_shift(natural, drawn, 1.0)
    scores = torch.zeros(1, 3, 1, 1, requires_grad=True)
    labels = torch.tensor([[[0, 1]]])
    for _ in range(800):
        (gradient,) = torch.autograd.grad(
            segmentation_loss(scores.expand(1, 3, 1, 2), labels, 0.0, shift=shift), scores
        )
        with torch.no_grad():
            scores -= gradient
    learnt = scores.detach().softmax(1)[0, :2, 0, 0].numpy()
    assert learnt == pytest.approx([0.8, 0.2], abs=0.01)


def test_the_shift_of_a_class_that_is_never_drawn_is_none():
    shift = prior_shift(np.array([1.0, 0.0, 0.0]), np.array([0.9, 0.1, 0.0]), 0.5)
    assert shift[2] == 0
    assert shift[1] == pytest.approx(0.5 * np.log(1000))
    assert not prior_shift(np.array([0.7, 0.3]), np.array([0.5, 0.5]), 0.0).any()
