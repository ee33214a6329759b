"""A slide at a glance: in bands, by lanes, and without looking twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape.predict import tissue
from ushape.predict.slides import View, open_slide
from ushape.predict.slides import overview as module
from ushape.predict.slides.overview import coarse, in_bands, overview
from ushape.predict.strength import slide_strength
from ushape.predict.tissue import find_tissue
from ushape.threads import Lanes

Bytes = NDArray[np.uint8]
Picture = Callable[..., Bytes]
WriteTiff = Callable[..., Path]
AT = {"resolution": (10000, 10000), "resolutionunit": "CENTIMETER"}  # 1 µm


@pytest.fixture
def view(write_tiff: WriteTiff, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """611 x 890 px of one level, read in bands of a few rows."""
    monkeypatch.setattr(module, "_AT_ONCE", 8000)
    with open_slide(write_tiff("a.tif", [picture(611, 890)], **AT)) as slide:
        yield View(slide, 1.0)


@pytest.mark.parametrize("side", [100, 300, 880, 890, 2048])
def test_the_longer_side_is_as_asked_or_as_it_is(view: View, picture: Picture, side: int) -> None:
    made = overview(view, side)
    share = min(1.0, side / 890)
    assert made.shape == (round(611 * share), round(890 * share), 3)
    expected = Image.fromarray(picture(611, 890)).resize(made.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(made.astype(int) - expected).max() <= 1


def test_bands_are_the_view(view: View, picture: Picture) -> None:
    for multiple in (1, 4, 7):
        tops, bands = zip(*in_bands(view, None, multiple), strict=True)
        assert np.array_equal(np.concatenate(bands), picture(611, 890))
        assert all(top % multiple == 0 for top in tops)
        assert len(tops) > 20


def test_a_coarser_view_is_made_where_it_is_coarser(view: View) -> None:
    assert coarse(view, 0.5) is view
    assert coarse(view, 4.0).mpp == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize("kept", [2**24, 4000])
def test_after_a_look_for_tissue_the_slide_is_not_read_again(
    view: View, picture: Picture, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """`kept` bounds what is kept: with 4000 px a third of what was seen at 5 µm, 122 x 178 px."""
    monkeypatch.setattr(tissue, "_GLANCE", kept)
    find_tissue(view)
    assert view.glance is not None
    assert view.glance.shape == ((122, 178, 3) if kept > 4000 else (41, 60, 3))
    monkeypatch.setattr(View, "read", lambda *_: pytest.fail("it was read again"))
    made = overview(view, 60)
    assert made.shape == (41, 60, 3)
    expected = Image.fromarray(picture(611, 890)).resize((60, 41), Image.Resampling.BOX)
    assert np.abs(made.astype(int) - expected).mean() < 20


def test_lanes_see_the_same(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ushape.predict.strength.WHOLE", 0)
    alone = find_tissue(view)
    strength = slide_strength(view, alone)
    with Lanes(3) as lanes:
        other = View(view.slide, 1.0)
        assert np.array_equal(find_tissue(other, lanes=lanes).mask, alone.mask)
        assert np.array_equal(other.glance, view.glance)
        assert np.array_equal(slide_strength(other, alone, lanes=lanes), strength)
