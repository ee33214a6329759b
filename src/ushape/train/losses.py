"""Cross-entropy and soft Dice that leave ignored pixels out exactly.

Scores at ignored pixels are replaced before anything is computed, so that neither the loss nor any gradient depends
on them, not even when they are infinite.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ushape.data.classes import IGNORE


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels int64 [N, H, W] -> float32 [N, classes, H, W]; ignored pixels are 0 in every class."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]).float()


def cross_entropy(log_probabilities: Tensor, truth: Tensor) -> Tensor:
    """Mean over counted pixels of -log p(truth): both [N, C, H, W], truth one-hot -> scalar; 0 if none counts."""
    return -(log_probabilities * truth).sum() / truth.sum().clamp(min=1)


def soft_dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """1 - mean over classes of 2 sum(p t) / (sum(p) + sum(t)), sums over the whole batch; scalar, 0 to 1.

    V-Net's Dice (Milletari et al. 2016, arXiv:1606.04797) without squares; both [N, C, H, W], truth one-hot.
    Classes without a counted pixel in the batch are left out; 0 if none counts.
    """
    counted = truth.sum(1, keepdim=True)  # [N, 1, H, W], 0 where ignored
    axes = (0, 2, 3)
    size = truth.sum(axes)  # [C]
    dice = 2 * (probabilities * truth).sum(axes) / ((probabilities * counted).sum(axes) + size).clamp(min=1e-6)
    present = (size > 0).to(dice.dtype)
    missing: Tensor = ((1 - dice) * present).sum() / present.sum().clamp(min=1)
    return missing


def segmentation_loss(scores: Tensor | list[Tensor], labels: Tensor, dice: float) -> Tensor:
    """Cross-entropy + dice * soft Dice; several supervised levels weigh 1, 1/2, 1/4, ... (normalised).

    scores [N, C, H, W], or a list of them, finest first; labels int64 [N, H, W], class indices or IGNORE. Labels of
    a coarser level are every 2nd, 4th, ... label, from the middle of each cell.
    """
    levels = scores if isinstance(scores, list) else [scores]
    weights = [0.5**i for i in range(len(levels))]
    total = torch.zeros((), device=labels.device)
    for i, (weight, each) in enumerate(zip(weights, levels, strict=True)):
        at = _coarser(labels, 2**i, each.shape[2:])
        truth = one_hot(at, each.shape[1])  # [N, C, H, W]
        log_p = F.log_softmax(torch.where((at != IGNORE)[:, None], each.float(), 0.0), dim=1)
        loss = cross_entropy(log_p, truth)
        if dice:
            loss = loss + dice * soft_dice(log_p.exp(), truth)
        total = total + weight / sum(weights) * loss
    return total


def _coarser(labels: Tensor, step: int, size: torch.Size) -> Tensor:
    """Labels [N, H, W] at every `step`-th pixel, from the middle of each cell, [N, *size]; IGNORE beyond the image."""
    if step == 1:
        return labels
    sampled = labels[:, step // 2 :: step, step // 2 :: step]
    below, beside = size[0] - sampled.shape[1], size[1] - sampled.shape[2]
    return F.pad(sampled, (0, beside, 0, below), value=IGNORE)
