"""`dsabench show NAME`: what a name stands for, with its options, defaults and source."""

import json
from pathlib import Path

import pytest
from command import dsabench

from dsabench.backbones import BACKBONES
from dsabench.config.options import option_defaults, recipe
from dsabench.config.spaces import space_of
from dsabench.data import DATASETS
from dsabench.methods import METHODS
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.regularizers import REGULARIZERS
from dsabench.regularizers.dsa.nested import NestedDSA

REGISTRIES = (METHODS, REGULARIZERS, PROBES, METRICS, DATASETS, BACKBONES)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shown(name: str) -> dict[str, object]:
    result = dsabench("show", name, "--json")
    assert result.code == 0, result.err
    content: dict[str, object] = json.loads(result.out)
    return content


def options(name: str) -> dict[str, dict[str, object]]:
    return {option["name"]: option for option in shown(name)["options"]}  # type: ignore[attr-defined]


def test_no_name_means_two_things() -> None:
    names = [name for registry in REGISTRIES for name in registry]
    assert len(names) == len(set(names))
    # Nor can one be the beginning of a run's id.
    assert not [name for name in names if set(name) <= set("0123456789abcdef")]


@pytest.mark.parametrize("name", [name for registry in REGISTRIES[:5] for name in registry])
def test_every_name_has_a_page(name: str) -> None:
    content = shown(name)
    assert content["name"] == name
    assert content["summary"]
    assert content["about"]
    for option in content["options"]:  # type: ignore[attr-defined]
        assert set(option) == {"name", "type", "defaults", "searched"}
        assert option["type"] in ("on or off", "integer", "number", "word")


def test_the_options_of_a_method_are_those_that_a_run_resolves() -> None:
    found = options("simclr")
    for scale in ("tiny", "small"):
        expected = recipe("simclr", scale)
        for name, value in {**expected.options, **expected.optimizer, "epochs": expected.epochs}.items():
            assert found[name]["defaults"][scale] == value  # type: ignore[index]
    assert {name: option["searched"] for name, option in found.items() if option["searched"]} == {
        name: str(dimension) for name, dimension in space_of("method", "simclr").items()
    }
    # A teacher's momentum is the method's, not that of SGD.
    assert options("byol")["momentum"]["defaults"]["tiny"] == recipe("byol", "tiny").options["momentum"]  # type: ignore[index]


def test_the_options_of_a_regularizer_and_of_its_presets() -> None:
    plain = {name: option["defaults"]["tiny"] for name, option in options("dsa-nested").items()}  # type: ignore[index]
    assert plain == option_defaults(NestedDSA)
    oracle = {name: option["defaults"]["tiny"] for name, option in options("dsa-oracle").items()}  # type: ignore[index]
    assert oracle == plain | {"prior": "labels", "scores": False}
    assert shown("dsa-oracle")["facts"] == {"stands for": "dsa-nested[prior=labels,scores=off]"}


def test_a_backbone_of_timm_without_a_line_of_its_own() -> None:
    assert shown("resnet8")["facts"]["at 32 px"].endswith("96 features")  # type: ignore[index]
    assert shown("resnet10t")["kind"] == "backbone"


@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_a_page_for_people_fits_its_terminal(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("command.WIDTH", width)
    result = dsabench("show", "dsa")
    program = [line for line in result.out.splitlines() if line.startswith("    ")]
    assert all(len(line) <= int(width) for line in result.out.splitlines() if line not in program)
    for words in ("spread", "0.03", "0.003 to 0.3", "METHOD+dsa[weight=...]", "    dsa = DSA("):
        assert words in result.out


def test_the_layouts_of_a_folder_are_shown() -> None:
    page = " ".join(dsabench("show", "imagefolder").out.split())
    assert "train/CLASS/* and test/CLASS/* (or val/), or CLASS/* alone" in page


def test_a_name_that_nothing_has(tmp_path: Path) -> None:
    result = dsabench("show", "simcrl")
    assert (result.code, result.out) == (2, "")
    assert "unknown name 'simcrl'; did you mean 'simclr'?" in result.err
    assert dsabench("show", "0123").code == 3
    # A folder called like a method is a folder only when it is spelled as one.
    (tmp_path / "simclr").mkdir()
    assert shown("simclr")["kind"] == "method"
    assert "is no run" in dsabench("show", "./simclr").err
