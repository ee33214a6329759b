"""One process at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ushape.locks import alone_in

HOLD = "import sys, time; from pathlib import Path; from ushape.locks import alone_in\n\
with alone_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"


def test_another_process_is_waited_for_until_it_ends_however_it_does(tmp_path: Path):
    folder = tmp_path / "new" / "folder"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {holder.pid}"])
    began = time.monotonic()
    with alone_in(folder, interval=0.01):
        assert time.monotonic() - began > 0.2
    killer.wait()
    holder.wait()
    holder.stdout.close()


def test_it_is_given_back(tmp_path: Path):
    for _ in range(2):
        with alone_in(tmp_path):
            assert list(tmp_path.iterdir()) == []  # and nothing is left there


def test_where_there_are_no_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone_in(tmp_path):
        pass
