"""LiTS' scores, by hand and against MONAI's Dice; what is absent counts nowhere."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from ushape.errors import DataError
from ushape.lits.compare import ahead
from ushape.lits.score import each_case, score, score_folder, score_labels, summary

SPACING = (2.0, 1.0, 1.0)


def _labels(*rows: str) -> np.ndarray:
    """One slice written as digits: uint8 [1, y, x]."""
    return np.array([[[int(c) for c in row] for row in rows]], np.uint8)


TRUTH = _labels("0111", "0122", "0000")
GUESS = _labels("1111", "0012", "0000")


def test_by_hand() -> None:
    """Liver: 6 true, 6 predicted, 5 shared. Lesion: 2 true, 1 predicted, 1 shared, the other 1 mm away."""
    made = score_labels(TRUTH, GUESS, SPACING)
    liver, lesion = made["liver"], made["lesion"]
    assert (liver.truth, liver.predicted, liver.both) == (6, 6, 5)
    assert liver.dice == pytest.approx(10 / 12)
    assert liver.voe == pytest.approx(1 - 5 / 7)
    assert liver.rvd == 0
    assert (liver.assd, liver.mssd) == (pytest.approx(2 / 12), pytest.approx(1))
    assert lesion.dice == pytest.approx(2 / 3)
    assert lesion.voe == pytest.approx(1 / 2)
    assert lesion.rvd == pytest.approx(-1 / 2)
    assert (lesion.assd, lesion.mssd) == (pytest.approx(1 / 3), pytest.approx(1))


def test_dice_as_monai_has_it() -> None:
    rng = np.random.default_rng(0)
    truth, guess = (rng.integers(0, 2, (4, 9, 9)).astype(bool) for _ in range(2))
    tensors = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (guess, truth)]
    assert score(truth, guess, SPACING).dice == pytest.approx(float(compute_dice(*tensors)), rel=1e-6)


def test_what_is_absent() -> None:
    some, none = np.ones((1, 2, 2), bool), np.zeros((1, 2, 2), bool)
    missed, invented, absent = score(some, none, SPACING), score(none, some, SPACING), score(none, none, SPACING)
    assert (missed.dice, missed.voe, missed.rvd) == (0, 1, -1)
    assert (invented.dice, invented.voe) == (0, 1)
    assert absent.dice == 1
    assert all(math.isnan(v) for v in (missed.assd, invented.rvd, invented.mssd, absent.voe, absent.rvd))


def test_means_over_volumes_and_all_voxels_together() -> None:
    both = {"0": score_labels(TRUTH, GUESS, SPACING), "1": score_labels(_labels("1111"), _labels("1111"), SPACING)}
    made = summary(both)
    assert made["liver"]["dice_per_case"] == pytest.approx((10 / 12 + 1) / 2)
    assert made["liver"]["dice_global"] == pytest.approx(2 * 9 / 20)
    assert made["lesion"]["dice_per_case"] == pytest.approx((2 / 3 + 1) / 2)  # volume 1 has none, and none was seen
    assert made["lesion"]["volumes"] == {"dice": 2, "voe": 1, "rvd": 1, "assd": 1, "mssd": 1}
    assert each_case(both)["1"]["lesion"]["voe"] is None


def test_a_folder_against_itself(phantom: Path) -> None:
    made = score_folder(phantom, phantom)
    assert list(made) == ["0", "1", "2"]
    for case in made.values():
        assert case["liver"].dice == 1
        assert case["liver"].mssd == 0


def test_a_prediction_written_in_another_order_scores_the_same(phantom: Path, tmp_path: Path) -> None:
    for path in sorted(phantom.glob("segmentation-*.nii")):
        image = nibabel.load(path)
        turn = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(("R", "S", "A"))
        )
        nibabel.save(image.as_reoriented(turn), tmp_path / path.name)
    assert all(case["liver"].dice == 1 for case in score_folder(phantom, tmp_path).values())


def test_a_case_that_was_not_predicted_is_told(phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "segmentation-0.nii").write_bytes((phantom / "segmentation-0.nii").read_bytes())
    with pytest.raises(DataError, match=r"holds no segmentation-1\.nii for .*volume-1\.nii: predict it first"):
        score_folder(phantom, tmp_path)


def test_ahead_is_paired_over_volumes() -> None:
    def of(*dice: float) -> dict[str, dict[str, object]]:
        cells = [score(np.ones(10, bool).reshape(1, 1, 10), np.arange(10).reshape(1, 1, 10) < d, SPACING) for d in dice]
        return {str(i): {"lesion": cell} for i, cell in enumerate(cells)}

    found = ahead(of(10, 8, 6), of(8, 6, 6), "lesion")
    wanted = [1 - 16 / 18, 16 / 18 - 12 / 16, 0]
    assert found.difference == pytest.approx(np.mean(wanted))
    reach = 4.302653 * np.std(wanted, ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((found.difference - reach, found.difference + reach), rel=1e-5)
    assert found.p == pytest.approx(4 / 8)  # signs of the first two alike, whatever the third's: half of the patterns
    assert (found.volumes, found.better) == (3, 2)
    with pytest.raises(DataError, match="1 volume to compare"):
        ahead(of(10), of(8), "lesion")


def test_ahead_rewards_who_sees_no_lesion_where_there_is_none() -> None:
    some, none = np.ones((1, 1, 2), bool), np.zeros((1, 1, 2), bool)
    right, wrong, equal = score(none, none, SPACING), score(none, some, SPACING), score(some, some, SPACING)
    found = ahead(
        {"0": {"lesion": right}, "1": {"lesion": equal}}, {"0": {"lesion": wrong}, "1": {"lesion": equal}}, "lesion"
    )
    assert found.difference == 0.5
    assert found.volumes == 2
