"""The search for one arm's learning rate in one fold: short runs, judged by the fold's validation patients alone.

    trial 1    the recipe's own rate
    others     over a tenth to ten times that rate, evenly on a logarithmic scale whatever their number: a quarter and
               three quarters along it, then the odd eighths, and so on (van der Corput 1935), so that every arm and
               fold is tried at the same rates, whatever becomes of them

A trial is a whole one-cycle schedule of its own, in fewer steps, and is judged by the macro Dice of its last step. It
is looked at three times on the way, and given up where its best look so far is below the median of the trials that
were completed (Golovin et al. 2017, 10.1145/3097983.3098043, section 3.2.1); the first two are always completed.

Trials run one after another. What is finished stands in trials.json and is told to the pruner again
when a killed search goes on; the trial at work goes on from its own state. So the choice is the same to the last bit.
The plan has no test ROIs: a search cannot look at them.

`python -m ushape.train.search FOLDER [PLUGIN...]` does what FOLDER/run.yaml and FOLDER/search.yaml say.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ushape.errors import RunError
from ushape.files import read_json, read_yaml, write_json, write_text, write_yaml
from ushape.train.places import VALIDATION
from ushape.train.run import RunPlan, open_run, read_run, work

if TYPE_CHECKING:
    import optuna
    import torch

    from ushape.threads import Lanes
    from ushape.train.recipe import Recipe
    from ushape.train.steps import Progress

REACH = 10.0
"""Rates are looked for from 1 / REACH to REACH times the recipe's."""

LOOKS = (0.4, 0.6, 0.8, 1.0)
"""When the validation patients are scored, as parts of a trial's steps."""

SEED = 100_000
"""Of every trial: no run of a study has it, so that no run is judged by crops and weights that chose its rate."""

CHOICE = "choice.json"
"""What a finished search leaves."""

LOG = "log.csv"
"""Steps of all trials together, where those that a pruned trial was spared count as done."""


@dataclass(frozen=True)
class Search:
    """What each arm gets in each fold: `trials` of `steps`."""

    trials: int
    steps: int

    def to_dict(self) -> dict[str, Any]:
        return {"key": "rate", **asdict(self), "reach": REACH, "optuna": importlib.metadata.version("optuna")}


@dataclass(frozen=True)
class Trial:
    """One rate. `looks`: (step, macro Dice of the validation patients); the last one judges a completed trial."""

    rate: float
    looks: tuple[tuple[int, float], ...] = ()
    pruned: bool = False
    failed: str | None = None
    """Why the trial cannot be judged (its loss was not finite, say); it is then not chosen."""

    @property
    def macro_dice(self) -> float | None:
        """Of the last look; None where there was none that counts."""
        return self.looks[-1][1] if self.looks and not self.failed else None

    @property
    def completed(self) -> bool:
        return not self.pruned and not self.failed

    def to_dict(self) -> dict[str, Any]:
        step = self.looks[-1][0] if self.looks else 0
        told = {"rate": self.rate, "macro_dice": self.macro_dice, "pruned": self.pruned, "step": step}
        return told | {"looks": [list(look) for look in self.looks], "failed": self.failed}


def make_search(recipe: Recipe, trials: int, steps: int | None) -> Search:
    """A search of `trials` short runs, by default of a quarter of the recipe's steps.

    RunError where optuna is not installed, with a teacher, for fewer than 2 trials, and for steps outside 1 to the
    recipe's.
    """
    if importlib.util.find_spec("optuna") is None:
        raise RunError("--tune needs optuna: pip install 'ushape[tune]'")
    if recipe.teacher != "none":
        raise RunError("--tune has no test patients to keep teachers from: leave it out, or the recipe's teacher")
    if trials < 2:
        raise RunError(f"--tune-trials {trials}: the first is the recipe's own rate: give at least 2")
    if steps is not None and not 1 <= steps <= recipe.steps:
        raise RunError(f"--tune-steps {steps}: give 1 to {recipe.steps}, the steps of a run")
    return Search(trials, max(1, round(recipe.steps / 4)) if steps is None else steps)


def open_search(folder: Path, plan: RunPlan, search: Search) -> None:
    """Write into `folder` what to look for: `plan` is a run's, of which the rate, the steps and the seed are replaced.

    RunError where the folder is another's.
    """
    recipe = replace(plan.recipe, steps=search.steps)
    open_run(folder, replace(plan, recipe=recipe, seed=SEED, test=()))
    write_yaml(folder / "search.yaml", search.to_dict())


