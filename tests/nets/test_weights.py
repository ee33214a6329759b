"""Networks in files: what is written is read back, by a path, a run's folder, or the name of a shipped one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ushape.errors import RunError
from ushape.nets.spec import Spec
from ushape.nets.unet import build
from ushape.nets.weights import (
    SHIPPED,
    as_input,
    check_of_tissue,
    load_tensors,
    load_weights,
    patients_seen,
    save_weights,
    shipped,
    weights_file,
)
from ushape.predict.invented import invented_tissue

SAID = (0.5941, 0.321, 0.019, 0.0135, 0.0523)
"""What `bcss-demo` makes of a tile of invented tissue: mean probabilities, computed once."""

ABOUT = {"mpp": 1.2, "trained_on": ["one"]}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    net = build("unet[width=4,levels=3]+residual", seed=0).eval()
    save_weights(tmp_path / "weights.safetensors", net, ABOUT)
    for path in (tmp_path, tmp_path / "weights.safetensors"):
        found = load_weights(path)
        assert found.about["trained_on"] == ["one"]
        assert found.net.spec == net.spec
        for name, value in net.state_dict().items():
            assert torch.equal(found.net.state_dict()[name], value)


def test_what_a_network_of_tissue_does_not_say_is_told(tmp_path: Path) -> None:
    known = {"grouping": {"id": "bcss-5@1"}, "mpp": 1.2, "normalise": "none", "tta": "none"}
    check_of_tissue(tmp_path, known)
    with pytest.raises(RunError, match=r"weights\.safetensors: does not say its mpp, tta: save it again with them"):
        check_of_tissue(tmp_path, {key: value for key, value in known.items() if key not in ("mpp", "tta")})
    assert patients_seen(known) == set()
    assert patients_seen({"trained_on": ["one"], "validated_on": ["two"]}) == {"one", "two"}


def test_half_takes_half_the_bytes_and_gives_nearly_the_same(tmp_path: Path) -> None:
    net = build("unet[width=8,levels=3]", seed=0).eval()
    next(value for name, value in net.state_dict().items() if name.endswith("running_var")).fill_(1e6)  # beyond float16
    save_weights(tmp_path / "whole.safetensors", net, ABOUT)
    save_weights(tmp_path / "half.safetensors", net, ABOUT, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    found = load_weights(tmp_path / "half.safetensors").net
    image = as_input(torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        before, after = net(image), found(image)
    assert after.dtype == torch.float32
    assert bool(torch.isfinite(after).all())
    torch.testing.assert_close(after, before, atol=0.02, rtol=0.02)
    assert not torch.equal(after, before)


def test_shipped_networks_load_by_name_and_have_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "bcss-demo" in shipped()
    for name in shipped():
        file = weights_file(Path(name))
        assert file == SHIPPED / f"{name}.safetensors"
        assert file.stat().st_size <= 5e6
        about = load_weights(Path(name)).about
        assert about["trained_on"]
        card = (SHIPPED / f"{name}.md").read_text()
        for word in ("Licence", "clinical", f"{about['mpp']:g} µm", *about["grouping"]["classes"]):
            assert word in card, f"the card of {name} does not say {word}"
    monkeypatch.chdir(tmp_path)
    Path("bcss-demo").mkdir()  # a run of this name comes first
    assert weights_file(Path("bcss-demo")) == Path("bcss-demo/weights.safetensors")


def test_the_shipped_network_says_what_it_said() -> None:
    light = torch.from_numpy(invented_tissue(128))[None].float() / 255
    with torch.no_grad():
        scores = load_weights(Path("bcss-demo")).net.eval()(as_input(light))
    means = scores.softmax(1).mean((0, 2, 3))
    torch.testing.assert_close(means, torch.tensor(SAID), atol=2e-3, rtol=0)


def test_what_is_not_there_or_not_ours_is_refused(tmp_path: Path) -> None:
    for path, said in (
        (Path("bcss-dmo"), "did you mean 'bcss-demo'"),
        (tmp_path / "gone.safetensors", "train it first"),
        (tmp_path, "train it first"),
    ):
        with pytest.raises(RunError, match=said):
            load_weights(path)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match="damaged or no safetensors file"):
        load_weights(tmp_path / "bad.safetensors")


def test_a_file_that_asks_for_more_than_it_holds_is_refused_before_it_gets_it(tmp_path: Path) -> None:
    about = {"spec": Spec(widths=(8192,) * 10, depth=4).to_dict(), "in_channels": 3, "classes": 5}
    metadata = {"ushape": json.dumps(about)}
    save_file({"head.weight": torch.zeros(5)}, tmp_path / "huge.safetensors", metadata)
    with pytest.raises(RunError, match=r"huge.*it has fewer values than its network"):
        load_weights(tmp_path / "huge.safetensors")


def test_a_network_that_cannot_be_built_here_is_not_to_be_trained_again(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", build("unet[width=4,levels=2]", seed=0), {})
    tensors, metadata = load_tensors(tmp_path / "w.safetensors")
    (key,) = metadata
    save_file(tensors, tmp_path / "w.safetensors", {key: metadata[key].replace('"relu"', '"mine"')})
    with pytest.raises(RunError, match=r"its network cannot be built here: .*mine") as caught:
        load_weights(tmp_path / "w.safetensors")
    assert "train it again" not in str(caught.value)
