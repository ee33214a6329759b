"""Processes that end with the one that started them. `Deferred` is tested with the training loop."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ushape.interrupts import PARENT

WAIT = """import time
from ushape.interrupts import stop_with_parent
stop_with_parent(0.02, 0.5)
print("ready", flush=True)
"""
TELL = """
try:
    work()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
SLEEP = "def work():\n    time.sleep(600)" + TELL
BUSY = "def work():\n    while True: sum(range(1000))" + TELL


@pytest.mark.parametrize("work", [SLEEP, BUSY])
def test_a_process_whose_parent_is_killed_is_interrupted_whatever_it_is_at(work: str):
    line = "import subprocess as s, sys; s.Popen([sys.executable, '-c', sys.argv[1]]).wait()"
    parent = subprocess.Popen([sys.executable, "-c", line, WAIT + work], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    assert parent.stdout.readline() == "interrupted\n"  # the end of the pipe is the child's
    parent.stdout.close()


GONE = "import time; from ushape.interrupts import stop_with_parent\n"


def run(code: str) -> str:
    """What a process says whose $USHAPE_PARENT has ended long ago."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    environment = {**os.environ, PARENT: str(gone.pid)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout


def test_a_parent_that_was_gone_before_is_noticed():
    assert run(GONE + "def work():\n    stop_with_parent()\n    time.sleep(600)" + TELL) == "interrupted\n"


def test_an_interrupt_that_is_swallowed_comes_again():
    first = "def work():\n    stop_with_parent(0.02, 0.5)\n    time.sleep(600)" + TELL
    assert run(GONE + first + SLEEP) == "interrupted\n" * 2


def test_a_process_that_was_started_with_the_signal_blocked_is_interrupted_all_the_same():
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
    assert run(block + GONE + "def work():\n    stop_with_parent()\n    time.sleep(5)" + TELL) == "interrupted\n"
