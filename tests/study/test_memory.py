"""Memory that is there and memory that is needed, from files of control groups and from a process that holds some."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ushape.study.memory import ASSUMED, MARGIN, Needs, available, own_memory

GIB = 2**30


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 64 GiB available."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 64 * GIB}))


def test_without_control_groups_the_machine_counts(tmp_path: Path):
    assert available(tmp_path / "none", tmp_path) == 64 * GIB


def test_the_tightest_group_above_this_process_counts(tmp_path: Path):
    write(tmp_path, cgroup="0::/user/job")
    stat = f"anon 1\ninactive_file {GIB}"
    write(tmp_path / "fs/user/job", memory__max="max", memory__current=GIB, memory__stat=stat)
    write(tmp_path / "fs/user", memory__max=8 * GIB, memory__current=3 * GIB, memory__stat=stat)
    assert available(tmp_path / "cgroup", tmp_path / "fs") == (8 - 3 + 1) * GIB


def test_a_container_sees_its_own_group_at_the_root(tmp_path: Path):
    write(tmp_path, cgroup="0::/somewhere/outside")
    write(tmp_path / "fs", memory__max=4 * GIB, memory__current=3 * GIB, memory__stat="inactive_file 0")
    assert available(tmp_path / "cgroup", tmp_path / "fs") == GIB


def test_version_1_of_control_groups(tmp_path: Path):
    write(tmp_path, cgroup="5:cpu,cpuacct:/job\n4:memory:/job")
    unlimited = 9223372036854771712
    for folder, limit in (("fs/memory/job", 2 * GIB), ("fs/memory", unlimited)):
        stat = "total_inactive_file 0"
        write(tmp_path / folder, memory__limit_in_bytes=limit, memory__usage_in_bytes=GIB, memory__stat=stat)
    assert available(tmp_path / "cgroup", tmp_path / "fs") == GIB


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path):
    write(tmp_path, cgroup="0::/")
    write(tmp_path / "fs", memory__max=GIB, memory__current=2 * GIB, memory__stat="inactive_file 0")
    assert available(tmp_path / "cgroup", tmp_path / "fs") == 0


def test_needs_are_the_largest_seen_and_a_margin_once_a_run_has_made_steps():
    needs = Needs()
    assert needs.of("a") == ASSUMED
    needs.saw("a", GIB, False)
    assert needs.of("a") == ASSUMED  # it may be reading its images still
    needs.saw("a", GIB // 2, True)
    assert needs.of("a") == MARGIN * GIB
    assert needs.of("b") == ASSUMED


def test_a_kind_not_seen_yet_is_taken_to_need_what_the_hungriest_does():
    needs = Needs()
    needs.saw("a", 10 * GIB, True)
    assert needs.of("b") == MARGIN * 10 * GIB


def test_own_memory_is_what_a_process_took():
    line = "import sys; held = b'x' * (200 << 20); print(len(held), flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdin
    process.stdout.readline()
    assert 200 << 20 < own_memory(process.pid) < 260 << 20
    process.stdin.close()
    process.wait()
    process.stdout.close()
    assert own_memory(process.pid) == 0


def test_own_memory_does_not_count_files_that_are_mapped(tmp_path: Path):
    (tmp_path / "pixels").write_bytes(bytes(100 << 20))
    before = own_memory(os.getpid())
    import mmap

    with (tmp_path / "pixels").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pixels:
        assert sum(pixels[:: mmap.PAGESIZE]) == 0
        assert own_memory(os.getpid()) - before < 50 << 20
