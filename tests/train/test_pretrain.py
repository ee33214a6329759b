"""Pretraining: blocks are hidden and restored; others start from its weights, and nothing takes them for a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ushape.data.classes import grouping
from ushape.data.images import find_images
from ushape.data.rois import find_rois
from ushape.errors import RecipeError, RunError, UshapeError
from ushape.files import read_yaml
from ushape.nets.device import pick_precision
from ushape.nets.spec import parse
from ushape.nets.unet import Network, build
from ushape.nets.weights import PRETRAINING, load_tensors, load_weights, read_about, save_weights
from ushape.threads import Lanes
from ushape.train.loop import train
from ushape.train.pretrain import PretrainRecipe, _Pretraining, hide, make_pretrain_recipe, pretrain, restoring_loss
from ushape.train.recipe import Recipe, make_recipe, with_full_paths
from ushape.train.run import RunPlan, open_run, read_run
from ushape.train.search import Search, open_search
from ushape.train.sources import sources
from ushape.train.start import start_network
from ushape.train.steps import read_log

CPU = torch.device("cpu")
SPEC = "unet[width=4,levels=3]"
RECIPE = PretrainRecipe(crop=48, batch=4, shards=2, steps=12, block=8)


def run(phantom: Path, folder: Path, lanes: int = 1, **more: Any) -> Path:
    with Lanes(lanes) as pool:
        pretrain(parse(SPEC), find_images(phantom)[:4], folder, RECIPE, 0, pool, CPU, **more)
    return folder


@pytest.fixture(scope="module")
def pretrained(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network pretrained on the first four patients."""
    return run(phantom, tmp_path_factory.mktemp("pretrain") / "run")


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


# -- the task --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "block", "share"), [(64, 16, 0.5), (50, 16, 0.3), (48, 8, 0.01), (32, 16, 0.99)])
def test_a_share_of_the_blocks_is_hidden_whole(size: int, block: int, share: float):
    made = hide(size, block, share, np.random.default_rng(0))
    assert made.shape == (size, size)
    assert 0 < made.mean() < 1
    side = -(-size // block)
    blocks = [made[y : y + block, x : x + block] for y in range(0, size, block) for x in range(0, size, block)]
    assert all(each.all() or not each.any() for each in blocks)
    assert sum(each.all() for each in blocks) == min(max(1, round(share * side**2)), side**2 - 1)


def test_the_loss_is_the_mean_error_of_hidden_pixels_alone():
    scores, aim = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 3, 8, 8)
    hidden = torch.zeros(2, 8, 8, dtype=torch.bool)
    hidden[0, :4] = True
    expected = scores[0, :, :4].abs().mean()
    torch.testing.assert_close(restoring_loss(scores, aim, hidden), expected)
    scores[1] = torch.inf
    torch.testing.assert_close(restoring_loss([scores, scores[:, :, ::2, ::2]], aim, hidden), expected)


def test_the_loss_falls_and_the_weights_tell_of_it(pretrained: Path, phantom: Path):
    losses = read_log(pretrained / "log.csv")["loss"]
    assert len(losses) == 12
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    about = read_about(pretrained)
    assert about[PRETRAINING] == "masked image modelling"
    assert about["trained_on"] == sorted({p.patient for p in find_images(phantom)[:4]})
    assert sorted(p.name for p in pretrained.iterdir()) == ["log.csv", "pretrain.yaml", "weights.safetensors"]


