"""Images without masks: found, opened slide by slide, cropped."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ushape.data import images
from ushape.data.augment import CropSettings
from ushape.data.images import ImageCrops, Picture, find_images, fingerprint, open_images
from ushape.data.stain import normalise
from ushape.errors import DataError, RunError

NAMES = [f"TCGA-A1-A0S{s}-DX1_tile{i:04}_MPP-1.2000" for s in "AB" for i in range(3)]


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        Image.fromarray(rng.integers(60, 250, (30 + 2 * i, 40, 3), np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "slide"),
    [
        ("TCGA-A1-A0SA-DX1_tile1", "TCGA-A1-A0SA-DX1"),
        ("TCGA_A1_A0SA-DX1_tile1", "TCGA_A1_A0SA-DX1"),
        ("TCGA_A1_A0SB-DX1_tile1", "TCGA_A1_A0SB-DX1"),
        ("HOSPITAL-0001_3", "HOSPITAL-0001"),
    ],
)
def test_the_slide_is_what_stands_before_the_tile(name: str, slide: str) -> None:
    assert Picture(name, Path("a.png"), 1.0).slide == slide


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_tiles_are_opened_as_they_are(tiles: Path) -> None:
    pictures = find_images(tiles)
    assert [p.name for p in pictures] == NAMES
    assert {p.patient for p in pictures} == {"TCGA-A1-A0SA", "TCGA-A1-A0SB"}
    for _ in range(2):  # made, and from the cache
        for picture, image in zip(pictures, open_images(pictures, 1.2, "none"), strict=True):
            assert np.array_equal(image, read(picture.path))
    assert [i.shape for i in open_images(pictures, 2.4, "none")] == [(15 + i, 20, 3) for i in range(6)]


def test_tiles_of_a_slide_share_their_strength_of_stain(tiles: Path) -> None:
    pictures = find_images(tiles)
    made = open_images(pictures, 1.2, "stain")
    together = normalise(np.concatenate([read(p.path).reshape(-1, 1, 3) for p in pictures[:3]]))
    assert np.array_equal(np.concatenate([m.reshape(-1, 3) for m in made[:3]]), together[:, 0])


def test_crops_are_pure_and_take_their_map_with_them(tiles: Path) -> None:
    pictures = find_images(tiles)
    images = open_images(pictures, 1.2, "none")
    maps = [np.stack([image[..., i] for i in (0, 1, 2, 0, 1)], -1) for image in images]
    settings = CropSettings(32, 0.0, 0.0, 0.5, elastic=3.0)
    crops = [ImageCrops(pictures, images, settings, 5, maps) for _ in range(2)]
    for step in range(20):
        (light, amounts), again = crops[0].draw(step, 1), crops[1].draw(step, 1)
        assert amounts is not None
        assert light.tobytes() == again[0].tobytes()
        np.testing.assert_allclose(amounts, np.rint(light * 255)[..., [0, 1, 2, 0, 1]], atol=1)
    assert ImageCrops(pictures, images, settings, 5).draw(0, 0)[1] is None


def test_small_images_are_mirrored_for_teachers_and_cut_to_what_there_is_without() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    picture = [Picture("TCGA-A1-A0SA-DX1_1", Path("a.png"), 1.2)]
    settings = CropSettings(48, 0.0, 0.0, 0.5)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "change", lambda window, maps, *_: seen.append((window, maps)) or (window, maps))
        for maps in ([image], None):
            crops = ImageCrops(picture, [image], settings, 0, maps)
            for step in range(40):
                crops.draw(step, 0)
    taught, alone = seen[:40], seen[40:]
    beyond = [window for window, _ in taught if len(window) > 52]
    assert len(beyond) > 5
    assert any(len(window) < 40 for window, _ in taught)
    whole = np.pad(image, [(38, 38), (38, 38), (0, 0)], "reflect")
    for window, (amounts,) in taught:
        assert np.array_equal(window, amounts)
        side, (rows, columns) = len(window), (whole.shape[0], whole.shape[1])
        places = np.ndindex(rows - side + 1, columns - side + 1)
        assert any(np.array_equal(whole[y : y + side, x : x + side], window) for y, x in places)
    assert max(len(window) for window, _ in alone) == 40


def test_an_image_smaller_than_the_zooms_smallest_window_is_refused(tiles: Path) -> None:
    pictures = find_images(tiles)
    images = open_images(pictures, 1.2, "none")
    ImageCrops(pictures, images, CropSettings(45, 0.0, 0.0, 0.5), 0).draw(0, 0)
    with pytest.raises(DataError, match=r"is 40 x 30 px .*smaller than the smallest window of 31"):
        ImageCrops(pictures, images, CropSettings(46, 0.0, 0.0, 0.5), 0)


def test_the_fingerprint_is_of_names_and_contents(tiles: Path) -> None:
    before = fingerprint(find_images(tiles))
    assert fingerprint(find_images(tiles)) == before
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tiles / f"{NAMES[0]}.png")
    assert fingerprint(find_images(tiles)) != before


def test_two_images_of_one_name_and_a_link_to_nothing_are_refused(tiles: Path) -> None:
    other = tiles / f"{NAMES[0]}.tif"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(other)
    with pytest.raises(DataError, match=r"\.tif: .*\.png has the same name: remove one"):
        find_images(tiles)
    other.unlink()
    (tiles / "TCGA-A1-A0SC-DX1_tile_MPP-1.2000.png").symlink_to(tiles / "gone.png")
    with pytest.raises(DataError, match="a link to a file that is not there"):
        find_images(tiles)


def test_many_pixels_of_a_slide_are_brought_to_the_strength_of_a_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(3):
        shade = rng.integers(90, 240, (40, 60, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(shade).save(tmp_path / f"TCGA-A1-A0SA-DX1_tile{i}_MPP-1.2000.png")
    pictures = find_images(tmp_path)
    made = open_images(pictures, 1.2, "stain")
    whole = normalise(np.concatenate([read(p.path) for p in pictures]))
    difference = np.abs(np.concatenate(made).astype(int) - whole)
    assert difference.mean() < 1


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_images(tmp_path / "gone")
    with pytest.raises(DataError, match="holds no image"):
        find_images(tmp_path)


def test_two_that_need_the_same_make_it_once(tmp_path: Path) -> None:
    made = []

    def make() -> images.Bytes:
        made.append(1)
        time.sleep(0.3)
        return np.arange(12, dtype=np.uint8).reshape(4, 3)

    def look() -> list[images.Bytes]:
        return images.kept_together(tmp_path / "a.npy", make, [(1, 2), (2, 1)])

    with ThreadPoolExecutor(2) as both:
        first, second = (found.result() for found in [both.submit(look), both.submit(look)])
    assert made == [1]
    assert [image.tolist() for image in first] == [image.tolist() for image in second]
    assert [image.shape for image in first] == [(1, 2, 3), (2, 1, 3)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_the_cache_is_made_and_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    def fail() -> images.Bytes:
        raise DataError("damaged")

    with pytest.raises(DataError, match="damaged"):
        images.kept_together(tmp_path / "new" / "a.npy", fail, [])
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        images.kept_together(tmp_path / "file" / "a.npy", fail, [])