def find_rate(
    folder: Path,
    lanes: Lanes,
    device: torch.device,
    progress: Progress = lambda step, loss: None,
    save_every: float = 20.0,
) -> None:
    """Do the search that `open_search` wrote into the folder, going on where it was left, and write choice.json.

    `progress` is called after each step with the steps done, and the loss. RunError where no trial can be judged.
    """

    plan, trials = read_run(folder), int(read_yaml(folder / "search.yaml")["trials"])
    study = _study()
    done = _read(folder / "trials.json")
    if not (folder / LOG).exists():
        write_text(folder / LOG, "step\n")
    for number, rate in enumerate(rates(plan.recipe.rate, trials)):
        trial = study.ask()
        if number == len(done):
            watched = _Watched(folder, number, plan.recipe.steps, trial, progress)
            one = replace(plan, recipe=replace(plan.recipe, rate=rate))
            done.append(_try(one, folder / f"trial{number + 1}", watched, lanes, device, save_every))
            write_json(folder / "trials.json", [each.to_dict() for each in done])
        else:
            for step, dice in done[number].looks:
                trial.report(dice, step)
        _clear(folder / f"trial{number + 1}")
        if done[number].rate != rate:
            raise RunError(f"{folder / 'trials.json'}: trial {number + 1} had another rate: remove {folder}")
        _tell(study, trial, done[number])
    judged = [each for each in done if each.completed]
    if not judged:
        raise RunError(f"{folder}: no trial can be judged; the first: {done[0].failed}; give another rate")
    best = max(judged, key=lambda each: each.macro_dice or 0.0)  # of equals the first
    _log(folder, trials * plan.recipe.steps)
    write_json(folder / CHOICE, {"rate": best.rate, "trials": [each.to_dict() for each in done]})


def rates(middle: float, count: int) -> list[float]:
    """`count` rates from 1 / REACH to REACH times `middle`, the first being that; what a recipe takes."""
    found = [middle]
    for number in range(2, count + 1):
        along = sum((number >> bit & 1) / 2 ** (bit + 1) for bit in range(number.bit_length()))  # its bits, mirrored
        found.append(float(f"{min(10.0, max(1e-7, middle * REACH ** (2 * along - 1))):.3g}"))  # as people write it
    return found


def look_steps(steps: int) -> list[int]:
    """After which of a trial's steps the validation patients are scored, the last one included."""
    return sorted({max(1, round(part * steps)) for part in LOOKS})


def _study() -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    return optuna.create_study(direction="maximize", pruner=pruner)


def _tell(study: optuna.Study, trial: optuna.Trial, made: Trial) -> None:
    from optuna.trial import TrialState

    if made.completed:
        study.tell(trial, made.macro_dice)
    else:
        study.tell(trial, state=TrialState.PRUNED if made.pruned else TrialState.FAIL)


class _Pruned(Exception):
    """This trial is given up."""


class _Watched:
    """Hears of a trial's steps, reports its looks to the pruner, and counts the steps of the whole search."""

    def __init__(self, folder: Path, number: int, steps: int, trial: optuna.Trial, progress: Progress) -> None:
        self.folder, self.before, self.trial, self.progress = folder, number * steps, trial, progress
        self.validation, self.steps = folder / f"trial{number + 1}" / VALIDATION, look_steps(steps)
        self.looks: list[tuple[int, float]] = []

    def __call__(self, step: int, loss: float) -> None:
        if not math.isnan(loss):  # a step, not the start
            _log(self.folder, self.before + step)
        if math.isnan(loss) or step in self.steps:
            self.look()
            last = self.looks[-1][0] if self.looks else 0
            if last == step and step < self.steps[-1] and self.trial.should_prune():
                raise _Pruned
        self.progress(self.before + step, loss)

    def look(self) -> None:
        """Report what validation.csv has anew. It holds what a resumed trial saw before, too."""
        from ushape.train.steps import read_log

        log, seen = read_log(self.validation), {step for step, _ in self.looks}
        for step, dice in zip(log.get("step", []), log.get("macro_dice", []), strict=True):
            if step not in seen and math.isfinite(dice):
                self.looks.append((int(step), dice))
                self.trial.report(dice, int(step))


def _try(
    plan: RunPlan, folder: Path, watched: _Watched, lanes: Lanes, device: torch.device, save_every: float
) -> Trial:
    from ushape.train.fitting import Diverged
    from ushape.train.loop import train
    from ushape.train.steps import read_log

    rate, last = plan.recipe.rate, look_steps(plan.recipe.steps)[-1]
    open_run(folder, plan)
    if (folder / "weights.safetensors").exists() and last not in read_log(folder / VALIDATION).get("step", []):
        _clear(folder)  # brought from a machine that died in between: weights without their last look
    try:
        train(plan, folder, lanes, device, watched, save_every, look_steps(plan.recipe.steps))
    except _Pruned:
        return Trial(rate, tuple(watched.looks), pruned=True)
    except Diverged as error:
        return Trial(rate, tuple(watched.looks), failed=str(error).split(": ", 1)[-1])
    watched.look()  # of a trial that was killed between its last step and its record
    if not watched.looks:
        return Trial(rate, (), failed="its validation patients hold no pixel that counts")
    return Trial(rate, tuple(watched.looks))


def _read(path: Path) -> list[Trial]:
    """Trials of trials.json; none where there is no file."""
    if not path.exists():
        return []
    try:
        return [
            Trial(each["rate"], tuple((s, d) for s, d in each["looks"]), each["pruned"], each["failed"])
            for each in read_json(path)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({error!r}): remove {path.parent}") from error


def _log(folder: Path, step: int) -> None:
    with (folder / LOG).open("a") as log:
        log.write(f"{step}\n")


def _clear(folder: Path) -> None:
    """Remove a trial's tensors: its logs stay."""
    for name in ("weights.safetensors", "state.safetensors"):
        (folder / name).unlink(missing_ok=True)


def main() -> None:
    """Do the search of a folder."""
    work(find_rate)


if __name__ == "__main__":
    main()
