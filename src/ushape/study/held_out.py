"""Which network may score which patient: only one that never saw them.

A study's arm has, for each seed, a network of every fold, and each patient belongs to the fold that held them out. A
run or weights alone are an arm of one network, for all patients that were in neither its training nor its validation
set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ushape.data.rois import in_both
from ushape.errors import RunError
from ushape.nets.spec import from_dict
from ushape.nets.weights import check_of_tissue, patients_seen, read_about, weights_file
from ushape.study.folder import read_study
from ushape.study.runner import is_finished
from ushape.study.unchanged import load_copies
from ushape.train.sources import maybe_known


@dataclass(frozen=True)
class Arm:
    """Networks that are scored as one. `seeds`: of each seed, patient -> the weights that never saw this patient."""

    name: str
    given: Path
    """The study or the run that it was found in."""
    seeds: tuple[Mapping[str, Path], ...]

    @property
    def files(self) -> list[Path]:
        """All weights, each once."""
        return list(dict.fromkeys(file for seed in self.seeds for file in seed.values()))

    def folds(self, patients: Sequence[str]) -> list[int]:
        """A number for each patient, the same for those that one network scores."""
        files = [self.seeds[0][patient] for patient in patients]
        return [files.index(file) for file in files]


def find_arms(paths: Sequence[Path], patients: Collection[str]) -> list[Arm]:
    """The arms of studies, and the networks of runs and weights, each with those of `patients` that it may score.

    A path is a study's folder, that of one arm in it, a run's, or a file of weights. RunError where it is none of these
    or named twice, a study is not finished, a run of a study saw a patient of its own test set, or an arm has seen
    every patient.
    """
    resolved = [path.resolve() for path in paths]
    for path in paths:
        if resolved.count(path.resolve()) > 1 or (_is_arm(path) and path.resolve().parent in resolved):
            raise RunError(f"{path}: is named twice: name it once")
    arms: list[Arm] = []
    for path in paths:
        if (path / "study.yaml").exists():
            found = _of_study(path, patients)
        elif _is_arm(path):
            found = _of_study(path.parent, patients, path.name)
        else:
            found = [_alone(path, patients)]
        if not found[0].seeds[0]:
            raise RunError(
                f"{path}: every patient of the data was in its training or validation set, or is not of this study: "
                "give ROIs of other patients, or the folder of a study that has them in its folds"
            )
        arms += found
    return _told_apart(arms)


def shared_patients(arms: Sequence[Arm]) -> list[str]:
    """Patients whom every arm may score, so that all arms are scored on the same; RunError where there is none."""
    shared = set.intersection(*(set(seed) for arm in arms for seed in arm.seeds))
    if not shared:
        raise RunError("there is no patient of the data whom all of these networks never saw: score them apart")
    return sorted(shared)


def _is_arm(path: Path) -> bool:
    """Whether it is the folder of one arm of a study."""
    return (path.parent / "study.yaml").exists() and path.is_dir() and not (path / "run.yaml").exists()


def _of_study(folder: Path, patients: Collection[str], only: str | None = None) -> list[Arm]:
    """The arms of a study, or the one whose folder in it is called `only`."""
    load_copies(folder)
    study = read_study(folder)
    if only is not None and only not in study.arms:
        raise RunError(f"{folder / only}: is no arm of {folder}: give one of {', '.join(study.arms)}")
    places = {run: folder / study.run_folder(*run) for run in study.runs() if only in (None, run[0])}
    missing = [place for place in places.values() if not is_finished(place)]
    if missing:
        raise RunError(f"{folder}: {len(missing)} runs are not finished ({missing[0].name}): run `ushape study resume`")
    seeds: dict[tuple[str, int], dict[str, Path]] = {}
    for (arm, fold, seed), place in places.items():
        file = weights_file(place)
        tested = set(study.folds[fold - 1].test) & set(patients)
        if seen := in_both(tested, patients_seen(read_about(file))):
            raise RunError(f"{file}: was trained on {seen[0]}, whom its fold tests: train the study again")
        seeds.setdefault((arm, seed), {}).update(dict.fromkeys(sorted(tested), file))
    return [
        Arm(given.name, folder, tuple(seeds[arm, seed] for seed in range(study.seeds)))
        for arm, given in study.arms.items()
        if only in (None, arm)
    ]


def _alone(path: Path, patients: Collection[str]) -> Arm:
    about = read_about(path)
    check_of_tissue(path, about)
    if "trained_on" not in about:
        raise RunError(f"{path}: does not say on which patients it was trained: give a run of `ushape train`")
    if unsure := maybe_known(about, patients):
        raise RunError(f"{path}: {unsure}, by whom it would be judged, may be one: give other data")
    unseen = sorted(set(patients).difference(in_both(patients, patients_seen(about))))
    return Arm(from_dict(about["spec"]).name, path, (dict.fromkeys(unseen, weights_file(path)),))


def _told_apart(arms: Sequence[Arm]) -> list[Arm]:
    """The arms with, where several have one spec, what they were found in behind their names."""
    names = [arm.name for arm in arms]
    short = [f"{arm.name} ({arm.given.resolve().name})" for arm in arms]
    long = [f"{arm.name} ({arm.given})" for arm in arms]
    made = []
    for i, arm in enumerate(arms):
        choices = [each[i] for each in (names, short, long) if each.count(each[i]) == 1]
        made.append(replace(arm, name=choices[0]))
    return made
