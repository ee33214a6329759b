"""The recipe: every key checked, every error with its remedy."""

from dataclasses import fields
from pathlib import Path

import pytest

from ushape.cli import main
from ushape.errors import RecipeError, UshapeError
from ushape.files import read_yaml, write_yaml
from ushape.train.recipe import Recipe, make_recipe, read_settings, with_full_paths

BOUNDS = {
    "mpp": (0.05, 50.0), "crop": (16, 4096), "balanced": (0.0, 1.0), "stain": (0.0, 0.9), "steps": (1, 10**7),
    "batch": (1, 4096), "shards": (1, 64), "rate": (1e-7, 10.0), "warmup": (0.0, 0.9), "weight_decay": (0.0, 1.0),
    "clip": (1e-6, 1e6), "ema": (0.0, 0.99999), "dice": (0.0, 100.0), "elastic": (0.0, 100.0),
    "focal": (0.0, 10.0), "smoothing": (0.0, 0.5), "class_weight": (0.0, 2.0), "prior": (0.0, 2.0),
    "validations": (0, 1000),
}  # fmt: skip
NUMBERS = [f.name for f in fields(Recipe) if f.type in ("int", "float")]
WHOLE = [f.name for f in fields(Recipe) if f.type == "int"]


def refusal(values: object, where: str = "recipe") -> str:
    with pytest.raises(RecipeError) as caught:
        make_recipe(values, where=where)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [-(10**9), 10**9])
def test_every_number_has_bounds(key: str, value: int):
    assert f"{key}=" in refusal({key: value})


def test_nothing_given_is_the_default():
    assert make_recipe({}) == Recipe()


def test_a_written_recipe_is_read_back(tmp_path: Path):
    recipe = make_recipe({"steps": 7, "rate": 3e-05, "tta": "d4", "grouping": "bcss-5-seed"})
    write_yaml(tmp_path / "recipe.yaml", recipe.to_dict())
    assert make_recipe(read_yaml(tmp_path / "recipe.yaml")) == recipe


def test_keys_left_out_keep_those_of_the_base():
    assert make_recipe({"crop": 64}, Recipe(steps=5)) == Recipe(steps=5, crop=64)


def test_an_unknown_key_is_refused_with_the_nearest_and_all_known():
    told = refusal({"stpes": 5}, "my.yaml")
    assert told.startswith("my.yaml: ")
    assert "'stpes'" in told
    assert "did you mean 'steps'" in told
    assert all(f.name in told for f in fields(Recipe))


def test_an_unknown_key_like_none_gets_no_guess():
    assert "did you mean" not in refusal({"zzzzqqqq": 5})


def test_a_key_that_is_no_text_is_refused():
    assert "unknown key 1" in refusal({1: 2})


@pytest.mark.parametrize("values", [None, [], "steps", 3])
def test_what_is_no_mapping_is_refused(values: object):
    assert "mapping" in refusal(values)


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["ten", True, None, [1], {}])
def test_a_number_of_a_wrong_type_is_refused(key: str, value: object):
    told = refusal({key: value})
    assert f"{key}=" in told
    assert "type" in told


@pytest.mark.parametrize("key", WHOLE)
def test_a_fraction_is_no_whole_number(key: str):
    assert "type int" in refusal({key: 2.5})


@pytest.mark.parametrize("key", sorted(set(NUMBERS) - {*WHOLE, "unlabelled_share"}))
def test_a_whole_number_serves_as_a_fraction(key: str):
    value = getattr(make_recipe({key: 1 if key not in ("stain", "warmup", "ema", "smoothing") else 0}), key)
    assert type(value) is float


@pytest.mark.parametrize("key", ["grouping", "tta", "precision"])
@pytest.mark.parametrize("value", [5, None, "nonsense", ["none"]])
def test_a_word_that_is_not_offered_is_refused(key: str, value: object):
    told = refusal({key: value})
    assert {"grouping": "bcss-5", "tta": "none, flips, d4, zooms", "precision": "auto, float32, bf16"}[key] in told or (
        key == "grouping" and "type str" in told
    )


