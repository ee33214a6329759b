"""Training loss against depth, plain and residual: a panel for each folder of ROIs and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ushape.files import replacing
from ushape.reproduce.degradation import BLOCKS, DEPTHS, NORMS, Point

COLOURS = {"plain": "#e0762f", "residual": "#2f7fc1"}
WORDS = {"batch": "batch normalisation", "none": "no normalisation"}


def draw(points: Sequence[Point], path: Path) -> None:
    """Write the figure as SVG: a dot for each seed, a line through their means; a cross stands for a diverged run."""
    import matplotlib
    from matplotlib.figure import Figure

    folders = list(dict.fromkeys(p.data for p in points))
    with matplotlib.rc_context({"svg.hashsalt": "ushape", "font.size": 9, "axes.spines.top": False,
                                "axes.spines.right": False}):  # fmt: skip
        figure = Figure(figsize=(3.4 * len(NORMS), 2.7 * len(folders)), layout="constrained")
        panels = figure.subplots(len(folders), len(NORMS), squeeze=False, sharex=True, sharey="row")
        for row, folder in zip(panels, folders, strict=True):
            for axes, norm in zip(row, NORMS, strict=True):
                for k, block in enumerate(BLOCKS):
                    own = [p for p in points if (p.data, p.norm, p.block) == (folder, norm, block)]
                    means = [np.mean([v for v in p.losses if v is not None] or [np.nan]) for p in own]
                    axes.plot(range(len(own)), means, color=COLOURS[block], lw=1.6, label=block)
                    for x, point in enumerate(own):
                        known = [v for v in point.losses if v is not None]
                        shift = 0.06 * (2 * k - 1)
                        axes.plot([x + shift] * len(known), known, "o", ms=3.5, color=COLOURS[block], alpha=0.7)
                        if len(known) < len(point.losses):
                            axes.plot(x + shift, 0.97, "x", color=COLOURS[block], transform=axes.get_xaxis_transform())
                axes.set_title(f"{folder}, {WORDS[norm]}", fontsize=9, loc="left")
                axes.set_xticks(range(len(DEPTHS)), map(str, DEPTHS))
                axes.margins(y=0.1)
                axes.grid(axis="y", lw=0.5, color="#dddddd")
            row[0].set_ylabel("training loss at the end")
        for axes in panels[-1]:
            axes.set_xlabel("convolutions in each level")
        panels[0][0].legend(frameon=False)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
