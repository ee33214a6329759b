"""Writing that leaves the old file or the new one, never half; reading that names the file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ushape.errors import RunError, UshapeError
from ushape.files import read_json, read_yaml, replacing, write_json, write_text, write_yaml

FULL = OSError(28, "No space left on device")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def write_half(path: Path, failure: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise failure


def test_a_file_is_written_and_replaced_with_nothing_left_over(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.txt"
    write_text(path, "one")
    write_text(path, "twö")
    assert path.read_text(encoding="utf-8") == "twö"
    assert names(path.parent) == ["a.txt"]


def test_the_old_file_stands_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # else the replacement would not be atomic
    assert path.read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_in_the_block_keeps_the_old_file_and_is_passed_on(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(type(failure)):
        write_half(path, failure)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_in_the_block_keeps_the_old_file_and_tells_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RunError, match=r"cannot write .*a\.txt: No space left.*; free some space, then start the same"):
        write_half(path, FULL)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_disk_that_is_full_only_when_flushed_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(_: int) -> None:
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="free some space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk: {error}")
    if made.returncode:
        pytest.skip(f"cannot mount a small disk: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=20)


def test_a_disk_that_is_really_full_keeps_what_was_written_before(tiny_disk: Path) -> None:
    path = tiny_disk / "a.txt"
    write_text(path, "old")
    with pytest.raises(RunError, match=r"a\.txt: No space left on device; free some space"):
        write_text(path, "x" * 200_000)
    assert path.read_text() == "old"
    assert names(tiny_disk) == ["a.txt"]
    write_text(path, "there is room again")
    assert path.read_text() == "there is room again"


def test_a_file_where_a_folder_is_needed_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*a\.txt.*check the folder"):
        write_text(tmp_path / "file" / "a.txt", "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_name_that_the_disk_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*check the folder"):
        write_text(tmp_path / ("n" * 300), "x")


def test_a_folder_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt" / "inside").mkdir(parents=True)
    with pytest.raises(RunError, match=r"cannot write .*a\.txt"):
        write_text(tmp_path / "a.txt", "x")
    assert names(tmp_path) == ["a.txt"]


def test_yaml_and_json_come_back_as_they_went(tmp_path: Path) -> None:
    data = {"b": [1, 2.5, None, True], "a": {"name": "Gewebe µm"}}
    write_yaml(tmp_path / "a.yaml", data)
    write_json(tmp_path / "a.json", data)
    assert read_yaml(tmp_path / "a.yaml") == read_json(tmp_path / "a.json") == data
    assert list(read_yaml(tmp_path / "a.yaml")) == ["b", "a"]  # in the order given


def test_a_number_that_json_does_not_know_is_refused_and_the_old_file_kept(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == 1


@pytest.mark.parametrize("content", [
    b"a: [1", b"a: b: c", b"\xff\xfe\x00", b"!!python/object/apply:os.getcwd []",
    b"a: 2024-13-45", b"a: 1\nb: 2\na: 3",
])  # fmt: skip
def test_what_is_not_yaml_is_told_with_its_file_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(UshapeError, match=r"recipe\.yaml is not YAML") as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1,]", b"\xff\xfe\x00"])
def test_what_is_not_json_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(UshapeError, match=r"results\.json is not JSON"):
        read_json(path)


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_a_missing_file_and_a_folder_are_told_by_name(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(UshapeError, match=r"cannot read .*none\.txt: No such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(UshapeError, match=f"cannot read {tmp_path}"):
        read(tmp_path)