@pytest.mark.parametrize("key", sorted(BOUNDS))
def test_both_bounds_are_allowed_and_what_lies_beyond_is_refused(key: str):
    low, high = BOUNDS[key]
    shards = {"shards": 1} if key == "batch" else {"batch": 64} if key == "shards" else {}
    assert getattr(make_recipe({**shards, key: low}), key) == low
    assert getattr(make_recipe({**shards, key: high}), key) == high
    beyond = (low - 1, high + 1) if key in WHOLE else (low - 1e-8, high * 1.01)
    for value in beyond:
        told = refusal({**shards, key: value})
        assert f"{key}=" in told
        assert f"{low:g} to {high:g}" in told


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_out_of_range(value: float):
    assert "out of range" in refusal({"rate": value})


def test_a_batch_divides_into_its_shards():
    told = refusal({"batch": 10, "shards": 4})
    assert "batch=10" in told
    assert "shards=4" in told


def test_a_misspelt_grouping_is_told_with_the_nearest():
    assert "did you mean 'bcss-5-seed'" in refusal({"grouping": "bcss-5-sed"})


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e-3", 0.002), ("1E-4", 1e-4), ("2.5e-3", 0.0025), ("0.5", 0.5), ("12", 12), ("flips", "flips"),
     ("none", "none"), ("true", True), ("[1", "[1")],
)  # fmt: skip
def test_settings_are_read_as_yaml_with_scientific_numbers(text: str, value: object):
    read = read_settings([f"rate={text}"])["rate"]
    assert read == value
    assert type(read) is type(value)


def test_an_empty_value_is_none():
    """`teacher=$RUN` of a shell in which RUN is not set would name the current folder."""
    with pytest.raises(RecipeError, match=r"--set: teacher= has no value: write teacher=VALUE"):
        read_settings(["teacher="])
    with pytest.raises(RecipeError, match=r"r.yaml: teacher is empty"):
        make_recipe({"teacher": ""}, where="r.yaml")


@pytest.mark.parametrize("text", ["2024-01-31", "20260131", "2024-13-45", "1e5", "runs/a"])
def test_paths_are_text_whatever_they_look_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / text).mkdir(parents=True)
    recipe = make_recipe(read_settings([f"pretrained={text}"]))
    assert with_full_paths(recipe).pretrained == str(tmp_path / text)


def test_what_looks_like_a_date_and_is_none_is_text():
    assert read_settings(["schedule=2024-13-45"]) == {"schedule": "2024-13-45"}


def test_a_mere_name_stays_one_as_a_network_of_the_package_may_have_it():
    assert with_full_paths(Recipe(pretrained="bcss-demo")).pretrained == "bcss-demo"


def test_a_key_that_stands_twice_in_a_file_is_refused(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text("steps: 5\nrate: 0.1\nsteps: 6\n")
    with pytest.raises(UshapeError, match=r"recipe\.yaml is not YAML: 'steps' stands twice in .* line 3"):
        read_yaml(tmp_path / "recipe.yaml")


def test_a_setting_may_hold_an_equals_sign():
    assert read_settings(["tta=a=b"]) == {"tta": "a=b"}


@pytest.mark.parametrize("pairs", [["rate"], ["rate=1", "rate=2"]])
def test_settings_that_are_malformed_or_given_twice_are_refused(pairs: list[str]):
    with pytest.raises(RecipeError, match=r"key=value|twice"):
        read_settings(pairs)


@pytest.mark.parametrize("text", ["2e-3", "2.0e-3", "0.002", "2E-3"])
def test_a_recipe_file_may_write_numbers_scientifically(tmp_path: Path, text: str):
    (tmp_path / "recipe.yaml").write_text(f"rate: {text}\n")
    assert make_recipe(read_yaml(tmp_path / "recipe.yaml")) == Recipe(rate=0.002)


def test_steps_given_in_both_ways_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["train", "unet", "--data", ".", "--out", str(tmp_path / "run"), "--steps", "5", "--set", "steps=6"])
    assert caught.value.code == 2
    assert "--steps and --set steps=" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unknown_key_of_a_recipe_file_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine.yaml").write_text("stpes: 5\n")
    with pytest.raises(SystemExit) as caught:
        main(["train", "unet", "--data", ".", "--out", str(tmp_path / "run"), "--recipe", str(tmp_path / "mine.yaml")])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "mine.yaml: unknown key 'stpes'; did you mean 'steps'?" in told


def test_a_prior_without_balanced_crops_has_no_effect_and_is_refused():
    assert "prior has no effect with balanced=0" in refusal({"balanced": 0.0, "prior": 1.0})
    assert make_recipe({"balanced": 0.0}).prior == Recipe.prior
    assert make_recipe({"balanced": 0.0, "prior": 0.0}).prior == 0
