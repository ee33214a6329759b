"""The same tissue under two names is found, however it was copied; different tissue is not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape.data import duplicates
from ushape.data.duplicates import Alike, look_alike, signature
from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois, patient_of, read_image

Bytes = NDArray[np.uint8]
Change = Callable[[Bytes], Bytes]


def jpeg(image: Bytes, quality: int) -> Bytes:
    written = io.BytesIO()
    Image.fromarray(image).save(written, "JPEG", quality=quality)
    return np.asarray(Image.open(written).convert("RGB"))


def resized(image: Bytes, factor: float) -> Bytes:
    height, width = image.shape[:2]
    size = round(width * factor), round(height * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def brighter(image: Bytes) -> Bytes:
    return np.clip(image * 1.15 + 10, 0, 255).astype(np.uint8)


def all_of_it(image: Bytes) -> Bytes:
    return jpeg(np.ascontiguousarray(brighter(image[37:, 41:])[:, ::-1]), 40)


COPIES: dict[str, Change] = {
    "as it is": lambda image: image,
    "poor JPEG": lambda image: jpeg(image, 20),
    "smaller": lambda image: resized(image, 0.4),
    "larger": lambda image: resized(image, 1.5),
    "brighter": brighter,
    "another gamma": lambda image: (255 * (image / 255) ** 1.5).astype(np.uint8),
    "cut by a tenth": lambda image: image[:, image.shape[1] // 10 :],
    "cut by a tenth all round": lambda image: image[tuple(slice(n // 10, -(n // 10)) for n in image.shape[:2])],
    "smaller, and cut by a tenth": lambda image: resized(image, 0.8)[: -image.shape[0] // 10],
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned": lambda image: np.rot90(image),
    "transposed": lambda image: image.transpose(1, 0, 2),
    "half of it": lambda image: image[:, image.shape[1] // 2 + 3 :],
    "mirrored, shifted, brighter, JPEG": all_of_it,
}


def alike(images: dict[str, Bytes], mpp: float | None = 1.2) -> list[Alike]:
    """Every image is of a patient of its own."""
    made = {name: signature(np.ascontiguousarray(image), mpp) for name, image in images.items()}
    return look_alike(made, {name: name for name in images})


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bytes]:
    """Procedural tissue of three patients."""
    folder = tmp_path_factory.mktemp("duplicates")
    write_phantom(folder, patients=3, seed=5, size=512)
    return {roi.name: np.asarray(read_image(roi.image)) for roi in find_rois(folder)}


@pytest.fixture(scope="module")
def tissue(real_data: Path) -> dict[str, Bytes]:
    """Ten real ROIs of ten patients, of one stain and one printer."""
    return {roi.name: np.asarray(read_image(roi.image)) for roi in find_rois(real_data / "bcss-seed10")}


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_of_a_phantom_is_found(phantoms: dict[str, Bytes], change: str):
    name = list(phantoms)[1]
    (found,) = alike(phantoms | {"copy": COPIES[change](phantoms[name])})
    assert (found.one, found.other) == (name, "copy")
    assert found.windows >= duplicates.AGREEING


def test_different_phantoms_are_not_alike(phantoms: dict[str, Bytes]):
    assert alike(phantoms) == []


def test_copies_of_real_tissue_are_found_and_nothing_else(tissue: dict[str, Bytes]):
    made = {name: signature(image, 1.2) for name, image in tissue.items()}
    expected = []
    for name, (change, copied) in zip(tissue, COPIES.items(), strict=False):
        made[f"{name} {change}"] = signature(np.ascontiguousarray(copied(tissue[name])), 1.2)
        expected.append((name, f"{name} {change}"))
    found = look_alike(made, {name: name for name in made})
    assert [(pair.one, pair.other) for pair in found] == expected


def test_even_half_the_evidence_tells_real_rois_apart(tissue: dict[str, Bytes], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates, "AGREEING", duplicates.AGREEING // 2)
    assert alike(tissue) == []


def test_neighbouring_sections_of_a_block_are_not_alike(real_data: Path):
    files = sorted((real_data / "isbi2012-24" / "images").iterdir())[:4]
    assert alike({path.name: np.asarray(Image.open(path).convert("RGB")) for path in files}, None) == []


def test_tiles_of_one_stain_are_not_alike(real_data: Path):
    files = sorted((real_data / "bcss-unlabelled12").glob("*.png"))[::40]
    made = {path.name: signature(np.asarray(read_image(path)), 1.2) for path in files}
    patients = {path.name: patient_of(path.name) for path in files}
    assert len(set(patients.values())) > 5
    assert look_alike(made, patients) == []


def test_images_of_one_patient_may_overlap(phantoms: dict[str, Bytes]):
    one = next(iter(phantoms.values()))
    made = {name: signature(np.ascontiguousarray(one[shift:]), 1.2) for name, shift in (("a", 0), ("b", 40))}
    assert look_alike(made, {"a": "P1", "b": "P1"}) == []
    assert len(look_alike(made, {"a": "P1", "b": "P2"})) == 1


def test_a_copy_is_found_when_the_name_lies_about_the_pixel_size(phantoms: dict[str, Bytes]):
    one = next(iter(phantoms.values()))
    made = {"a": signature(one, 1.2), "b": signature(resized(one, 0.6), 1.2), "c": signature(one, None)}
    pairs = {(p.one, p.other) for p in look_alike(made, {name: name for name in made})}
    assert pairs == {("a", "b"), ("a", "c"), ("b", "c")}


def test_nothing_stands_out_in_an_even_image():
    grey = np.full((400, 400, 3), 200, np.uint8)
    assert all(len(scale.centres) == 0 for scale in signature(grey, 1.2))
    assert alike({"a": grey, "b": grey}) == []
    assert alike({}) == []


@pytest.mark.parametrize(("shape", "pairs"), [((1, 1, 3), 0), ((5, 900, 3), 0), ((30, 20, 3), 1)])
def test_tiny_images_are_taken(shape: tuple[int, ...], pairs: int):
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert len(alike({"a": noise, "b": noise})) == pairs


def test_of_many_windows_the_strongest_are_compared(phantoms: dict[str, Bytes], monkeypatch: pytest.MonkeyPatch):
    made = {name: signature(image, 1.2) for name, image in phantoms.items()}
    made["copy"] = signature(np.ascontiguousarray(next(iter(phantoms.values()))[:, ::-1]), 1.2)
    patients = {name: name for name in made}
    (before,) = look_alike(made, patients)
    monkeypatch.setattr(duplicates, "MOST", 10)
    (after,) = look_alike(made, patients)
    assert (after.one, after.other) == (before.one, before.other)
    assert after.windows <= duplicates.LEAST < before.windows
