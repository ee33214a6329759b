"""A study's folder: what it asks (study.yaml), its folds, and the plugins that its specs need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ushape.data.splits import Fold
from ushape.errors import RunError
from ushape.files import read_json, read_yaml, write_json, write_text
from ushape.nets.budget import By
from ushape.nets.plugin import files, hashes
from ushape.nets.spec import Spec, parse
from ushape.study.design import Arm, Study, parse_arm
from ushape.study.factorial import Design, make_design
from ushape.train.recipe import Recipe, make_recipe
from ushape.train.run import claim
from ushape.train.search import Search
from ushape.train.sources import sources
from ushape.versions import versions


def solved_before(folder: Path, given: Sequence[Arm | Spec], matched: By | None) -> tuple[Arm, ...]:
    """The arms of the study in `folder`, where their widths were solved for this same question; else none.

    Solving again may come to others: what a network takes in time differs from one measurement to the next.
    """
    if matched is None or not (folder / "study.yaml").exists():
        return ()
    question, asked = read_question(folder), [each.name for each in given]
    if question.get("matched") != matched or question.get("asked") != asked:
        return ()
    return _read_arms(folder, question)[1]


def open_study(folder: Path, study: Study) -> None:
    """Write study.yaml, folds.json and a copy of the plugins that the specs need, or find the same study in the folder.

    RunError where it is another's, or its folds were changed.
    """
    content = {
        "arms": [replace(arm, called=None).name for arm in study.given],
        "called": [arm.called for arm in study.given],
        "asked": list(study.asked),
        "plugins": hashes(study.specs),
        "design": _told(study.design),
        "base": study.base.name if study.base else None,
        "matched": study.matched,
        "margin": study.margin,
        "tuning": study.search.to_dict() if study.search else None,
        "recipe": study.recipe.to_dict(),
        "data": str(study.data.resolve()),
        "mpp": study.mpp,
        "fingerprint": study.fingerprint,
        "folds": study.split,
        "seeds": study.seeds,
        "sources": [sources(study.recipe, fold.test, fold.validation, study.mpp) for fold in study.folds],
        "versions": versions(),
    }
    plugins = files(study.specs)
    claim(folder, folder / "study.yaml", content, "study")
    for file in plugins:
        write_text(folder / "plugins" / file.name, file.read_text())
    folds = [fold.to_dict() | {"shares": share} for fold, share in zip(study.folds, study.shares, strict=True)]
    if not (folder / "folds.json").exists():
        write_json(folder / "folds.json", folds)
    elif read_json(folder / "folds.json") != folds:
        raise RunError(f"{folder / 'folds.json'}: was changed: put the file back, or begin another study")


def copies(study: Study, folder: Path) -> tuple[Path, ...]:
    """The copies in a study's folder of the plugins that its specs need: the files beside may change meanwhile."""
    return tuple(folder / "plugins" / file.name for file in files(study.specs))


def read_question(folder: Path) -> dict[str, Any]:
    """What study.yaml holds; RunError where there is none, or it is damaged."""
    path = folder / "study.yaml"
    if not path.exists():
        raise RunError(f"{folder}: holds no study.yaml: give a folder that `ushape compare` made")
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise RunError(f"{path}: is no study of ushape: put the file back, or begin another study")
    return data


def arm_names(question: Mapping[str, Any]) -> list[str]:
    """The names of the arms of what study.yaml holds, from its text alone: no plugin need be loaded."""
    names = []
    for name, called in zip(question["arms"], question["called"], strict=True):
        spec, *changes = name.split()
        names.append(" ".join([called or spec, *changes]))
    return names


def read_study(folder: Path) -> Study:
    """The study of a folder; RunError where there is none."""
    data = read_question(folder)
    recipe, given = _read_arms(folder, data)
    if not (folder / "folds.json").exists():
        raise RunError(
            f"{folder / 'folds.json'}: is missing: repeat the command that began the study, it writes it anew"
        )
    try:
        folds = read_json(folder / "folds.json")
        shares = tuple(fold.pop("shares") for fold in folds)
        return Study(
            given=given,
            recipe=recipe,
            data=Path(data["data"]),
            mpp=data["mpp"],
            folds=tuple(Fold(**{k: tuple(v) for k, v in fold.items()}) for fold in folds),
            seeds=int(data["seeds"]),
            fingerprint=data["fingerprint"],
            shares=shares,
            design=make_design(**data["design"]) if data["design"] else None,
            base=parse(data["base"]) if data["base"] else None,
            matched=data["matched"],
            asked=tuple(data["asked"]),
            margin=data["margin"],
            official=data["folds"] == "official",
            search=Search(data["tuning"]["trials"], data["tuning"]["steps"]) if data["tuning"] else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _of_another_version(folder, error) from error


def _read_arms(folder: Path, question: Mapping[str, Any]) -> tuple[Recipe, tuple[Arm, ...]]:
    """The recipe and the arms of what study.yaml holds."""
    try:
        recipe = make_recipe(question["recipe"])
        named = zip(question["arms"], question["called"], strict=True)
        return recipe, tuple(replace(parse_arm(name, recipe), called=called) for name, called in named)
    except (KeyError, TypeError) as error:
        raise _of_another_version(folder, error) from error


def _of_another_version(folder: Path, error: Exception) -> RunError:
    path = folder / "study.yaml"
    return RunError(
        f"{path}: is no study of this version of ushape ({error!r}): report on it with the one that made it"
    )


def _told(design: Design | None) -> dict[str, Any] | None:
    """What `make_design` needs to make it again."""
    if design is None:
        return None
    return {"kind": design.kind, "factors": list(design.factors), "halvings": design.halvings}
