"""Borders thinned to one pixel before segmentations are compared, so that a border's width does not count.

The challenge floods cells into the membranes between them, by a watershed on the thresholded map, until only lines
are left (Arganda-Carreras et al. 2015, doi 10.3389/fnana.2015.00142, section 2.4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ushape.reproduce.unet2015.borders import Bool, cells

Labels = NDArray[np.int32]


def thinned(interior: Bool) -> Labels:
    """Interiors [H, W] -> cells grown until they meet, int32 [H, W]; 0 on the line, one pixel wide, between them.

    A membrane pixel takes the cell of its labelled neighbours (by edges) where they agree, and stays border for ever
    where they do not. Pixels are taken as on a chessboard, white fields and black fields in turn: no two that are
    labelled at once are neighbours, so that cells never touch, whatever the width of the membrane between them.
    Without any cell everything is border.
    """
    height, width = interior.shape
    labels = np.zeros((height + 2, width + 2), np.int32)  # a frame of border: no neighbour needs a check
    labels[1:-1, 1:-1] = cells(interior)
    flat, steps = labels.ravel(), (-1, 1, -width - 2, width + 2)
    y, x = np.nonzero(~interior)
    at = (y + 1) * (width + 2) + x + 1
    fields = [at[(y + x) % 2 == colour] for colour in (0, 1)]
    idle, turn = 0, 0
    while idle < 2:  # neither colour has anything left to take
        mine = fields[turn]
        around = np.stack([flat[mine + step] for step in steps])  # [4, pixels]
        highest = around.max(0, initial=0)
        lowest = np.where(around > 0, around, highest).min(0, initial=np.iinfo(np.int32).max)
        reached = highest > 0
        agreed = reached & (lowest == highest)
        flat[mine[agreed]] = highest[agreed]
        fields[turn] = mine[~reached]  # what is reached by two cells is border, and done with
        idle = 0 if agreed.any() else idle + 1
        turn = 1 - turn
    return labels[1:-1, 1:-1]
