"""The variants of DSA that are controls: a prior of raw pixels, and names for sets of options."""

import pytest
import torch
from torch import Tensor, nn

from dsabench.config.options import regularizer_class, regularizer_options
from dsabench.regularizers import REGULARIZERS
from dsabench.regularizers.dsa import adjustment_loss, exponential_similarity, shared_neighbour_similarity
from dsabench.regularizers.dsa.nested import NestedDSA
from dsabench.types import MethodOutput, Views

N, FEATURES, EMBEDDING = 24, 10, 6


def batch() -> tuple[MethodOutput, Views]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(3, N, 1, 8, 8, generator=draw)
    h1, h2 = torch.randn(2, N, FEATURES, generator=draw)
    z1, z2 = (z.requires_grad_() for z in torch.randn(2, N, EMBEDDING, generator=draw))
    return MethodOutput(z1.sum(), h1, h2, z1, z2), Views(*images, torch.arange(N))


def nested(u: Tensor) -> Tensor:
    u, k = u - u.mean(0), (N - 1) // 4
    wide, narrow = (shared_neighbour_similarity(u, size) for size in (k, k // 2))
    return (wide + narrow) / 2


def build(name: str, **options: float | str) -> NestedDSA:
    dsa: NestedDSA = regularizer_class(name)(  # type: ignore[call-arg,assignment]
        nn.Linear(64, FEATURES), FEATURES, EMBEDDING, **regularizer_options(name, options)
    )
    return dsa


def test_the_pixel_prior_reads_the_anchors_and_no_network() -> None:
    dsa = build("dsa-nested", prior="pixels", scores=False)
    output, views = batch()
    assert not list(dsa.prior.parameters())
    u = dsa.prior(output, views)
    assert torch.equal(u, views.anchor.flatten(1))
    prior, _ = dsa.relate(u)
    torch.testing.assert_close(prior, nested(u))
    # Neither the features nor the views have a say in it.
    other = output._replace(h1=output.h2, h2=-output.h1)
    assert torch.equal(dsa.prior(other, views._replace(view1=views.view2)), u)
    assert NestedDSA.facts({"prior": "pixels"}) == ("pixels", "none")


def test_the_pixel_prior_has_no_queue() -> None:
    with pytest.raises(ValueError, match="the pixels prior has none"):
        build("dsa-nested", prior="pixels", queue=100)


def test_the_minimal_variant_pulls_by_the_neighbourhoods_of_this_step_alone() -> None:
    dsa = build("dsa-minimal")
    assert not list(dsa.parameters())
    assert not list(dsa.buffers())
    output, views = batch()
    terms = dsa(output, views, 1.0)
    u = sum(h / h.norm(dim=1, keepdim=True) for h in (output.h1, output.h2)) / 2
    similarity = nested(u).repeat(2, 2).clamp(min=0.5)
    z = torch.cat([output.z1, output.z2])
    expected = 5.0 * adjustment_loss(z, similarity, torch.ones(2 * N), 0.5)
    assert set(terms) == {"dsa_adjust"}
    torch.testing.assert_close(terms["dsa_adjust"], expected)


def test_the_exponential_variant_has_the_published_similarity_of_the_runs_own_features() -> None:
    dsa = build("dsa-exponential")
    u = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(1))
    centred = u - u.mean(0)
    torch.testing.assert_close(dsa.relate(u)[0], exponential_similarity(centred, centred, 0.5))
    assert regularizer_options("dsa-exponential", {})["prior"] == "ema"


@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name != "none"])
def test_a_preset_is_of_options_that_exist_and_differs_from_the_defaults(name: str) -> None:
    defaults = regularizer_options("dsa-nested", {})
    for option, value in REGULARIZERS[name].preset.items():
        assert defaults[option] != value
