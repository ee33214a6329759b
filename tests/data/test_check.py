"""`data check` lists everything that is wrong with a folder, each with its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape.data.check import Inventory, check_folder
from ushape.data.classes import grouping
from ushape.errors import DataError

Bytes = NDArray[np.uint8]
WriteRois = Callable[..., Path]
A, B, C = (f"TCGA-{p}-DX1_xmin0_ymin0_MPP-1.2000" for p in ("A1-A0SK", "A2-A0T2", "E2-A14N"))


def arrays(seed: int) -> tuple[Bytes, Bytes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (20, 30, 3), np.uint8), rng.integers(0, 22, (20, 30), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, write_rois: WriteRois) -> Path:
    """Three good ROIs."""
    return write_rois(tmp_path / "data", {A: arrays(0), B: arrays(1), C: arrays(2)})


def image(folder: Path, name: str) -> Path:
    return folder / "rgbs_colorNormalized" / f"{name}.png"


def mask(folder: Path, name: str) -> Path:
    return folder / "masks" / f"{name}.png"


def found(folder: Path, mpp: float | None = None) -> list[tuple[str, str]]:
    """(file name, problem) of each finding."""
    return [(Path(f.about).relative_to(folder).as_posix(), f.problem) for f in check_folder(folder, mpp)]


def missing_mask(folder: Path) -> None:
    mask(folder, B).unlink()


def extra_mask(folder: Path) -> None:
    image(folder, B).unlink()


def sizes(folder: Path) -> None:
    Image.fromarray(arrays(1)[1][:-1]).save(mask(folder, B))


def code(folder: Path) -> None:
    codes = arrays(1)[1]
    codes[4, 11] = 97
    Image.fromarray(codes).save(mask(folder, B))


def truncated_image(folder: Path) -> None:
    image(folder, B).write_bytes(image(folder, B).read_bytes()[:-300])


def truncated_mask(folder: Path) -> None:
    mask(folder, B).write_bytes(mask(folder, B).read_bytes()[:70])


def deep_mask(folder: Path) -> None:
    Image.fromarray(arrays(1)[1].astype(np.uint16)).save(mask(folder, B))


def grey_image(folder: Path) -> None:
    Image.fromarray(arrays(1)[1]).save(image(folder, B))


def same_image(folder: Path) -> None:
    Image.fromarray(arrays(0)[0]).save(image(folder, B), compress_level=1)  # other bytes, equal pixels


def no_pixel_size(folder: Path) -> None:
    for path in (image(folder, B), mask(folder, B)):
        path.rename(path.with_name("TCGA-A2-A0T2-DX1_a.png"))


WRONG: dict[Callable[[Path], None], tuple[str, str]] = {
    missing_mask: (f"rgbs_colorNormalized/{B}.png", f"has no mask .*masks/{B}.png: add it"),
    extra_mask: (f"masks/{B}.png", f"has no image .*{B}.png: add it or remove the mask"),
    sizes: (f"masks/{B}.png", "is 30 x 19 px but its image is 30 x 20 px: export both again"),
    code: (f"masks/{B}.png", "code 97 at x=11, y=4 is no BCSS code"),
    truncated_image: (f"rgbs_colorNormalized/{B}.png", "is truncated or damaged .*: write it again"),
    truncated_mask: (f"masks/{B}.png", "is truncated or damaged .*: write it again"),
    deep_mask: (f"masks/{B}.png", "is 16-bit; .*convert it"),
    grey_image: (f"rgbs_colorNormalized/{B}.png", "is 8-bit grey, not 8-bit RGB: convert it"),
    same_image: (f"rgbs_colorNormalized/{B}.png", f"is the same image as {A}: remove one"),
    no_pixel_size: ("rgbs_colorNormalized/TCGA-A2-A0T2-DX1_a.png", "its name gives no pixel size .*pass --mpp"),
}


def test_a_good_folder_has_no_finding(folder: Path) -> None:
    assert found(folder) == []


@pytest.mark.parametrize("damage", WRONG, ids=lambda d: d.__name__)
def test_what_is_wrong_is_found_once_with_its_file_and_remedy(folder: Path, damage: Callable[[Path], None]) -> None:
    import re

    damage(folder)
    where, problem = WRONG[damage]
    ((about, told),) = found(folder)
    assert about == where
    assert re.match(problem, told), told
    assert "\n" not in told


def test_a_patient_spelt_two_ways_is_found(folder: Path, write_rois: WriteRois) -> None:
    write_rois(folder, {A.replace("A0SK", "AOSK"): arrays(3)})
    (finding,) = check_folder(folder)
    assert (finding.about, finding.problem[:16]) == ("TCGA-A1-A0SK", "and TCGA-A1-AOSK")
    assert "spelt two ways: rename" in finding.problem


def test_one_name_with_two_suffixes_is_found(folder: Path, write_rois: WriteRois) -> None:
    write_rois(folder, {B: arrays(5)}, ".tif")
    assert any(B in f.about for f in check_folder(folder))


def test_everything_is_found_at_once_in_the_order_of_the_files(folder: Path, write_rois: WriteRois) -> None:
    write_rois(folder, {"TCGA-A1-A0SK-DX1_b": arrays(0), "TCGA-OL-A97C-DX1_MPP-1": arrays(9)})
    truncated_mask(folder)
    mask(folder, C).unlink()
    image(folder, "TCGA-OL-A97C-DX1_MPP-1").unlink()
    assert [(about.split("/")[1][:12], problem[:12]) for about, problem in found(folder)] == [
        ("TCGA-A1-A0SK", "its name giv"),
        ("TCGA-A1-A0SK", "is the same "),
        ("TCGA-A2-A0T2", "is truncated"),
        ("TCGA-E2-A14N", "has no mask "),
        ("TCGA-OL-A97C", "has no image"),
    ]


def test_a_pixel_size_given_by_flag_is_enough(folder: Path) -> None:
    no_pixel_size(folder)
    assert found(folder, mpp=1.2) == []


def test_no_folder_and_no_image_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list(check_folder(tmp_path / "none"))
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="images: holds no image"):
        list(check_folder(tmp_path))


def test_the_inventory_counts_rois_patients_and_the_pixels_that_count(folder: Path, write_rois: WriteRois) -> None:
    codes = np.zeros((20, 30), np.uint8)
    codes[:10] = 1
    codes[10:15] = 19
    codes[15:, :10] = 4
    write_rois(folder, {A: (arrays(0)[0], codes), A.replace("xmin0", "xmin9"): (arrays(8)[0], codes)})
    for name in (B, C):
        image(folder, name).unlink()
        mask(folder, name).unlink()
    inventory = Inventory()
    assert list(check_folder(folder, inventory=inventory)) == []
    assert (inventory.images, inventory.patients) == (2, 1)
    assert inventory.pixels == {0: 200, 1: 600, 4: 100, 19: 300}
    assert inventory.shares(grouping("bcss-5")) == pytest.approx(
        {"tumor": 0.9, "stroma": 0, "inflammatory": 0, "necrosis": 0.1, "other": 0}
    )
    assert inventory.shares(grouping("bcss-5-seed"))["other"] == pytest.approx(500 / 1200)


def test_an_empty_inventory_has_no_shares() -> None:
    assert Inventory().shares(grouping("bcss-5")) == {}


def test_the_real_rois_have_no_finding(real_data: Path) -> None:
    inventory = Inventory()
    assert list(check_folder(real_data / "bcss-seed10", inventory=inventory)) == []
    assert (inventory.images, inventory.patients) == (10, 10)
