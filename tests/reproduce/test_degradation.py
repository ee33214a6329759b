"""Training loss against depth: what is compared with what, and a small sweep that really trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from ushape.data.phantom import write_phantom
from ushape.errors import RunError
from ushape.files import read_json
from ushape.nets.spec import parse
from ushape.reproduce import degradation, depth_figure
from ushape.reproduce.degradation import BLOCKS, DEPTHS, NORMS, Point, change, final_loss, spec, sweep, verdicts
from ushape.train.steps import read_log


def points(losses: dict[tuple[str, int], tuple[float | None, ...]]) -> list[Point]:
    """The same losses in either normalisation; 1.0 for what is not given."""
    return [
        Point("tissue", block, norm, depth, losses.get((block, depth), (1.0, 1.0, 1.0)))
        for norm in NORMS
        for block in BLOCKS
        for depth in DEPTHS
    ]


def test_changes_are_paired_by_seed() -> None:
    made = change((1.3, 1.4, 1.6), (1.0, 1.2, 1.3))
    low, high = stats.t.interval(0.95, 2, 0.8 / 3, stats.sem([0.3, 0.2, 0.3]))
    assert (made.difference, made.low, made.high) == pytest.approx((0.8 / 3, low, high))


def test_a_run_that_diverged_leaves_no_number() -> None:
    assert vars(change((1.3, None, 1.6), (1.0, 1.2, 1.3))) == {"difference": None, "low": None, "high": None}


def test_the_claim_is_asked_of_the_deepest_against_each_and_of_the_shortcut_at_each() -> None:
    rows = verdicts(points({("plain", 8): (1.5, 1.5, 1.5), ("residual", 8): (0.9, 0.9, 0.9)}))
    told = {row["what"]: row["difference"] for row in rows if row["norm"] == "none"}
    assert told == pytest.approx(
        {f"plain: depth 8 - depth {d}": 0.5 for d in (1, 2, 4)}
        | {f"residual: depth 8 - depth {d}": -0.1 for d in (1, 2, 4)}
        | {f"depth {d}: residual - plain": 0.0 for d in (1, 2, 4)}
        | {"depth 8: residual - plain": -0.6}
    )


@pytest.mark.parametrize("block", list(BLOCKS))
@pytest.mark.parametrize("norm", NORMS)
def test_every_network_is_a_spec_of_its_depth(block: str, norm: str) -> None:
    for depth in DEPTHS:
        made = parse(spec(block, norm, depth))
        assert (made.depth, made.widths, made.choice("norm").name) == (depth, (8, 16, 32), norm)


def test_a_sweep_trains_resumes_and_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (degradation, depth_figure):
        monkeypatch.setattr(module, "NORMS", ("batch",))
        monkeypatch.setattr(module, "DEPTHS", (1,))
    monkeypatch.setattr(degradation, "RECIPE", replace(degradation.RECIPE, crop=32, batch=2, shards=1))
    write_phantom(tmp_path / "phantom", patients=2, size=64)
    made = sweep([tmp_path / "phantom"], tmp_path / "out", seeds=2, steps=3, jobs=2)
    assert [(p.block, p.depth, len(p.losses)) for p in made] == [("plain", 1, 2), ("residual", 1, 2)]
    run = tmp_path / "out" / "phantom" / "residual-batch-1" / "seed1"
    assert made[1].losses[1] == final_loss(run) == read_log(run / "log.csv")["loss"][-1]
    written = (run / "log.csv").stat().st_mtime_ns
    assert sweep([tmp_path / "phantom"], tmp_path / "out", seeds=2, steps=3, jobs=2) == made
    assert (run / "log.csv").stat().st_mtime_ns == written
    depth_figure.draw(made, tmp_path / "figure.svg")
    assert "<svg" in (tmp_path / "figure.svg").read_text()
    with pytest.raises(RunError, match=r"belongs to another run: its recipe\.steps"):
        sweep([tmp_path / "phantom"], tmp_path / "out", seeds=2, steps=4)
    write_phantom(tmp_path / "other" / "phantom", patients=2, size=64, seed=1)
    with pytest.raises(RunError, match="belongs to another run: its fingerprint"):
        sweep([tmp_path / "other" / "phantom"], tmp_path / "out", seeds=2, steps=3)


def test_one_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--seeds 1"):
        sweep([tmp_path], tmp_path, seeds=1, steps=3)


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "roi", tmp_path / "b" / "roi"]
    for given in (folders, [folders[0]] * 2):
        with pytest.raises(RunError, match=r"--data .*/a/roi .*/roi: both are called roi, .*: rename one of them"):
            sweep(given, tmp_path / "out", seeds=2, steps=3)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(plan: object, folder: Path, *_: object) -> None:
        (folder / "log.csv").write_text("step,loss,gradient_norm,rate,seconds\n1,2.0,1,1,1\n2,3.0,1,1,2\n")
        raise degradation.Diverged("the loss is nan")

    def work(job: object) -> None:
        job(tmp_path, None, None)  # type: ignore[operator]

    monkeypatch.setattr(degradation, "train", train)
    monkeypatch.setattr(degradation, "work", work)
    monkeypatch.setattr(degradation, "read_run", lambda folder: None)
    degradation.main()
    assert read_json(tmp_path / "loss.json") == {"loss": None, "diverged_at": 3}
