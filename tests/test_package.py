"""What `dsabench` itself offers to a training loop of one's own."""

import copy
import subprocess
import sys
from importlib import import_module

import pytest
from torch import nn

import dsabench
from dsabench.errors import UsageError
from dsabench.metrics import METRICS
from dsabench.regularizers import REGULARIZERS

HEAVY = {"torch", "numpy", "pandas", "sklearn", "scipy", "lightly", "timm", "rich"}


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_name_is_the_thing_itself_and_is_listed() -> None:
    from dsabench.backbones import build_backbone
    from dsabench.regularizers.dsa.bank import DSA
    from dsabench.types import MethodOutput, Views

    assert (dsabench.DSA, dsabench.build_backbone) == (DSA, build_backbone)
    assert (dsabench.MethodOutput, dsabench.Views) == (MethodOutput, Views)
    assert dsabench.measure is import_module("dsabench.metrics").measure
    for name in METRICS:
        assert getattr(dsabench, name) is getattr(import_module("dsabench.metrics"), name)
    for entry in REGULARIZERS.values():
        module, _, attribute = entry.target.partition(":")
        assert getattr(dsabench, attribute) is getattr(import_module(module), attribute)
        assert attribute in dsabench.__all__
    assert set(dsabench.__all__) <= set(dir(dsabench))
    assert "__version__" in dir(dsabench)
    assert not {"Any", "TYPE_CHECKING", "import_module"} & set(dir(dsabench))
    for name in dsabench.__all__:
        assert getattr(dsabench, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dsabench' has no attribute 'DAS'"):
        dsabench.DAS  # noqa: B018
    with pytest.raises(ImportError, match="DAS"):
        from dsabench import DAS  # noqa: F401


def test_a_metric_may_be_named_alone() -> None:
    x, y = [[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.2]], [0, 0, 1, 1]
    assert dsabench.measure(x, y, "cdnv") == dsabench.measure(x, y, ["cdnv"])
    with pytest.raises(UsageError, match="unknown metric 'cdvn'; did you mean 'cdnv'"):
        dsabench.measure(x, y, "cdvn")


def test_an_option_that_a_regularizer_has_not_is_told_with_what_was_meant() -> None:
    with pytest.raises(TypeError, match="DSA has no option 'wieght'; did you mean 'weight'"):
        dsabench.DSA(nn.Flatten(), 4, 4, wieght=3)
    assert isinstance(copy.deepcopy(dsabench.KoLeo(nn.Flatten(), 4, 4)), dsabench.KoLeo)


def test_the_package_imports_nothing_heavy_before_it_is_asked_for_it() -> None:
    assert not loaded_by("import dsabench\ndir(dsabench), dsabench.__all__, dsabench.__version__") & HEAVY
    assert "torch" in loaded_by("from dsabench import DSA")


def test_the_help_of_dsa_begins_with_how_to_build_and_call_it() -> None:
    start = (dsabench.DSA.__doc__ or "")[:2000]
    for said in (
        "DSA(backbone, feature_dim, embedding_dim, num_images=",
        "dsa(MethodOutput(",
        "forward(output,",
    ):
        assert said in start
