"""Pixel sizes: where they come from, and what contradicts what."""

from __future__ import annotations

from pathlib import Path

import pytest

from ushape.errors import DataError
from ushape.predict.slides.sizes import Claim, choose_mpp

PLAIN, NAMED = Path("a/case7.tif"), Path("a/case7_MPP-0.5000.tif")
SCANNER = Claim(0.25, 0.2502, True, "its metadata")
TAGS = Claim(0.25, 0.25, False, "its resolution tags")


@pytest.mark.parametrize(
    ("path", "claim", "flag", "expected"),
    [
        (PLAIN, SCANNER, None, 0.2501),
        (PLAIN, TAGS, None, 0.25),
        (PLAIN, None, 0.7, 0.7),
        (NAMED, None, None, 0.5),
        (NAMED, None, 0.502, 0.5),
        (NAMED, TAGS, None, 0.5),  # a name corrects tags
        (PLAIN, SCANNER, 0.2505, 0.2501),
        (PLAIN, Claim(352.8, 352.8, False, "tags"), 0.5, 0.5),  # 72 dpi
        (PLAIN, Claim(0.0, 0.0, True, "metadata"), 0.5, 0.5),
    ],
)
def test_the_file_comes_first_then_the_name_then_the_flag(
    path: Path, claim: Claim | None, flag: float | None, expected: float
) -> None:
    assert choose_mpp(path, claim, flag)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("path", "claim", "flag", "message"),
    [
        (PLAIN, None, None, r"case7\.tif: neither the file nor its name .* pass --mpp"),
        (PLAIN, Claim(352.8, 352.8, False, "tags"), None, "pass --mpp"),
        (PLAIN, SCANNER, 0.5, r"0\.2501 µm by its metadata but 0\.5 µm by --mpp: leave out --mpp"),
        (PLAIN, TAGS, 0.5, r"0\.25 µm by its resolution tags but 0\.5 µm by --mpp"),
        (NAMED, SCANNER, None, r"0\.2501 µm by its metadata but 0\.5 µm by its name: correct the name"),
        (NAMED, None, 0.25, r"0\.5 µm by its name but 0\.25 µm by --mpp"),
        (PLAIN, Claim(0.25, 0.26, True, "its metadata"), None, r"0\.25 x 0\.26 µm .* not square"),
        (PLAIN, None, -1.0, "--mpp -1: .* cannot be right"),
        (PLAIN, None, float("nan"), "cannot be right"),
        (
            Path("a/x_MPP-0.0025.png"),
            None,
            None,
            r"x_MPP-0\.0025\.png: a pixel size of 0\.0025 µm .*: correct the name",
        ),
        (Path("a/x_MPP-0_25.png"), None, None, r"x_MPP-0_25\.png: MPP-0_25 is no pixel size: write it with a point"),
        (Path("a/x_MPP-0_25.tif"), SCANNER, None, "is no pixel size"),
        (Path("a/x_MPP-0.png"), None, 0.5, "a pixel size of 0 µm"),
    ],
)
def test_nothing_said_or_a_contradiction_is_refused_with_a_remedy(
    path: Path, claim: Claim | None, flag: float | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        choose_mpp(path, claim, flag)