def test_lanes_and_interruptions_change_no_bit(tmp_path: Path, phantom: Path, pretrained: Path):
    def stop(step: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(phantom, tmp_path / "run", progress=stop)
    assert (tmp_path / "run" / "state.safetensors").exists()
    assert weights(run(phantom, tmp_path / "run", lanes=2)) == weights(pretrained)


def test_the_same_images_at_another_pixel_size_are_another_run(tmp_path: Path, phantom: Path):
    pictures = find_images(phantom)[:2]
    recipe = replace(RECIPE, steps=1)
    with Lanes(1) as pool:
        pretrain(parse(SPEC), pictures, tmp_path / "run", recipe, 0, pool, CPU)
        larger = [replace(picture, mpp=2 * picture.mpp) for picture in pictures]
        with pytest.raises(RunError, match="belongs to another run: its mpp is"):
            pretrain(parse(SPEC), larger, tmp_path / "run", recipe, 0, pool, CPU)


def test_all_that_the_optimiser_keeps_is_on_the_device_of_the_weights(tmp_path: Path):
    """The fused AdamW of GPUs refuses a count of steps that is elsewhere."""
    with Lanes(1) as pool:
        recipe, device = replace(RECIPE, precision="float32"), torch.device("meta")
        made = _Pretraining(build(parse(SPEC), 3, 3, 0), recipe, 0, tmp_path, pool, device)
    kept = [tensor for state in made.optimiser.state.values() for tensor in state.values()]
    assert len(kept) == 3 * len(made.parameters)
    assert {tensor.device.type for tensor in kept} == {"meta"}


@pytest.mark.parametrize(
    ("values", "told"), [({"hidden": 0.0}, "hidden"), ({"block": 90}, "block"), ({"dice": 1}, "unknown key")]
)
def test_keys_are_checked(values: dict[str, Any], told: str):
    with pytest.raises(RecipeError, match=told):
        make_pretrain_recipe(values)


@pytest.mark.parametrize(("start", "same"), [("auto", True), ("none", False)])
def test_an_encoder_goes_on_from_imagenet(tmp_path: Path, phantom: Path, start: str, same: bool):
    spec = parse("unet[widths=4-4-8,depth=1,encoder=efficientnet-lite]")
    recipe = replace(RECIPE, steps=1, rate=1e-7, warmup=0.0, ema=0.0, pretrained=start)
    with Lanes(1) as pool:
        pretrain(spec, find_images(phantom)[:1], tmp_path / "run", recipe, 0, pool, CPU)
    made = load_tensors(tmp_path / "run" / "weights.safetensors")[0]
    imagenet = build(spec, 3, 3, 0, "imagenet").state_dict()
    kernels = [name for name, value in imagenet.items() if name.startswith("encoder.") and value.ndim == 4]
    assert kernels
    assert all(torch.allclose(made[name], imagenet[name], atol=1e-6) for name in kernels) == same


def test_imagenet_where_there_is_none_is_refused(tmp_path: Path, phantom: Path):
    recipe = replace(RECIPE, pretrained="imagenet")
    with Lanes(1) as pool, pytest.raises(RecipeError, match="pretrained=imagenet has no effect on unet"):
        pretrain(parse(SPEC), find_images(phantom)[:1], tmp_path / "run", recipe, 0, pool, CPU)
    assert not (tmp_path / "run").exists()


# -- starting from it ------------------------------------------------------------------------------------------------


def test_all_but_the_head_comes_from_the_file(pretrained: Path):
    recipe = Recipe(pretrained=str(pretrained))
    given = load_tensors(pretrained / "weights.safetensors")[0]
    started, random = (start_network(parse(SPEC), r, 5, 0).state_dict() for r in (recipe, Recipe()))
    for name, tensor in started.items():
        assert torch.equal(tensor, random[name] if name.startswith("head.") else given[name]), name


def test_a_network_that_shares_the_encoder_takes_that(pretrained: Path):
    given = load_tensors(pretrained / "weights.safetensors")[0]
    net = start_network(parse(SPEC + "+attention-gate"), Recipe(pretrained=str(pretrained)), 5, 0).state_dict()
    encoder = [name for name in given if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(net[name], given[name]) for name in encoder)


def test_a_network_of_the_package_can_be_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    recipe = with_full_paths(make_recipe({"pretrained": "bcss-demo"}))
    made = start_network(parse("ushape-small"), recipe, 5, 0).state_dict()
    shipped = load_weights(Path("bcss-demo")).net.state_dict()
    assert all(torch.equal(made[name], shipped[name]) for name in made if not name.startswith("head"))
    assert sources(recipe, ["PHAN-P1-0001"], [], None)["pretrained"]
    with pytest.raises(RunError, match=r"SEED-01-R001, whom this run is tested on .*: a leak"):
        sources(recipe, ["SEED-01-R001"], [], None)
    with pytest.raises(RunError, match="did you mean 'bcss-demo'"):
        sources(replace(recipe, pretrained="bcss-dem"), [], [], None)


def test_a_network_that_nothing_fits_is_refused_with_the_count(pretrained: Path):
    with pytest.raises(RunError, match=r"0 of \d+ tensors of unet\[.*width=6.*\] fit"):
        start_network(parse("unet[width=6,levels=2]"), Recipe(pretrained=str(pretrained)), 5, 0)


def of(plan: RunPlan, pretrained: Path, **more: Any) -> RunPlan:
    recipe = replace(plan.recipe, pretrained=str(pretrained), steps=1, validations=1, **more)
    return replace(plan, recipe=recipe)


def test_what_began_trained_stays_as_it_was_at_a_rate_of_0_while_the_rest_learns(
    tmp_path: Path, plan: RunPlan, pretrained: Path
):
    given = load_tensors(pretrained / "weights.safetensors")[0]
    kernels = [name for name, tensor in given.items() if tensor.ndim > 1]
    changed = {}
    for rate in (0.0, 1.0):
        made = replace(of(plan, pretrained, pretrained_rate=rate), train=plan.train[:1], test=(), validation=())
        began = start_network(made.spec, made.recipe, 5, made.seed).state_dict()
        with Lanes(1) as lanes:
            train(made, tmp_path / str(rate), lanes, CPU)
        ends = load_tensors(tmp_path / str(rate) / "weights.safetensors")[0]
        changed[rate] = {name for name in kernels if not torch.equal(ends[name], began[name])}
    assert changed[0.0] == {name for name in kernels if name.startswith("head.")}
    assert changed[1.0] == set(kernels)


def test_a_run_from_it_remembers_whom_it_knows_and_what_it_began_with(
    tmp_path: Path, plan: RunPlan, pretrained: Path, phantom: Path
):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights(pretrained))
    made = replace(of(plan, copy), train=plan.train[:1], test=())
    open_run(tmp_path / "run", made)
    with Lanes(1) as lanes:
        train(made, tmp_path / "run", lanes, CPU)
    assert load_weights(tmp_path / "run").about["trained_on"] == sorted({p.patient for p in find_images(phantom)[:4]})
    assert read_yaml(tmp_path / "run" / "run.yaml")["sources"]["pretrained"]
    assert read_run(tmp_path / "run") == made
    copy.write_bytes(weights(tmp_path / "run"))
    with pytest.raises(RunError, match=r"another run: its sources\.pretrained"):
        open_run(tmp_path / "run", made)
    with pytest.raises(RunError, match="its pretrained is not what it began with"):
        read_run(tmp_path / "run")


