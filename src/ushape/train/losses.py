"""Cross-entropy, in several forms, and soft Dice that leave ignored pixels out exactly.

Scores at ignored pixels are replaced before anything is computed, so that neither the loss nor any gradient depends
on them, not even when they are infinite.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ushape.data.classes import IGNORE


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels int64 [N, H, W] -> float32 [N, classes, H, W]; ignored pixels are 0 in every class."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]).float()


def cross_entropy(log_probabilities: Tensor, truth: Tensor) -> Tensor:
    """Mean over counted pixels of -log p(truth): both [N, C, H, W], truth one-hot -> scalar; 0 if none counts."""
    return -(log_probabilities * truth).sum() / truth.sum().clamp(min=1)


def focal_cross_entropy(
    log_probabilities: Tensor, truth: Tensor, focal: float, smoothing: float, weights: Tensor | None
) -> Tensor:
    """Mean over counted pixels of w(truth) * sum over classes of q * (1 - p)^focal * -log p; 0 if none counts.

    log_probabilities and truth (one-hot) [N, C, H, W] -> scalar. q is 1 - smoothing for the truth plus smoothing / C
    for every class (label smoothing, Szegedy et al. 2016, arXiv:1512.00567, section 7); focal is gamma of the focal
    loss (Lin et al. 2017, arXiv:1708.02002, equation 4); weights [C], of the true class, or None for 1.
    """
    counted = truth.sum(1, keepdim=True)  # [N, 1, H, W], 0 where ignored
    aim = (1 - smoothing) * truth + smoothing / truth.shape[1] * counted
    each = -aim * log_probabilities
    if focal:
        # at p = 1 the gradient of (1 - p)^gamma with a gamma below 1 has no limit
        each = each * (1 - log_probabilities.exp()).clamp(min=1e-6) ** focal
    if weights is not None:
        each = each * (truth * weights[:, None, None]).sum(1, keepdim=True)
    return each.sum() / counted.sum().clamp(min=1)


def class_weights(counts: NDArray[np.int64], power: float) -> Tensor:
    """Weights in proportion to frequency^-power, of mean 1 over the pixels counted: pixels of each class -> [C].

    A class without a pixel has 0: no label is of it.
    """
    shares = counts / counts.sum()
    weights = np.where(shares > 0, np.where(shares > 0, shares, 1.0) ** -power, 0.0)
    return torch.from_numpy(weights / (shares * weights).sum()).float()


def prior_shift(natural: NDArray[np.float64], drawn: NDArray[np.float64], power: float) -> Tensor:
    """What is added to scores in training so that without it they suit the natural shares of the classes -> [C].

    power * log(drawn / natural), of shares of sum 1: logit adjustment (Menon et al. 2021, arXiv:2007.07314, equation
    10) for samples whose shares are changed on purpose. 0 for a class of which none was drawn; a class of less than
    1 / 10,000 counts as so much.
    """
    ratio = np.maximum(drawn, 1e-4) / np.maximum(natural, 1e-4)
    return torch.from_numpy(np.where(drawn > 0, power * np.log(ratio), 0.0)).float()


def soft_dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """1 - mean over classes of 2 sum(p t) / (sum(p) + sum(t)), sums over all crops given; scalar, 0 to 1.

    V-Net's Dice (Milletari et al. 2016, arXiv:1606.04797) without squares; both [N, C, H, W], truth one-hot.
    Classes without a counted pixel in them are left out; 0 if none counts.
    """
    counted = truth.sum(1, keepdim=True)  # [N, 1, H, W], 0 where ignored
    axes = (0, 2, 3)
    size = truth.sum(axes)  # [C]
    dice = 2 * (probabilities * truth).sum(axes) / ((probabilities * counted).sum(axes) + size).clamp(min=1e-6)
    present = (size > 0).to(dice.dtype)
    missing: Tensor = ((1 - dice) * present).sum() / present.sum().clamp(min=1)
    return missing


def segmentation_loss(
    scores: Tensor | list[Tensor],
    labels: Tensor,
    dice: float,
    focal: float = 0.0,
    smoothing: float = 0.0,
    weights: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """Cross-entropy + dice * soft Dice; several supervised levels weigh 1, 1/2, 1/4, ... (normalised).

    focal, smoothing and weights: see `focal_cross_entropy`; soft Dice knows nothing of them. shift [C] is added to
    scores before all else (see `prior_shift`).

    scores [N, C, H, W], or a list of them, finest first; labels int64 [N, H, W], class indices or IGNORE. Labels of
    a coarser level are every 2nd, 4th, ... label, from the middle of each cell.
    """
    levels = scores if isinstance(scores, list) else [scores]
    parts = [0.5**i for i in range(len(levels))]
    total = torch.zeros((), device=labels.device)
    for i, (part, each) in enumerate(zip(parts, levels, strict=True)):
        at = _coarser(labels, 2**i, each.shape[2:], IGNORE)
        truth = one_hot(at, each.shape[1])  # [N, C, H, W]
        shifted = each.float() if shift is None else each.float() + shift[:, None, None]
        log_p = F.log_softmax(torch.where((at != IGNORE)[:, None], shifted, 0.0), dim=1)
        if focal or smoothing or weights is not None:
            loss = focal_cross_entropy(log_p, truth, focal, smoothing, weights)
        else:
            loss = cross_entropy(log_p, truth)
        if dice:
            loss = loss + dice * soft_dice(log_p.exp(), truth)
        total = total + part / sum(parts) * loss
    return total


def distillation_loss(scores: Tensor | list[Tensor], taught: Tensor) -> Tensor:
    """Cross-entropy of scores to teachers' probabilities (Hinton et al. 2015, arXiv:1503.02531, at temperature 1).

    The mean over all pixels of -sum over classes of taught * log p, annotated or not: here a score counts where labels
    are IGNORE, too. scores [N, C, H, W], or a list as in `segmentation_loss`; taught [N, C, H, W] -> scalar.
    """
    levels = scores if isinstance(scores, list) else [scores]
    parts = [0.5**i for i in range(len(levels))]
    total = torch.zeros((), device=taught.device)
    for i, (part, each) in enumerate(zip(parts, levels, strict=True)):
        aim = _coarser(taught, 2**i, each.shape[2:], 0.0)
        inside = aim.sum(1, keepdim=True) > 0
        log_p = F.log_softmax(torch.where(inside, each.float(), 0.0), dim=1)
        total = total - part / sum(parts) * (aim * log_p).sum() / aim.sum()
    return total


def _coarser(maps: Tensor, step: int, size: torch.Size, beyond: float) -> Tensor:
    """Maps [..., H, W] at every `step`-th pixel, from the middle of each cell, [..., *size]; `beyond` the image."""
    if step == 1:
        return maps
    sampled = maps[..., step // 2 :: step, step // 2 :: step]
    below, beside = size[0] - sampled.shape[-2], size[1] - sampled.shape[-1]
    return F.pad(sampled, (0, beside, 0, below), value=beyond)
