"""The tissue mask: nothing that is tissue is missed, glass is, and an image that is all tissue stays whole."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ushape.data.phantom import phantom_roi
from ushape.data.rois import image_files
from ushape.data.stain import TISSUE_DENSITY, to_density
from ushape.data.texture import noise
from ushape.errors import DataError
from ushape.predict.slides import View, open_slide
from ushape.predict.tissue import REACH, Tissue, find_tissue, otsu, saturation

Bytes = NDArray[np.uint8]
Bool = NDArray[np.bool_]
GLASS = [(244, 243, 245), (255, 255, 255), (232, 226, 217)]  # of saturation .008, 0 and .065


@cache
def phantom(seed: int) -> Bytes:
    return phantom_roi(seed, seed, 400)[0]


def glass(height: int, width: int, colour: tuple[int, int, int], seed: int) -> Bytes:
    grain = np.random.default_rng(seed).normal(0, 1.5, (height, width, 3))
    return np.clip(np.array(colour) + grain, 0, 255).round().astype(np.uint8)


def slide_of(seed: int, colour: tuple[int, int, int], height: int = 800, width: int = 1001) -> tuple[Bytes, Bool]:
    """Pieces of tissue on glass at 1.2 µm, large, small and at the border, and where they are: RGB and bool [H, W]."""
    rng = np.random.default_rng(seed)
    rgb, there = glass(height, width, colour, seed), np.zeros((height, width), bool)
    for at in [(rng.integers(0, height - 400), rng.integers(0, width - 400)), (height - 300, -100)]:
        inside = noise(rng, (400, 400), 120) > -0.3
        rows, columns = (np.arange(start, start + 400) for start in at)
        seen = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        place = np.ix_(rows[seen[0]], columns[seen[1]])
        part = inside[np.ix_(*seen)]
        rgb[place] = np.where(part[..., None], phantom(seed % 3)[np.ix_(*seen)], rgb[place])
        there[place] |= part
    for _ in range(12):  # pieces 15 to 60 µm wide
        radius = int(rng.integers(6, 25))
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
        rows, columns = np.mgrid[
            max(0, y - radius) : min(height, y + radius), max(0, x - radius) : min(width, x + radius)
        ]
        part = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        texture = phantom(seed % 3)[rows - rows.min() + 170, columns - columns.min() + 170]
        rgb[rows[part], columns[part]] = texture[part]
        there[rows[part], columns[part]] = True
    return rgb, there & (to_density(rgb).sum(-1) > TISSUE_DENSITY)


def found(path: Path, rgb: Bytes, mpp: float = 1.2, threshold: float | None = None) -> tuple[Tissue, View]:
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(256, 256), compression="deflate")
    with open_slide(path, mpp) as slide:
        view = View(slide, mpp)
        return find_tissue(view, "auto", threshold), view


def covered(tissue: Tissue, height: int, width: int) -> Bool:
    """The mask at full size, bool [height, width]."""
    sides = zip((height, width), tissue.scale, strict=True)
    rows, columns = ((np.arange(length) / scale).astype(int) for length, scale in sides)
    return tissue.mask[rows][:, columns]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("colour", GLASS)
def test_no_tissue_is_lost_and_most_glass_is(tmp_path: Path, seed: int, colour: tuple[int, int, int]) -> None:
    rgb, there = slide_of(seed, colour)
    tissue, _ = found(tmp_path / "a.tif", rgb)
    mask = covered(tissue, *there.shape)
    assert there.mean() > 0.05
    # on yellow glass a speck of a few µm, paler than the glass, may be missed; elsewhere nothing
    assert (there & ~mask).sum() <= (1e-4 * there.sum() if colour == GLASS[2] else 0)
    assert mask.mean() < there.mean() + 0.45
    assert 0 < tissue.share < 0.8


def test_the_mask_keeps_a_distance_from_what_it_found(tmp_path: Path) -> None:
    rgb = glass(800, 800, GLASS[0], 0)
    rgb[300:500, 300:500] = (200, 120, 170)
    tissue, _ = found(tmp_path / "a.tif", rgb)
    mask = covered(tissue, 800, 800)
    reach = int(REACH / 1.2)
    assert mask[310 - reach : 490 + reach, 400].all()
    assert mask[400, 310 - reach : 490 + reach].all()
    assert mask.sum() < (200 + 2 * (reach + 14)) ** 2
    assert tissue.touches(400, 0, 1, 300)
    assert not tissue.touches(0, 0, 200, 800)
    assert not tissue.touches(-500, -500, 600, 600)
    assert not tissue.touches(-500, 400, 400, 1)


@pytest.mark.parametrize(("height", "width"), [(242, 200), (6000, 398), (398, 6000)])
def test_the_mask_reaches_every_border_of_a_slide(tmp_path: Path, height: int, width: int) -> None:
    """Its pixels are whole, and of an elongated slide stand for more of the view down than across, or for fewer."""
    rgb = np.full((height, width, 3), (200, 120, 170), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", tile=(256, 256), compression="deflate")
    with open_slide(tmp_path / "a.tif", 1.2) as slide:
        view = View(slide, 1.2)
        for tissue in (find_tissue(view, "all"), find_tissue(view, "auto")):
            assert all(tissue.touches(row, 0, 1, 1) for row in range(height))
            assert all(tissue.touches(0, column, 1, 1) for column in range(width))
            for rows, scale, length in zip(tissue.mask.shape, tissue.scale, (height, width), strict=True):
                assert length / scale == pytest.approx(rows, abs=1)


def test_a_coarse_view_has_a_coarse_mask(tmp_path: Path) -> None:
    rgb = glass(200, 300, GLASS[0], 0)
    rgb[50:100, 60:120] = (200, 120, 170)
    tissue, view = found(tmp_path / "a.tif", rgb, mpp=10.0)
    assert tissue.scale == (1, 1)
    assert tissue.mask.shape == (view.height, view.width) == (200, 300)
    assert tissue.mask[47:103, 60:120].all()
    assert tissue.mask.sum() < 57 * 67


@pytest.mark.parametrize("colour", [*GLASS, (0, 0, 0), (6, 2, 9)])
def test_a_blank_slide_has_no_tissue(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    tissue, _ = found(tmp_path / "a.tif", glass(300, 500, colour, 1))
    assert tissue.share == 0
    assert not tissue.touches(0, 0, 300, 500)


@pytest.mark.parametrize("seed", range(3))
def test_a_phantom_that_is_all_tissue_stays_whole(tmp_path: Path, seed: int) -> None:
    tissue, _ = found(tmp_path / "a.tif", phantom(seed))
    assert tissue.share == 1


def test_real_rois_are_all_tissue(real_data: Path) -> None:
    paths = image_files(real_data / "bcss-seed10" / "rgbs_colorNormalized").values()
    assert len(paths) == 10
    for path in paths:
        with open_slide(path) as slide:
            assert find_tissue(View(slide, 1.2)).share == 1, path


def test_real_tissue_on_glass_is_not_lost(real_data: Path, tmp_path: Path) -> None:
    for path in list(image_files(real_data / "bcss-seed10" / "rgbs_colorNormalized").values())[::4]:
        real = np.asarray(Image.open(path).convert("RGB"))[:500, :500]
        rgb = glass(1000, 1200, GLASS[2], 0)
        rows, columns = slice(203, 203 + real.shape[0]), slice(307, 307 + real.shape[1])
        rgb[rows, columns] = real
        tissue, _ = found(tmp_path / "a.tif", rgb)
        seen = np.zeros((1000, 1200), bool)
        seen[rows, columns] = to_density(real).sum(-1) > TISSUE_DENSITY
        assert (seen & ~covered(tissue, 1000, 1200)).sum() == 0, path
        assert tissue.share < 0.45, path


def test_all_takes_everything(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", glass(300, 500, GLASS[0], 0), photometric="rgb", tile=(256, 256))
    with open_slide(tmp_path / "a.tif", 1.2) as slide:
        tissue = find_tissue(View(slide, 1.2), "all")
    assert tissue.share == 1
    assert tissue.touches(299, 499, 1, 1)


def test_a_threshold_of_the_users_own(tmp_path: Path) -> None:
    rgb = glass(400, 400, GLASS[0], 0)
    rgb[100:200, 100:200] = (200, 150, 190)  # of saturation .25
    assert found(tmp_path / "a.tif", rgb, threshold=0.2)[0].touches(150, 150, 1, 1)
    assert found(tmp_path / "a.tif", rgb, threshold=0.3)[0].share == 0
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(DataError, match=f"--saturation {wrong:g}: give a saturation from 0 to 1"):
            found(tmp_path / "a.tif", rgb, threshold=wrong)


def broken(path: Path, page: int, tile: int) -> None:
    """Make a tile of a file one that cannot be decoded."""
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[page].dataoffsets[tile], tiff.pages[page].databytecounts[tile]
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes(count)
    path.write_bytes(data)


def test_what_cannot_be_decoded_at_low_resolution_counts_as_tissue(tmp_path: Path) -> None:
    rgb = glass(1024, 1024, GLASS[0], 0)
    path = tmp_path / "a_MPP-1.0000.tif"
    with tifffile.TiffWriter(path) as tiff:
        for image in (rgb, np.asarray(Image.fromarray(rgb).reduce(4))):
            tiff.write(image, photometric="rgb", tile=(64, 64), compression="deflate", metadata=None)
    broken(path, page=1, tile=5)  # row 1, column 1 of 4 x 4
    with open_slide(path) as slide:
        tissue = find_tissue(View(slide, 1.0))
        assert not find_tissue(View(slide, 4.0)).mask.any()  # white there, too
    mask = covered(tissue, 1024, 1024)
    assert mask[256:512, 256:512].all()
    assert mask.sum() == 270**2  # outwards, to whole pixels of the mask


def test_what_cannot_be_decoded_at_the_level_of_the_prediction_is_told_though_it_looks_like_glass(
    tmp_path: Path,
) -> None:
    """A slide of one level: what the survey could not read is read by nobody else."""
    path = tmp_path / "a_MPP-1.0000.tif"
    rgb = glass(512, 512, GLASS[0], 0)
    rgb[:, :256] = (150, 60, 120)
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(64, 64), compression="deflate")
    broken(path, page=0, tile=9)  # row 1, column 1 of 8 x 8
    with open_slide(path) as slide:
        view = View(slide, 1.0)
        find_tissue(view)
        assert view.broken == [(64, 64, 64, 64)]
        assert path.name in str(view.reason)


# ---- parts -------------------------------------------------------------------------------------------------


def test_saturation_is_that_of_hsv() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    expected = np.asarray(Image.fromarray(rgb).convert("HSV"))[..., 1] / 255
    bright = rgb.max(-1) > 26
    assert np.abs(saturation(rgb) - expected)[bright].max() < 0.005
    assert not saturation(rgb)[~bright].any()


@given(st.floats(0.05, 0.4), st.floats(0.55, 0.95), st.integers(50, 500), st.integers(50, 500))
def test_otsu_parts_two_groups(low: float, high: float, few: int, many: int) -> None:
    rng = np.random.default_rng(few)
    values = np.concatenate([rng.normal(low, 0.01, few), rng.normal(high, 0.01, many)]).astype(np.float32)
    assert values[:few].max() < otsu(values) < values[few:].min()


def test_otsu_is_the_best_of_all_thresholds() -> None:
    values = np.random.default_rng(0).beta(2, 5, 3000).astype(np.float32)

    def within(threshold: float) -> float:
        parts = values[values < threshold], values[values >= threshold]
        return sum(len(part) * float(part.var()) for part in parts if len(part))

    best = min(within(k / 256) for k in range(1, 256))
    assert within(otsu(values)) < best * 1.001
    assert otsu(np.full(50, 0.3, np.float32)) == 1
