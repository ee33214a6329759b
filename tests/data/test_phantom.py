"""The phantom: the same bytes for the same arguments, every class where its mask says, files that are safe."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ushape.data import phantom, texture
from ushape.data.classes import CODES, IGNORE, grouping
from ushape.data.phantom import FOLDERS, phantom_name, phantom_roi, write_phantom
from ushape.data.stain import stain_matrix, to_density
from ushape.errors import DataError, RunError

FIVE = grouping("bcss-5")
Roi = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def rois() -> list[Roi]:
    """Six patients at the default size."""
    return [phantom_roi(0, patient) for patient in range(6)]


def haematoxylin(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Amount of haematoxylin in every pixel [h, w]."""
    return np.asarray(to_density(rgb) @ np.linalg.inv(stain_matrix())[:, 0])


def by_class(values: NDArray[np.float32], codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean of `values` [h, w] in each of the five classes; nan for a class that is absent."""
    labels = FIVE.labels(codes)
    return np.array([values[labels == k].mean() if (labels == k).any() else np.nan for k in range(5)])


# ---- determinism -------------------------------------------------------------------------------------------


def test_same_arguments_same_bytes() -> None:
    first, again = phantom_roi(3, 7, size=96), phantom_roi(3, 7, size=96)
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()


@pytest.mark.parametrize(("seed", "patient"), [(4, 7), (3, 8), (3, 11), (7, 3)])
def test_seed_and_patient_both_matter(seed: int, patient: int) -> None:
    here, there = phantom_roi(3, 7, size=96), phantom_roi(seed, patient, size=96)
    # Labels of unrelated maps agree by chance only; equal maps would agree everywhere.
    assert np.mean(here[1] == there[1]) < 0.8
    assert np.mean(here[0] == there[0]) < 0.5


def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = write_phantom(tmp_path / "few", patients=2, size=64)
    many = write_phantom(tmp_path / "many", patients=4, size=64)
    for a, b in zip(few, many, strict=False):
        assert a.name == b.name
        assert a.read_bytes() == b.read_bytes()
    direct = phantom_roi(0, 1, size=64)
    np.testing.assert_array_equal(np.asarray(Image.open(many[1])), direct[0])


# ---- what is in a ROI --------------------------------------------------------------------------------------


def test_shapes_and_codes(rois: list[Roi]) -> None:
    for rgb, codes in rois:
        assert rgb.shape == (512, 512, 3)
        assert codes.shape == (512, 512)
        assert rgb.dtype == codes.dtype == np.uint8
        assert set(np.unique(codes)) <= set(CODES)


def test_every_class_has_its_share(rois: list[Roi]) -> None:
    labels = np.stack([FIVE.labels(codes) for _, codes in rois])
    shares = np.array([(labels == k).sum() for k in range(5)]) / (labels != IGNORE).sum()
    assert shares.min() > 0.05, dict(zip(FIVE.classes, shares, strict=True))
    assert shares.max() < 0.55, dict(zip(FIVE.classes, shares, strict=True))
    for one in labels:  # most patients hold all five
        present = sum(bool((one == k).mean() > 0.005) for k in range(5))
        assert present >= 4
    found = set(np.unique(np.stack([codes for _, codes in rois])).tolist())
    assert {1, 2, 3, 4, 5, 6, 9, 10, 13, 18, 20} <= found


def test_some_pixels_lie_outside_the_region_where_tissue_goes_on(rois: list[Roi]) -> None:
    for rgb, codes in rois:
        outside = codes == 0
        assert 0.01 < outside.mean() < 0.25
        assert outside[0, 0] or outside[0, -1]
        assert not outside[100:-100, 100:-100].any()
        assert rgb[outside].std() > 15  # a picture, not a flat filling


def test_nuclear_density_tells_the_classes_apart(rois: list[Roi]) -> None:
    dark = np.stack([by_class((haematoxylin(rgb) > 0.6).astype(np.float32), codes) for rgb, codes in rois])
    tumor, stroma, inflammatory, necrosis, _ = np.nanmean(dark, axis=0)
    fat = np.concatenate([haematoxylin(rgb)[codes == 9] for rgb, codes in rois])
    assert inflammatory > 1.3 * tumor
    assert tumor > 1.3 * stroma
    assert stroma > 3 * (fat > 0.6).mean()
    assert necrosis < 0.5 * tumor


def test_colour_alone_does_not_tell_the_class(rois: list[Roi]) -> None:
    """The commonest label of every colour (16 levels a channel), told of the very pixels it is asked about."""
    counts = np.zeros((16**3, 5), np.int64)
    for rgb, codes in rois:
        labels = FIVE.labels(codes)
        r, g, b = (rgb[labels != IGNORE] // 16).astype(np.int64).T
        np.add.at(counts, ((r * 16 + g) * 16 + b, labels[labels != IGNORE]), 1)
    accuracy = counts.max(axis=1).sum() / counts.sum()
    assert 0.4 < accuracy < 0.75


def test_mask_lies_exactly_on_the_picture(rois: list[Roi]) -> None:
    """A mask that is moved by a few pixels explains the picture less well."""

    def explained(rgb: NDArray[np.uint8], codes: NDArray[np.uint8]) -> float:
        grey = to_density(rgb).mean(axis=2)
        labels = FIVE.labels(codes)
        parts = [grey[labels == k] for k in range(5) if (labels == k).any()]
        return float(sum(p.size * (p.mean() - grey[labels != IGNORE].mean()) ** 2 for p in parts))

    for rgb, codes in rois[:3]:
        inner = codes[8:-8, 8:-8]
        at = {
            (dy, dx): explained(rgb[8 + dy : 504 + dy, 8 + dx : 504 + dx], inner)
            for dy, dx in ((0, 0), (4, 0), (-4, 0), (0, 4), (0, -4))
        }
        assert max(at, key=lambda shift: at[shift]) == (0, 0), at


def test_stain_varies_between_patients_more_than_within(rois: list[Roi]) -> None:
    """Direction of the stroma's colour, compared over the two halves of every ROI."""

    def colour(rgb: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        mean = to_density(rgb)[codes == 2].mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean))

    halves = np.array([[colour(r[:, s], c[:, s]) for s in (slice(256), slice(256, 512))] for r, c in rois])
    within = np.sqrt(((halves[:, 0] - halves[:, 1]) ** 2).mean() / 2)
    between = halves.mean(axis=1).std(axis=0, ddof=1)
    assert np.sqrt((between**2).mean()) > 2 * within