def test_a_test_patient_in_the_weights_stops_a_run(tmp_path: Path, plan: RunPlan, pretrained: Path):
    leaky = replace(of(plan, pretrained), train=plan.train[1:], test=plan.train[:1])
    told = rf"trained on patient {plan.train[0].patient}, whom this run is tested on .*a leak"
    with pytest.raises(RunError, match=told):
        open_run(tmp_path / "run", leaky)
    with Lanes(1) as lanes, pytest.raises(RunError, match=told):
        train(leaky, tmp_path / "other", lanes, CPU)


def test_a_validation_patient_that_the_weights_were_trained_on_stops_a_run(
    tmp_path: Path, plan: RunPlan, pretrained: Path
):
    leaky = replace(of(plan, pretrained), train=plan.train[1:], validation=plan.train[:1])
    told = rf"trained on patient {plan.train[0].patient}, whom this run is validated on .*a leak.*validations, --val"
    with pytest.raises(RunError, match=told):
        open_run(tmp_path / "run", leaky)
    with pytest.raises(RunError, match=told):
        open_search(tmp_path / "search", leaky, Search(2, 1))
    with Lanes(1) as lanes, pytest.raises(RunError, match=told):
        train(leaky, tmp_path / "other", lanes, CPU)
    open_run(tmp_path / "unseen", replace(leaky, validation=()))


def test_a_validation_patient_on_whom_the_weights_were_chosen_stops_nothing(
    tmp_path: Path, plan: RunPlan, pretrained: Path
):
    about = {"trained_on": [], "validated_on": plan.patients("validation")}
    save_weights(tmp_path / "chosen.safetensors", load_weights_of(pretrained), about)
    open_run(tmp_path / "run", of(plan, tmp_path / "chosen.safetensors"))


def test_a_test_patient_on_whom_the_weights_were_chosen_stops_a_run(tmp_path: Path, plan: RunPlan, pretrained: Path):
    about = {"trained_on": [], "validated_on": plan.patients("test")}
    save_weights(tmp_path / "chosen.safetensors", load_weights_of(pretrained), about)
    with pytest.raises(RunError, match=rf"{plan.patients('test')[0]}, whom this run is tested on .*: a leak"):
        open_run(tmp_path / "run", of(plan, tmp_path / "chosen.safetensors"))


def test_a_run_remembers_on_whom_its_first_weights_were_chosen(tmp_path: Path, plan: RunPlan, pretrained: Path):
    file = tmp_path / "chosen.safetensors"
    save_weights(file, load_weights_of(pretrained), {"trained_on": ["PHAN-X1-0001"], "validated_on": ["PHAN-Y1-0001"]})
    made = replace(of(plan, file), train=plan.train[:1], test=())
    with Lanes(1) as lanes:
        train(made, tmp_path / "run", lanes, CPU)
    about = load_weights(tmp_path / "run").about
    assert about["trained_on"] == sorted([*made.patients("train"), "PHAN-X1-0001"])
    assert about["validated_on"] == sorted([*made.patients("validation"), "PHAN-Y1-0001"])


