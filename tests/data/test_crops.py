"""Crops: a pure function of seed, step and place; labels that belong to their pixels; classes in balance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ushape.data.augment import CropSettings, jitter_sharpness
from ushape.data.classes import IGNORE, grouping
from ushape.data.crops import Crops
from ushape.data.rois import Pixels
from ushape.errors import DataError

FIVE = grouping("bcss-5")
PLAIN = CropSettings(size=32, balanced=0.5, stain=0.0)
MakePixels = Callable[..., Pixels]


def coded(
    make_pixels: MakePixels, name: str = "TCGA-A1-0001", seed: int = 0, height: int = 96, width: int = 128
) -> Pixels:
    """A ROI whose image tells of each pixel its code (times 10), its row and its column."""
    codes = np.random.default_rng(seed).integers(0, 22, (height, width), np.uint8)
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return make_pixels(codes, name, np.stack([codes * 10, y, x], -1))


def read(light: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """What a crop of `coded` tells: codes, rows, columns."""
    told = np.rint(light * 255).astype(np.int64)
    return (told[..., 0] // 10).astype(np.uint8), told[..., 1], told[..., 2]


def two_classes(make_pixels: MakePixels, name: str = "TCGA-A1-0001", rare: int = 8) -> Pixels:
    """Stroma, with a square of necrosis of `rare` px in a corner."""
    codes = np.full((160, 160), 2, np.uint8)
    codes[:rare, :rare] = 4
    return make_pixels(codes, name)


# ---- one crop ----------------------------------------------------------------------------------------------


def test_a_crop_is_light_and_labels_of_the_size_asked_for(make_pixels: MakePixels) -> None:
    light, labels = Crops([coded(make_pixels)], FIVE, PLAIN, 0).draw(0, 0)
    assert (light.shape, light.dtype) == ((32, 32, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((32, 32), np.int64)
    assert light.min() >= 0
    assert light.max() <= 1


@pytest.mark.parametrize("balanced", [0.0, 1.0])
def test_labels_are_flipped_and_turned_with_their_pixels(make_pixels: MakePixels, balanced: float) -> None:
    rois = [coded(make_pixels, f"TCGA-A1-{i:04}", i) for i in range(2)]
    crops = Crops(rois, FIVE, CropSettings(32, balanced, 0.0), 1)
    for step in range(40):
        light, labels = crops.draw(step, 0)
        assert np.array_equal(FIVE.labels(read(light)[0]), labels)


def test_a_crop_is_a_square_of_one_roi_in_all_eight_positions(make_pixels: MakePixels) -> None:
    roi = coded(make_pixels)
    crops = Crops([roi], FIVE, PLAIN, 2)
    positions = set()
    for step in range(120):
        codes, y, x = read(crops.draw(step, 0)[0])
        assert np.array_equal(codes, roi.codes[y, x])
        assert (np.ptp(y), np.ptp(x)) == (31, 31)
        positions.add((y[1, 0] - y[0, 0], x[1, 0] - x[0, 0], y[0, 1] - y[0, 0], x[0, 1] - x[0, 0]))
    assert len(positions) == 8


def test_stain_jitter_changes_the_light_but_neither_the_place_nor_the_labels(make_pixels: MakePixels) -> None:
    rgb = np.random.default_rng(0).integers(40, 250, (96, 128, 3), np.uint8)
    roi = make_pixels(coded(make_pixels).codes, image=rgb)
    crops = [Crops([roi], FIVE, CropSettings(32, 0.5, stain), 0) for stain in (0.0, 0.2)]
    change = []
    for step in range(20):
        (plain, labels), (jittered, same) = (c.draw(step, 3) for c in crops)
        assert np.array_equal(labels, same)
        assert np.corrcoef(plain.ravel(), jittered.ravel())[0, 1] > 0.9
        assert jittered.max() <= 1
        change.append(np.abs(plain - jittered).mean())
    assert np.mean(change) > 0.01


# ---- a pure function ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stain", [0.0, 0.2])
def test_crops_do_not_depend_on_the_order_in_which_they_are_drawn(make_pixels: MakePixels, stain: float) -> None:
    rois = [coded(make_pixels, f"TCGA-A1-{i:04}", i) for i in range(3)]
    made = [Crops(rois, FIVE, CropSettings(32, 0.5, stain), 7) for _ in range(2)]
    wanted = [(step, place) for step in range(4) for place in range(3)]
    first = {at: made[0].draw(*at) for at in wanted}
    for at in reversed(wanted):
        for one, other in zip(first[at], made[1].draw(*at), strict=True):
            assert one.tobytes() == other.tobytes()


def test_seed_step_and_place_all_matter(make_pixels: MakePixels) -> None:
    rois = [coded(make_pixels)]
    here = Crops(rois, FIVE, PLAIN, 0).draw(5, 6)[0]
    for seed, step, place in ((1, 5, 6), (0, 6, 6), (0, 5, 7), (0, 6, 5), (5, 0, 6)):
        assert not np.array_equal(Crops(rois, FIVE, PLAIN, seed).draw(step, place)[0], here)


# ---- balance -----------------------------------------------------------------------------------------------


def share(crops: Crops, label: int, draws: int = 300) -> float:
    """Share of crops that show a class."""
    return float(np.mean([(crops.draw(step, 0)[1] == label).any() for step in range(draws)]))


def test_balanced_crops_show_each_class_equally_often(make_pixels: MakePixels) -> None:
    roi = two_classes(make_pixels)
    assert share(Crops([roi], FIVE, CropSettings(32, 0.0, 0.0), 0), 3) < 0.12  # as rare as it is
    assert 0.4 < share(Crops([roi], FIVE, CropSettings(32, 1.0, 0.0), 0), 3) < 0.65
    assert 0.2 < share(Crops([roi], FIVE, CropSettings(32, 0.5, 0.0), 0), 3) < 0.4


def test_a_class_of_one_pixel_off_the_grid_is_found(make_pixels: MakePixels) -> None:
    codes = np.full((160, 160), 2, np.uint8)
    codes[101, 67] = 4
    assert share(Crops([make_pixels(codes)], FIVE, CropSettings(32, 1.0, 0.0), 0), 3) > 0.4


def test_the_pixel_of_a_balanced_crop_lies_in_its_middle_half_and_not_always_at_one_place(
    make_pixels: MakePixels,
) -> None:
    codes = np.zeros((160, 160), np.uint8)
    codes[80, 80] = 4
    crops = Crops([make_pixels(codes)], FIVE, CropSettings(32, 1.0, 0.0), 0)
    places = np.array([np.argwhere(crops.draw(step, 0)[1] == 3)[0] for step in range(100)])
    assert places.min() >= 7
    assert places.max() <= 24
    assert len(np.unique(places)) > 10


def test_random_crops_take_patients_equally_often_whatever_their_size(make_pixels: MakePixels) -> None:
    tumor = make_pixels(np.full((40, 40), 1, np.uint8), "TCGA-A1-0001-DX1_a")
    stroma = [make_pixels(np.full((300, 300), 2, np.uint8), f"TCGA-A1-0002-DX1_{i}") for i in range(3)]
    crops = Crops([*stroma, tumor], FIVE, CropSettings(32, 0.0, 0.0), 0)
    assert 0.4 < share(crops, 0) < 0.6


def test_balanced_crops_weigh_patients_by_the_root_of_their_pixels(make_pixels: MakePixels) -> None:
    rng = np.random.default_rng(0).integers
    much, little = (
        make_pixels(np.where(np.arange(160)[:, None] < rows, 4, 0).repeat(160, 1).astype(np.uint8), name, image)
        for rows, name, image in (
            (144, "TCGA-A1-0001", rng(200, 256, (160, 160, 3), np.uint8)),
            (16, "TCGA-A1-0002", rng(0, 50, (160, 160, 3), np.uint8)),
        )
    )
    crops = Crops([much, little], FIVE, CropSettings(32, 1.0, 0.0), 0)
    bright = np.mean([crops.draw(step, 0)[0].mean() > 0.5 for step in range(400)])
    assert 0.68 < bright < 0.82  # 3 : 1 for 9 times the pixels


def test_balanced_crops_weigh_the_rois_of_a_patient_by_their_pixels(make_pixels: MakePixels) -> None:
    """Whether the grid finds a class or misses it, as it does a thin line."""
    large, line = np.full((160, 160), 2, np.uint8), np.full((160, 160), 2, np.uint8)
    large[:80, :80] = 4  # 6,400 px, in the grid
    line[3, 1:101] = 4  # 100 px between its rows
    rois = [make_pixels(codes, f"TCGA-A1-0001-DX1_{i}") for i, codes in enumerate((large, line))]
    crops = Crops(rois, FIVE, CropSettings(32, 1.0, 0.0), 0)
    drawn = [crops._balanced(np.random.default_rng(i), 32)[0] for i in range(4000)]
    expected = 0.5 * (100 / 6500) + 0.5 * (25500 / (25500 + 19200))  # half for stroma, which is in both
    assert np.mean(drawn) == pytest.approx(expected, abs=0.03)


def test_ignored_pixels_are_drawn_in_passing_but_never_sought(make_pixels: MakePixels) -> None:
    codes = np.zeros((160, 160), np.uint8)
    codes[60:100, 60:100] = 1
    crops = Crops([make_pixels(codes)], FIVE, CropSettings(32, 1.0, 0.0), 0)
    labels = np.stack([crops.draw(step, 0)[1] for step in range(40)])
    assert set(np.unique(labels)) == {0, IGNORE}
    assert (labels == 0).any((1, 2)).all()


# ---- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(31, 96), (96, 31)])
def test_a_roi_smaller_than_a_crop_is_refused_with_the_crop_to_set(
    make_pixels: MakePixels, shape: tuple[int, int]
) -> None:
    rois = [coded(make_pixels), make_pixels(np.ones(shape, np.uint8), "TCGA-A1-0002")]
    told = rf"TCGA-A1-0002\.png: is {shape[1]} x {shape[0]} px .*smaller than a crop of 32: set crop=16 or less"
    with pytest.raises(DataError, match=told):
        Crops(rois, FIVE, PLAIN, 0)


def test_a_roi_smaller_than_every_crop_is_not_answered_with_a_crop_that_cannot_be_set(
    make_pixels: MakePixels,
) -> None:
    with pytest.raises(DataError, match="10 x 12 px") as caught:
        Crops([make_pixels(np.ones((12, 10), np.uint8))], FIVE, PLAIN, 0)
    assert "crop=0" not in str(caught.value)


def test_a_roi_as_large_as_a_crop_is_enough(make_pixels: MakePixels) -> None:
    crops = Crops([coded(make_pixels, height=32, width=32)], FIVE, PLAIN, 0)
    for step in range(10):
        assert np.ptp(read(crops.draw(step, 0)[0])[1]) == 31


def test_rois_without_a_pixel_that_counts_are_refused(make_pixels: MakePixels) -> None:
    with pytest.raises(DataError, match=r"no pixel of masks belongs to a class of bcss-5@1: all of it is ignored"):
        Crops([make_pixels(np.zeros((64, 64), np.uint8))], FIVE, PLAIN, 0)


def test_one_roi_that_is_all_ignored_does_not_matter(make_pixels: MakePixels) -> None:
    ignored = make_pixels(np.zeros((64, 64), np.uint8), "TCGA-A1-0002")
    crops = Crops([ignored, coded(make_pixels)], FIVE, CropSettings(32, 1.0, 0.0), 0)
    assert all((crops.draw(step, 0)[1] != IGNORE).any() for step in range(20))


def test_sharpness_blurs_a_quarter_and_sharpens_a_quarter() -> None:
    """An edge: blurring lowers its slope, sharpening raises it; flat parts stay, and so does the range."""
    light = np.zeros((16, 16, 3), np.float32)
    light[:, 8:] = 0.6
    light[:, 4:8] = 0.3
    slopes = []
    for seed in range(400):
        made = jitter_sharpness(light, 0.8, np.random.default_rng(seed))
        assert made.dtype == np.float32
        assert made.shape == light.shape
        assert made.min() >= 0
        assert made.max() <= 1
        np.testing.assert_allclose(made[:, 15], 0.6, atol=1e-4)
        slopes.append(float(made[8, 8, 0] - made[8, 7, 0]))
    assert 0.2 < np.mean(np.array(slopes) < 0.299) < 0.3
    assert 0.2 < np.mean(np.array(slopes) > 0.301) < 0.3


def test_sharpness_is_drawn_after_all_else(make_pixels: MakePixels) -> None:
    """The same places and turns with and without: labels agree, pixels do not."""
    rois = [coded(make_pixels)]
    plain, jittered = (Crops(rois, FIVE, CropSettings(32, 0.5, 0.2, sharpness=s), 0) for s in (0.0, 0.8))
    pairs = [(plain.draw(0, i), jittered.draw(0, i)) for i in range(20)]
    assert all(np.array_equal(a[1], b[1]) for a, b in pairs)
    changed = sum(not np.array_equal(a[0], b[0]) for a, b in pairs)
    assert 3 <= changed <= 17


def smooth(make_pixels: MakePixels) -> Pixels:
    """A ROI whose codes follow from its image: red is 10 times the code of broad blocks, green and blue are a ramp."""
    y, x = np.mgrid[:160, :160]
    codes = (1 + y // 20 % 2 + 2 * (x // 20 % 2)).astype(np.uint8)
    return make_pixels(codes, image=np.stack([codes * 10, y, x], -1).astype(np.uint8))


def test_a_deformation_moves_image_and_labels_alike_and_nothing_else(make_pixels: MakePixels) -> None:
    rois = [smooth(make_pixels)]
    plain, moved = (Crops(rois, FIVE, CropSettings(64, 0.0, 0.0, elastic=e), 3) for e in (0.0, 4.0))
    for place in range(10):
        (light, labels), (other, theirs) = plain.draw(0, place), moved.draw(0, place)
        assert other.shape == light.shape
        codes = read(other)[0]
        inside = other[..., 0] * 255 % 10 == 0  # not between two blocks
        agree = FIVE.labels(codes)[inside] == theirs[inside]
        assert agree.mean() > 0.98
        assert 0.02 < (labels != theirs).mean() < 0.7
        shift = (other - light)[..., 1:] * 255
        assert 0.5 < np.abs(shift).mean() < 12
        assert np.abs(np.diff(shift[8:-8, 8:-8], 2, axis=0)).max() < 5  # smooth


def test_a_deformation_of_nothing_is_none(make_pixels: MakePixels) -> None:
    rois = [coded(make_pixels)]
    plain, moved = (Crops(rois, FIVE, CropSettings(32, 0.5, 0.2, 0.5, 0.8, e), 3) for e in (0.0, 1e-9))
    for place in range(10):
        for one, other in zip(plain.draw(0, place), moved.draw(0, place), strict=True):
            np.testing.assert_array_equal(one, other)


def test_displacements_are_those_of_seed_step_and_place(make_pixels: MakePixels) -> None:
    rois = [coded(make_pixels)]
    settings = CropSettings(32, 0.5, 0.2, elastic=5.0)
    one, two = (Crops(rois, FIVE, settings, 3) for _ in range(2))
    first = [one.draw(step, place) for step in range(2) for place in range(2)]
    for (step, place), (light, labels) in zip([(0, 0), (0, 1), (1, 0), (1, 1)], first, strict=True):
        again = two.draw(step, place)
        assert again[0].tobytes() == light.tobytes()
        assert again[1].tobytes() == labels.tobytes()


def test_shares_are_those_of_the_crops(make_pixels: MakePixels) -> None:
    one, other = two_classes(make_pixels, rare=24), two_classes(make_pixels, "TCGA-A1-0002", rare=80)
    other.codes[80:, 80:] = 0
    for balanced in (0.0, 0.5):
        crops = Crops([one, other], FIVE, CropSettings(32, balanced, 0.0), 3)
        natural, drawn = crops.shares()
        labels = np.concatenate([crops.draw(step, 0)[1].ravel() for step in range(1500)])
        seen = np.bincount(labels[labels != IGNORE], minlength=5) / (labels != IGNORE).sum()
        assert drawn == pytest.approx(seen, abs=0.04)
        assert natural.sum() == pytest.approx(1)
        assert natural[3] == pytest.approx((24**2 + 80**2) / (2 * 160**2 - 80**2))  # two ROIs of one size
        assert natural[[0, 2, 4]].sum() == 0
        assert (drawn[3] > 1.5 * natural[3]) == (balanced > 0)
