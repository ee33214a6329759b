from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ushape.errors import DataError
from ushape.reproduce.unet2015.stack import Stack, parts, read_stack

WriteStack = Callable[[Path], Path]


def test_each_slice_has_mean_0_and_deviation_1(stack: Stack) -> None:
    assert stack.light.shape == stack.interior.shape == (8, 48, 56)
    assert stack.names == tuple(f"{i:02}" for i in range(8))
    np.testing.assert_allclose(stack.light.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(stack.light.std((1, 2)), 1, atol=1e-5)
    assert stack.light[0][stack.interior[0]].mean() > 0.3 > -0.3 > stack.light[0][~stack.interior[0]].mean()


def test_slices_stand_in_the_order_of_their_numbers(tmp_path: Path, write_stack: WriteStack, stack: Stack) -> None:
    folder = write_stack(tmp_path / "stack")
    for part in ("images", "labels"):
        for file in sorted((folder / part).iterdir()):
            file.rename(file.with_name(f"z{5 + int(file.stem)}.png"))
    made = read_stack(folder)
    assert made.names == tuple(f"z{i}" for i in range(5, 13))
    np.testing.assert_array_equal(made.light, stack.light)


def test_24_slices_are_split_as_the_issue_says() -> None:
    assert parts(24).train == tuple(range(18))
    assert parts(24).test == tuple(range(18, 24))


def test_choosing_never_sees_the_test_slices() -> None:
    chosen = parts(24, validate=True)
    assert (chosen.train, chosen.test) == (tuple(range(15)), (15, 16, 17))
    for slices in range(8, 40):
        train, test = parts(slices).train, parts(slices).test
        held = parts(slices, validate=True)
        assert sorted(held.train + held.test) == list(train)
        assert sorted(train + test) == list(range(slices))
        assert len(held.test) >= 2


def test_too_few_slices_are_refused() -> None:
    with pytest.raises(DataError, match="7 slices"):
        parts(7)


def _save(folder: Path, name: str, array: np.ndarray) -> None:
    Image.fromarray(array).save(folder / name)


def _break(file: Path) -> None:
    """Of a PNG, the name of its second chunk."""
    data = bytearray(file.read_bytes())
    data[37:41] = b"\0\1\2\3"
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: [p.unlink() for p in (f / "images").iterdir()], "images: holds no PNG files"),
        (lambda f: (f / "labels" / "03.png").unlink(), r"03.png: cannot be read"),
        (lambda f: _save(f, "labels/03.png", np.full((48, 56), 7, np.uint8)), r"03.png: values 7: give 0 for membrane"),
        (lambda f: _save(f, "labels/03.png", np.zeros((48, 56), np.uint8)), r"03.png: values 0: give"),
        (lambda f: _save(f, "labels/03.png", np.zeros((4, 5), np.uint8)), r"03.png: image \(48, 56\), labels \(4, 5\)"),
        (lambda f: _save(f, "images/03.png", np.zeros((48, 56, 3), np.uint8)), r"03.png: is of mode RGB"),
        (lambda f: _save(f, "images/03.png", np.zeros((48, 56), np.uint8)), r"03.png: every pixel is 0"),
        (lambda f: (f / "images" / "03.png").write_text("no image"), r"03.png: cannot be read as an image"),
        (lambda f: _break(f / "images" / "03.png"), r"03.png: cannot be read as an image"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, write_stack: WriteStack, spoil: Callable[[Path], object], said: str
) -> None:
    folder = write_stack(tmp_path / "stack")
    spoil(folder)
    with pytest.raises(DataError, match=said):
        read_stack(folder)


def test_another_size_is_refused(tmp_path: Path, write_stack: WriteStack) -> None:
    folder = write_stack(tmp_path / "stack")
    for part in ("images", "labels"):
        _save(folder, f"{part}/05.png", np.eye(40, dtype=np.uint8) * 255)
    with pytest.raises(DataError, match=r"05.png: .*all should be \(48, 56\)"):
        read_stack(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="images: no such folder"):
        read_stack(tmp_path)


def test_the_fingerprint_follows_the_pixels(tmp_path: Path, write_stack: WriteStack, stack: Stack) -> None:
    folder = write_stack(tmp_path / "stack")
    assert read_stack(folder).fingerprint == stack.fingerprint
    with Image.open(folder / "images" / "00.png") as image:
        pixels = np.array(image)
    pixels[0, 0] ^= 1
    _save(folder, "images/00.png", pixels)
    assert read_stack(folder).fingerprint != stack.fingerprint


def test_the_real_stack(real_data: Path) -> None:
    folder = real_data / "isbi2012-24"
    if not folder.is_dir():
        pytest.skip(f"no electron micrographs: {folder} does not exist")
    stack = read_stack(folder)
    assert stack.light.shape == (24, 512, 512)
    assert 0.7 < stack.interior.mean() < 0.85