def test_patients_of_one_institute_share_part_of_their_stain() -> None:
    def vectors(institute: int, patient: int) -> NDArray[np.float32]:
        return texture.Stain.random(np.random.default_rng(institute), np.random.default_rng(patient)).vectors

    drawn = np.stack([[vectors(i, 1000 + 50 * i + p) for p in range(50)] for i in range(30)])
    unlike = np.stack([[vectors(1000 * i + p, 50 * i + p) for p in range(50)] for i in range(30)])
    assert drawn.mean(axis=1).std(axis=0).mean() > 3 * unlike.mean(axis=1).std(axis=0).mean()
    assert drawn.std(axis=1).mean() > 0.02  # and patients of one institute still differ


@pytest.mark.parametrize(("size", "mpp"), [(64, 0.1), (64, 4.0), (97, 1.2), (200, 0.5), (256, 0.25)])
def test_other_sizes_and_resolutions(size: int, mpp: float) -> None:
    rgb, codes = phantom_roi(1, 0, size, mpp)
    assert rgb.shape == (size, size, 3)
    assert set(np.unique(codes)) <= set(CODES)
    if size * mpp > 50:  # narrower fields hold a cell or two
        assert {1, 2} <= set(np.unique(codes).tolist())


def test_nuclei_keep_their_size_in_um() -> None:
    """Twice the resolution: the same µm, so the correlation length in pixels doubles."""

    def grain(mpp: float, size: int) -> float:
        lengths = []
        for patient in range(3):
            h = haematoxylin(phantom_roi(2, patient, size, mpp)[0])
            h = h - h.mean()
            spectrum = np.abs(np.fft.rfft(h, axis=1)) ** 2
            lag = np.fft.irfft(spectrum.mean(axis=0))
            lengths.append(int(np.argmax(lag < 0.5 * lag[0])) * mpp)
        return float(np.mean(lengths))

    coarse, fine = grain(1.0, 192), grain(0.5, 384)
    assert 0.6 < fine / coarse < 1.6


