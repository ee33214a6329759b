"""Locks that the system drops with their holder."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ushape.errors import RunError
from ushape.locks import holding, is_held

HOLD = """import sys, time
from pathlib import Path
from ushape.locks import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "run.yaml").write_text("a plan")
    return tmp_path / "run.yaml"


def test_another_process_is_waited_for_until_it_ends_however_it_does(file: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    assert is_held(file)
    with pytest.raises(RunError, match="another process is at work"), holding(file, patience=0.1):
        pytest.fail("held twice")
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {holder.pid}"])
    began = time.monotonic()
    with holding(file):
        assert time.monotonic() - began > 0.1
    killer.wait()
    holder.wait()
    holder.stdout.close()


def test_it_is_given_back_and_nothing_is_written(file: Path):
    for _ in range(2):
        with holding(file):
            assert is_held(file)
        assert not is_held(file)
    assert [p.name for p in file.parent.iterdir()] == ["run.yaml"]
    assert file.read_text() == "a plan"


def test_where_there_are_no_locks_or_no_file_work_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch):
    with holding(file.with_name("none")):
        assert not is_held(file.with_name("none"))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with holding(file):
        assert not is_held(file)
