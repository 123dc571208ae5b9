"""Every method and regularizer has a space that its constructor takes, around its defaults."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from torch import nn

from dsabench.config.options import method_class, recipe, regularizer_class, regularizer_options
from dsabench.config.plan import half_options
from dsabench.config.spaces import (
    OPTIMIZATION,
    Choice,
    Dimension,
    Range,
    Space,
    dimensions,
    read_spaces,
    space_of,
)
from dsabench.config.spec import parse_spec
from dsabench.errors import DataError, UsageError
from dsabench.methods import METHODS
from dsabench.registry import Scalar
from dsabench.regularizers import REGULARIZERS

SCALES = ("tiny", "small")


def defaults_of(half: str, name: str, scale: str) -> Mapping[str, Scalar]:
    """The options of an entry where none are given."""
    if half == "regularizer":
        return regularizer_options(name, {})
    own = recipe(name, scale)
    return {**own.optimizer, **own.options}


def ends(dimension: Dimension) -> list[Scalar]:
    return list(dimension.choices) if isinstance(dimension, Choice) else [dimension.low, dimension.high]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("half", "name"), [("method", name) for name in METHODS] + [("regularizer", name) for name in REGULARIZERS]
)
def test_every_space_is_of_options_that_exist_and_holds_their_defaults(half: str, name: str, scale: str) -> None:
    space, types, defaults = space_of(half, name), half_options(half, name), defaults_of(half, name, scale)
    assert space.keys() <= types.keys()
    for option, dimension in space.items():
        numbers = dimension.around(defaults[option])
        assert numbers.holds(defaults[option]), option
        for end in ends(numbers):
            assert type(end) is types[option], option
    if half == "method":
        assert set(OPTIMIZATION) <= space.keys() or not method_class(name).trainable


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("name", METHODS)
def test_methods_can_be_built_at_the_ends_of_their_spaces(name: str, place: int) -> None:
    own = recipe(name, "tiny").options
    space = {
        option: dimension.around(own[option]) for option, dimension in space_of("method", name).items() if option in own
    }
    options = {**own, **{option: ends(dimension)[place] for option, dimension in space.items()}}
    kind = method_class(name)
    facts = {"num_classes": 10, "num_images": 1000}
    facts = {fact: count for fact, count in facts.items() if fact in kind.__init__.__annotations__}
    kind(nn.Flatten(), 12, **options, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers_can_be_built_at_the_ends_of_their_spaces(name: str, place: int) -> None:
    defaults = regularizer_options(name, {})
    space = {option: dimension.around(defaults[option]) for option, dimension in space_of("regularizer", name).items()}
    options = {**defaults, **{option: ends(dimension)[place] for option, dimension in space.items()}}
    kind = regularizer_class(name)
    facts = {"num_images": 1000} if "num_images" in kind.__init__.__annotations__ else {}
    kind(nn.Flatten(), 12, 8, **options, **facts)  # type: ignore[arg-type]


def test_a_preset_has_the_space_of_what_it_presets_less_what_it_fixes() -> None:
    assert space_of("regularizer", "dsa-no-m") == space_of("regularizer", "dsa-nested")
    wide: Space = {"lambda2": Range(0.1, 10, log=True), "k": Range(2, 9)}
    assert space_of("regularizer", "dsa-no-prior", {("regularizer", "dsa-nested"): wide}).keys() == {"k"}


def test_both_halves_are_searched_together_and_what_a_spec_says_is_fixed() -> None:
    both = {"method.lr", "method.weight_decay", "method.temperature"}
    dsa = {"regularizer.lambda1", "regularizer.k", "regularizer.start"}
    assert dimensions(parse_spec("simclr")).keys() == both
    assert dimensions(parse_spec("simclr+dsa-nested")).keys() == both | dsa
    # Nobody is drawn unless a spec says so.
    assert dimensions(parse_spec("simclr+dsa")).keys() == both | {"regularizer.spread"}
    fixed = dimensions(parse_spec("simclr[lr=0.1]+dsa-nested[k=9]"))
    assert fixed.keys() == (both | dsa) - {"method.lr", "regularizer.k"}


def test_ends_are_multiples_of_the_recipe_and_values_are_short() -> None:
    lr = Range(0.25, 10, log=True, times=True).around(0.002)
    assert lr == Range(0.0005, 0.02, log=True)
    assert lr.nearest(0.00123456) == 0.00123
    assert lr.nearest(0.0004999) == 0.0005
    assert Range(0.25, 2, times=True).around(64) == Range(16, 128)


def test_a_file_replaces_the_whole_space_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "spaces.toml"
    path.write_text(
        "[method.simclr]\nlr = {low = 0.001, high = 1, log = true}\n[regularizer.dsa-nested]\nk = {choices = [5, 10]}\n"
    )
    assert read_spaces(path) == {
        ("method", "simclr"): {"lr": Range(0.001, 1, log=True)},
        ("regularizer", "dsa-nested"): {"k": Choice((5, 10))},
    }
    assert dimensions(parse_spec("simclr+dsa-nested"), read_spaces(path)).keys() == {"method.lr", "regularizer.k"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[methods.simclr]\nlr = 1\n", "unknown table 'methods'"),
        ("[method.simcrl]\nlr = 1\n", "unknown method 'simcrl'; did you mean 'simclr'?"),
        ("[method.simclr]\nlr = 1\n", "cannot read 'lr'"),
        ("[method.simclr]\nlr = {low = 1, high = 0.5}\n", "low must be below high"),
        ("[method.simclr]\nlr = {low = 0, high = 0.5, log = true}\n", "low must be above 0"),
        ("[method.simclr]\nlr = {low = 0.1, high = 0.5, lg = true}\n", "cannot read 'lr'"),
        ("[method.simclr]\nlr = {low = 0.1}\n", "cannot read 'lr'"),
        ("[method.simclr]\nlr = {choices = [1]}\n", "two or more values"),
    ],
)
def test_what_is_no_space_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "spaces.toml").write_text(text)
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        read_spaces(tmp_path / "spaces.toml")


def test_a_file_that_is_not_there_or_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_spaces(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[")
    with pytest.raises(DataError, match="not valid TOML"):
        read_spaces(tmp_path / "bad.toml")