# ---- files -------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_layout(tmp_path: Path) -> None:
    said: list[str] = []
    images = write_phantom(tmp_path, patients=5, size=64, progress=said.append)
    assert len(said) == len(images) == 5
    assert len({p.name[:12] for p in images}) == 5
    assert [p.name[5:7] for p in images] == ["P1", "P2", "P3", "P4", "P1"]
    assert images[1].name == "PHAN-P2-0001-DX1_xmin0_ymin0_MPP-1.2000.png" == phantom_name(1) + ".png"
    assert len(contents(tmp_path)) == 10
    for i, path in enumerate(images):
        assert path.parent == tmp_path / "rgbs_colorNormalized"
        rgb, codes = phantom_roi(0, i, size=64)
        with Image.open(path) as image, Image.open(tmp_path / "masks" / path.name) as mask:
            assert (image.mode, mask.mode) == ("RGB", "L")
            np.testing.assert_array_equal(np.asarray(image), rgb)
            np.testing.assert_array_equal(np.asarray(mask), codes)


def test_the_same_call_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_phantom(tmp_path, patients=2, size=64)
    before = contents(tmp_path)
    monkeypatch.setattr(phantom, "phantom_roi", None)  # not even drawn again
    assert [p.name for p in write_phantom(tmp_path, patients=2, size=64)] == [
        phantom_name(0) + ".png",
        phantom_name(1) + ".png",
    ]
    assert contents(tmp_path) == before


def test_a_call_cut_short_goes_on(tmp_path: Path) -> None:
    write_phantom(tmp_path, patients=3, size=64)
    before = contents(tmp_path)
    (tmp_path / "masks" / f"{phantom_name(1)}.png").unlink()
    (tmp_path / FOLDERS[0] / f"{phantom_name(2)}.png").unlink()
    write_phantom(tmp_path, patients=3, size=64)
    assert contents(tmp_path) == before


def test_more_patients_can_be_added_but_none_dropped(tmp_path: Path) -> None:
    write_phantom(tmp_path, patients=1, size=64)
    write_phantom(tmp_path, patients=2, size=64)
    with pytest.raises(DataError, match=r"PHAN-P2-0001.*another phantom call.*choose an empty folder"):
        write_phantom(tmp_path, patients=1, size=64)


@pytest.mark.parametrize("change", [{"seed": 1}, {"size": 65}, {"mpp": 1.20001}])
def test_refuses_files_of_another_call(tmp_path: Path, change: dict[str, float]) -> None:
    write_phantom(tmp_path, patients=1, size=64)
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"another phantom call \(version=1 seed=0 .*choose an empty folder"):
        write_phantom(tmp_path, **{"patients": 1, "size": 64, **change})  # type: ignore[arg-type]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("sub", FOLDERS)
@pytest.mark.parametrize("name", ["TCGA-A1-A0SK-DX1.png", "notes.txt", f"{phantom_name(0)}.png"])
def test_refuses_foreign_files(tmp_path: Path, sub: str, name: str) -> None:
    (tmp_path / sub).mkdir()
    foreign = tmp_path / sub / name
    if name.startswith("TCGA"):
        Image.new("RGB", (8, 8)).save(foreign)
    else:
        foreign.write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(DataError, match=f"{sub} holds {name}, not from a phantom: choose an empty folder"):
        write_phantom(tmp_path, patients=1, size=64)
    assert contents(tmp_path) == before


def test_hidden_files_and_neighbours_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / ".DS_Store").write_text("")
    (tmp_path / "README.md").write_text("mine")
    assert len(write_phantom(tmp_path, patients=1, size=64)) == 1


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match=r"cannot write .*No space left on device; free some space"):
        write_phantom(tmp_path, patients=1, size=64)
    assert contents(tmp_path) == {}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*file/sub"):
        write_phantom(tmp_path / "file" / "sub", patients=1, size=64)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"patients": 0}, "patients 0 is too few"),
        ({"patients": 10_001}, "four digits"),
        ({"seed": -1}, "0 or more"),
        ({"size": 63}, "at least 64"),
        ({"mpp": 0.09}, "0.1 to 4"),
        ({"mpp": 4.1}, "0.1 to 4"),
        ({"mpp": float("nan")}, "0.1 to 4"),
    ],
)
def test_bad_arguments(tmp_path: Path, bad: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_phantom(tmp_path / "new", **bad)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "masks").write_text("")
    with pytest.raises(DataError, match="is a file, not a folder"):
        write_phantom(tmp_path, patients=1, size=64)
