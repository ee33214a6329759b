"""Slides among files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from ushape.errors import DataError
from ushape.predict.slides import find_slides, slide_name


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return [folder / name for name in names]


@pytest.mark.parametrize("name", ["a.b.svs", "a.b.ome.tiff", "a.b.ome.tif", "a.b.OME.TIF", "a.b.png"])
def test_the_name_of_a_slide_has_no_suffix_and_no_ome(name: str) -> None:
    assert slide_name(Path("x") / name) == "a.b"


def test_folders_give_their_slides_sorted_and_files_come_as_they_are_named(tmp_path: Path) -> None:
    inside = touch(tmp_path / "in", "b.svs", "a.ome.tiff", "c.PNG", "notes.txt", ".hidden.svs")
    (tmp_path / "in" / "d.mrxs").mkdir()  # a folder of that name is none
    alone = touch(tmp_path, "z.jpg")[0]
    assert find_slides([alone, tmp_path / "in"]) == [alone, inside[1], inside[0], inside[2]]


def test_what_is_no_slide_is_refused_by_name(tmp_path: Path) -> None:
    notes = touch(tmp_path, "notes.txt")[0]
    for path, message in ((tmp_path, "holds no slide"), (tmp_path / "gone.svs", "no such file"), (notes, "known type")):
        with pytest.raises(DataError, match=f"{path.name}: .*{message}"):
            find_slides([path])


def test_two_slides_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "a.ome.tif")
    with pytest.raises(DataError, match=r"a\.svs: has the name of .*a\.ome\.tif .*rename"):
        find_slides([tmp_path])
    with pytest.raises(DataError, match="rename"):
        find_slides([tmp_path / "a.svs", tmp_path / "a.svs"])
