"""`balance`: the weight of a term is its gradient at the embeddings over the method's, beside every method."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dsabench import rng
from dsabench.backbones import build_backbone
from dsabench.config.options import method_class, option_types, recipe, regularizer_class, regularizer_options
from dsabench.methods import METHODS
from dsabench.methods.base import Method
from dsabench.regularizers import REGULARIZERS
from dsabench.regularizers.base import Regularizer, gradient_norm
from dsabench.types import LabelledViews, MethodOutput, Views

IMAGES, FEATURES = 24, 64
TRAINABLE = [name for name in METHODS if method_class(name).trainable]
SMALL = {"w_mse": {"whitening_size": 12, "output_dim": 6}, "supcon_kmeans": {"clusters": 4}}
FACTS = {"num_classes": 3, "num_images": IMAGES}


def views() -> LabelledViews:
    draws = [torch.randn(IMAGES, 1, 8, 8, generator=rng.generator(0, name)) for name in ("a", "1", "2")]
    return LabelledViews(*draws, torch.arange(IMAGES), torch.arange(IMAGES) % 3)


def facts_for(kind: Any) -> dict[str, int]:
    return {name: value for name, value in FACTS.items() if name in kind.__init__.__annotations__}


def make_method(name: str) -> Method:
    kind = method_class(name)
    with rng.forked("method"):
        backbone = build_backbone("resnet8w16", channels=1, image_size=8)
        options = {**recipe(name, "tiny").options, **SMALL.get(name, {}), **facts_for(kind)}
        method: Method = kind(backbone, FEATURES, **options)  # type: ignore[call-arg]
    return method


def make_regularizer(name: str, method: Method, **options: Any) -> Regularizer:
    kind: Any = regularizer_class(name)
    with rng.forked("regularizer"):
        built: Regularizer = kind(
            method.backbone, FEATURES, method.embedding_dim, **regularizer_options(name, options), **facts_for(kind)
        )
    return built


def output_of(method: Method) -> MethodOutput:
    batch = views()
    with rng.forked("step"):
        output: MethodOutput = method(batch if method.needs_labels else Views(*batch[:4]))
    return output


def terms_of(regularizer: Regularizer, output: MethodOutput, progress: float = 1.0) -> dict[str, Tensor]:
    batch = views()
    with rng.forked("regularizer step"):
        terms: dict[str, Tensor] = regularizer(
            output, batch if regularizer.needs_labels else Views(*batch[:4]), progress
        )
    return terms


def ratio(term: Tensor, output: MethodOutput) -> float:
    """||d term / d(z1, z2)|| over ||d loss / d(z1, z2)||, written out."""
    norms = []
    for value in (term, output.loss):
        grads = torch.autograd.grad(value, [output.z1, output.z2], retain_graph=True)
        norms.append(torch.cat([grad.flatten() for grad in grads]).double().norm())
    return float(norms[0] / norms[1])


@pytest.mark.parametrize("method", TRAINABLE)
def test_the_loss_of_every_method_reaches_its_embeddings_and_by_them_its_features(method: str) -> None:
    output = output_of(make_method(method))
    for at in ((output.z1, output.z2), (output.h1, output.h2)):
        assert gradient_norm(output.loss, at) > 0
    grads = torch.autograd.grad(output.loss, [output.z1, output.z2], allow_unused=True)
    # ReSSL's first view is the teacher's alone.
    assert [grad is not None and bool(grad.any()) for grad in grads] == [method != "ressl", True]


@pytest.mark.parametrize("weight", [0.3, 2.0])
@pytest.mark.parametrize("method", ["simclr", "vicreg", "vibcreg", "byol"])
@pytest.mark.parametrize(
    ("regularizer", "option", "term"),
    [
        ("dsa-nested", "lambda1", "dsa_adjust"),
        ("dsa-minimal", "lambda1", "dsa_adjust"),
        ("dsa-reference", "lambda1", "dsa_adjust"),
        ("koleo", "weight", "koleo"),
        ("sigreg", "weight", "sigreg"),
        ("visreg", "weight", "visreg"),
    ],
)
def test_balanced_the_weight_is_the_ratio_of_the_gradients(
    method: str, regularizer: str, option: str, term: str, weight: float
) -> None:
    module = make_method(method)
    output = output_of(module)
    terms = terms_of(make_regularizer(regularizer, module, balance=True, **{option: weight}), output)
    assert ratio(terms[term], output) == pytest.approx(weight, rel=1e-4)


@pytest.mark.parametrize("regularizer", ["dsa-nested", "koleo", "sigreg"])
def test_twice_the_methods_loss_is_twice_the_term(regularizer: str) -> None:
    method = make_method("simclr")
    output = output_of(method)
    terms = [
        terms_of(make_regularizer(regularizer, method, balance=True), output._replace(loss=scale * output.loss))
        for scale in (1.0, 2.0)
    ]
    for name in terms[0]:
        # What does not reach the embeddings is not weighed against the method.
        factor = 1.0 if name == "dsa_prior" else 2.0
        torch.testing.assert_close(factor * terms[0][name], terms[1][name])


@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name != "none"])
def test_every_regularizer_has_the_option_and_off_is_the_sum_of_before(name: str) -> None:
    assert option_types(regularizer_class(name))["balance"] is bool
    # One is weighed from the start.
    assert regularizer_options(name, {})["balance"] is (name == "dsa")
    method = make_method("simclr")
    output = output_of(method)
    plain, balanced = (make_regularizer(name, method, balance=on) for on in (False, True))
    before, after = terms_of(plain, output), terms_of(balanced, output)
    scales = {key.removesuffix("_scale"): value for key, value in balanced.diagnostics.items() if "_scale" in key}
    assert not any("_scale" in key for key in plain.diagnostics)
    assert scales
    for term, value in before.items():
        torch.testing.assert_close(after[term], scales.get(term, torch.tensor(1.0)) * value)


@pytest.mark.parametrize("options", [{"lambda1": 0.0}, {"start": 1.0}])
def test_where_the_weight_is_0_nothing_reaches_the_student_and_the_log_has_the_same_names(
    options: dict[str, float],
) -> None:
    method = make_method("simclr")
    output = output_of(method)
    dsa = make_regularizer("dsa-nested", method, balance=True, **options)
    term = terms_of(dsa, output, progress=0.5)["dsa_adjust"]
    assert torch.autograd.grad(term, [output.z1, output.z2], allow_unused=True) == (None, None)
    assert float(term.detach()) == 0.0
    other = make_regularizer("dsa-nested", method, balance=True)
    terms_of(other, output)
    assert set(dsa.diagnostics) == set(other.diagnostics)


class Plain(Regularizer):
    def forward(self, output: MethodOutput, views: Any, progress: float) -> dict[str, Tensor]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("loss", "term"),
    [
        (lambda h, z: h.sum(), lambda z: z.square().sum()),
        (lambda h, z: 0.0 * z.sum(), lambda z: z.square().sum()),
        (lambda h, z: z.sum(), lambda z: 0.0 * z.sum()),
        (lambda h, z: 0.0 * z.sum(), lambda z: 0.0 * z.sum()),
        (lambda h, z: (z - z).sqrt().sum(), lambda z: z.sum()),
    ],
    ids=["no path", "method 0", "term 0", "both 0", "not finite"],
)
def test_a_ratio_that_is_none_is_0(loss: Any, term: Any) -> None:
    h, z1, z2 = (torch.randn(4, 3, generator=rng.generator(name)).requires_grad_() for name in "h12")
    output = MethodOutput(loss(h, z1), h, h, z1, z2)
    weighed = Plain(balance=True).weigh("term", 0.5, term(z1), output)
    assert float(weighed.detach()) == 0.0
    grad = torch.autograd.grad(weighed, z1)[0]
    assert grad.isfinite().all()
    assert not grad.any()


def test_the_norm_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    z1, z2 = (torch.randn(4, 3, generator=rng.generator(name)).requires_grad_() for name in "12")
    output = MethodOutput(z1.square().sum() + z2.sum(), z1, z2, z1, z2)
    here = gradient_norm(output.loss, (z1, z2))
    torch.testing.assert_close(here.square(), (2 * z1).square().sum().detach() + 12)
    monkeypatch.setattr("dsabench.regularizers.base.gather_rows", lambda square: torch.cat([square, 3 * square]))
    torch.testing.assert_close(gradient_norm(output.loss, (z1, z2)), 2 * here)
    # What does not move has no gradient, and is no error.
    assert gradient_norm(output.loss, (z1.detach(), z2.detach())) == 0