@pytest.mark.parametrize("spelt", [str.lower, lambda name: name.replace("0", "O")])
@pytest.mark.parametrize("part", ["test", "validation"])
def test_patients_that_the_weights_know_are_found_however_spelt(
    tmp_path: Path, plan: RunPlan, pretrained: Path, part: str, spelt: Callable[[str], str]
):
    about = {"trained_on": [spelt(name) for name in plan.patients(part)], "validated_on": []}
    assert about["trained_on"] != plan.patients(part)
    save_weights(tmp_path / "known.safetensors", load_weights_of(pretrained), about)
    with pytest.raises(RunError, match=rf"trained on patient {about['trained_on'][0]}, whom this run is"):
        open_run(tmp_path / "run", of(plan, tmp_path / "known.safetensors"))


@pytest.mark.parametrize("source", ["pretrained", "teacher"])
def test_weights_that_do_not_say_whom_they_know_stop_a_run_that_is_judged(
    tmp_path: Path, plan: RunPlan, pretrained: Path, source: str
):
    about = {"grouping": grouping(plan.recipe.grouping).describe(), "mpp": plan.recipe.mpp}
    about |= {"normalise": plan.recipe.normalise, "tta": "none"}
    file = tmp_path / "silent.safetensors"
    save_weights(file, load_weights_of(pretrained), about)
    silent = replace(plan, recipe=replace(plan.recipe, **{source: str(file)}))
    with pytest.raises(RunError, match=r"silent.* does not say on which patients it was trained.*: give weights as"):
        open_run(tmp_path / "run", silent)
    open_run(tmp_path / "unjudged", replace(silent, validation=(), test=()))


def test_the_packages_weights_do_not_go_with_patients_of_tcga(tmp_path: Path, plan: RunPlan):
    given = replace(plan, recipe=replace(plan.recipe, pretrained="bcss-demo"))
    open_run(tmp_path / "run", given)
    tcga = replace(given, test=tuple(replace(roi, name=f"TCGA-A1-A0{i}K-DX1") for i, roi in enumerate(plan.test)))
    with pytest.raises(RunError, match=r"bcss-demo.*10 patients of TCGA whose true names are not known.*TCGA-A1-A00K"):
        open_run(tmp_path / "other", tcga)


def load_weights_of(pretrained: Path) -> Network:
    net = build(SPEC, 3, 3)
    net.load_state_dict(load_tensors(pretrained / "weights.safetensors")[0])
    return net


@pytest.mark.parametrize("change", ["precision", "seed"])
def test_what_would_come_out_otherwise_is_refused(
    tmp_path: Path, phantom: Path, pretrained: Path, monkeypatch: pytest.MonkeyPatch, change: str
):
    fast = read_yaml(pretrained / "pretrain.yaml")["recipe"]["precision"]
    assert fast == pick_precision("auto", CPU)
    with Lanes(1) as lanes:
        if change == "seed":
            with pytest.raises(UshapeError, match="seed 300000000000 is out of range"):
                pretrain(parse(SPEC), find_images(phantom)[:4], tmp_path / "new", RECIPE, 300_000_000_000, lanes, CPU)
            assert not (tmp_path / "new").exists()
            return
        other = {"bf16": {}, "float32": {"avx512_bf16": True}}[fast]
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: other)
        with pytest.raises(RunError, match=rf"recipe\.precision is {fast}, not .*--set precision={fast}"):
            run(phantom, pretrained)


@pytest.mark.parametrize("words", [["evaluate", "RUN", "--data", "DATA"], ["predict", "RUN", "DATA", "--out", "OUT"]])
def test_commands_that_need_classes_refuse_it(run: Any, pretrained: Path, phantom: Path, tmp_path: Path, words: Any):
    at = {"RUN": pretrained, "DATA": phantom, "OUT": tmp_path / "out"}
    made = run(*(at.get(word, word) for word in words))
    assert made.code == 2
    assert "has no classes" in made.err


def test_the_command_pretrains(run: Any, phantom: Path, tmp_path: Path):
    words = ["pretrain", SPEC, "--data", phantom, "--out", tmp_path / "run", "--steps", 2, "--threads", 1]
    made = run(*words, "--set", "crop=48", "batch=2", "shards=1")
    assert made.code == 0, made.err
    assert "pretrained=" in made.out
    again = run(*words, "--set", "crop=48", "batch=2", "shards=1", "stain=0")
    assert again.code == 2
    assert "recipe.stain" in again.err


def test_images_of_the_bcss_layout_are_those_of_its_rois(phantom: Path):
    assert [p.name for p in find_images(phantom)] == [r.name for r in find_rois(phantom)]
