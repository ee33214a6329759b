"""The spec algebra: one spec, one name, and errors that say what to write instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import specs
from hypothesis import given
from hypothesis import strategies as st

from ushape.errors import SpecError
from ushape.nets.registry import AXES, home, modifications
from ushape.nets.spec import Choice, Spec, from_dict, from_yaml, parse


@given(specs.specs())
def test_name_is_read_back(spec: Spec) -> None:
    assert parse(spec.name) == spec
    assert parse(spec.name).name == spec.name == str(spec)
    assert hash(parse(spec.name)) == hash(spec)


@given(specs.specs())
def test_yaml_is_read_back(spec: Spec) -> None:
    assert from_yaml(spec.to_yaml()) == spec
    assert from_dict(spec.to_dict()) == spec


@given(specs.specs(), specs.specs())
def test_equal_names_are_equal_specs(a: Spec, b: Spec) -> None:
    assert (a == b) == (a.name == b.name) == (a.to_yaml() == b.to_yaml())
    if a == b:
        assert hash(a) == hash(b)


@given(specs.specs(), st.randoms(use_true_random=False))
def test_order_is_irrelevant(spec: Spec, random: Any) -> None:
    """Terms behind + and keys in brackets, in any order."""
    inside, behind = [], []
    for axis in AXES:
        choice = spec.choice(axis)
        if choice.name != "none" and home(choice.name).axis == axis and random.random() < 0.7:
            behind.append(f"+{choice}")
        else:
            inside.append(f"{axis}={choice}")
    inside += [f"widths={'-'.join(map(str, spec.widths))}", f"depth={spec.depth}", f"dropout={spec.dropout!r}"]
    random.shuffle(inside)
    random.shuffle(behind)
    assert parse(f"unet[{','.join(inside)}]" + "".join(behind)) == spec


@given(st.sampled_from(modifications()))
def test_parameters_at_their_defaults_are_not_written(modification: Any) -> None:
    named = Spec(**{modification.axis: Choice(modification.name, tuple(modification.options.items()))})
    assert named == Spec(**{modification.axis: Choice(modification.name)})
    assert "=" not in named.name.replace(f"{modification.axis}=", "")


@given(st.text(alphabet="unet+[]=,-:._ 01resdualgt", max_size=40))
def test_any_text_is_a_spec_or_an_error_that_says_so(text: str) -> None:
    try:
        spec = parse(text)
    except SpecError as error:
        said = str(error)
    else:
        said = repr(text) if parse(spec.name) == spec else spec.name
    assert repr(text) in said


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["widths", "depth", "dropout", "skip", "norm", "aspp", "rates"]), inner,
                        max_size=3), max_leaves=6))  # fmt: skip
def test_any_data_is_a_spec_or_an_error(data: object) -> None:
    try:
        spec = from_dict(data)
    except SpecError:
        return
    assert parse(spec.name) == spec


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("unet", "unet"),
        ("unet[width=32,levels=5,depth=2]+concatenate+max-pool", "unet"),
        (" unet[ width = 16 ] + aspp[ rates = 2-4-6 ] ", "unet[width=16]+aspp[rates=2-4-6]"),
        ("unet+attention-gate+nested+aspp", "unet+attention-gate+aspp+nested"),
        ("unet[widths=16-32-64,block=plain]", "unet[width=16,levels=3]"),
        ("unet[skip=none,up=bilinear[kernel=0]]", "unet[skip=none]+bilinear[kernel=0]"),
        ("unet[padding=valid,norm=none]", "unet[norm=none,padding=valid]"),
        ("unet[activation=leaky[slope=0.2]]", "unet[activation=leaky[slope=0.2]]"),
        ("unet[dropout=0.1234567891]", "unet[dropout=0.1234567891]"),
        ("unet[encoder=timm:vgg16_bn.tv_in1k[full=1]]", "unet[encoder=timm:vgg16_bn.tv_in1k[full=1]]"),
        ("unet+timm:resnet34", "unet[encoder=timm:resnet34]"),
    ],
)
def test_canonical_names(text: str, name: str) -> None:
    assert parse(text).name == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot read ''"),
        ("Unet", "lower case"),
        ("vnet", "did you mean 'unet'"),
        ("unet+atention-gate", "did you mean 'attention-gate'"),
        ("unet[skip=atention-gate]", "did you mean 'attention-gate'"),
        ("unet[skpi=add]", "did you mean 'skip'"),
        ("unet+aspp[rate=1]", "did you mean 'rates'"),
        ("unet+add+attention-gate", "both modifications of the axis skip"),
        ("unet[skip=add]+attention-gate", "both modifications of the axis skip"),
        ("unet[skip=add,skip=add]", "given twice"),
        ("unet+aspp[rates=1,rates=2]", "given twice"),
        ("unet+aspp[rates=1-x]", "whole numbers joined by hyphens"),
        ("unet+aspp[rates=0]", "give a value like 6-12-18"),
        ("unet+add[x=1]", "it takes none"),
        ("unet[width=16", "never closed"),
        ("unet]width=16[", "closes no ["),
        ("unet[width]", "write key=value"),
        ("unet[]", "write key=value"),
        ("unet+", "cannot read ''"),
        ("unet+none", "unknown modification 'none'"),
        ("unet[width=x]", "a whole number"),
        ("unet[widths=8]", "two to ten levels"),
        ("unet[widths=8-16,levels=3]", "give widths alone"),
        ("unet[levels=1]", "give 2 to 10"),
        ("unet[width=9000]", "1 to 8192"),
        ("unet[depth=0]", "1 to 64"),
        ("unet[dropout=1]", "from 0 up to"),
        ("unet[dropout=nan]", "from 0 up to"),
        ("unet[encoder=timm:]", "cannot read 'timm:'"),
        ("unet[encoder=resnet34]", "unknown encoder 'resnet34'"),
        ("unet[activation=leaky[slope=inf]]", "give a value like 0.01"),
    ],
)
def test_errors_say_what_to_write_instead(text: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "not list"),
        ({"skipp": "add"}, "did you mean 'skip'"),
        ({"widths": 16}, "give a list"),
        ({"widths": [16, 1.5]}, "1 to 8192"),
        ({"depth": True}, "give a number"),
        ({"depth": 2.0}, "whole number"),
        ({"skip": ["add"]}, "give a name"),
        ({"skip": {"add": {}, "none": {}}}, "one name"),
        ({"bridge": {"aspp": {"rates": [6, 0]}}}, "give a value like"),
        ({"bridge": {"aspp": {"rates": []}}}, "give a value like"),
        ({"bridge": {"aspp": {1: 2}}}, "has no parameter 1"),
        ({"activation": {"leaky": {"slope": 10**400}}}, "give a value like"),
    ],
)
def test_data_that_is_no_spec(data: object, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_dict(data)
    assert says in str(caught.value)


def test_nothing_is_negative_zero() -> None:
    specs = [parse(f"unet+leaky[slope={slope}]") for slope in ("0", "-0", "0.0", "-0.0")]
    assert {spec.name for spec in specs} == {specs[0].name}


def test_yaml_that_cannot_be_read() -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        from_yaml("{")


def test_specs_are_values() -> None:
    spec = parse("unet+aspp")
    assert {spec: 1}[parse("unet[bridge=aspp]")] == 1
    assert replace(spec, bridge=Choice("none")) == Spec()
    with pytest.raises(AttributeError):
        spec.depth = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", ["resunet", "monai-unet", "swin-unet"])
def test_a_network_named_in_yaml_has_its_own_widths(name: str) -> None:
    assert from_yaml(f"network: {name}") == parse(name)
