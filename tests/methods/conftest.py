"""Small stand-ins for what the trainer gives a method."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dsabench.methods.base import Method
from dsabench.types import Views

FEATURES = 12


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def make_method() -> Callable[..., Any]:
    """A method of the tiny recipe with these changes, on a convolution that takes images of any size."""

    def make(kind: type[Method], recipe: Any, **changes: object) -> Any:
        torch.manual_seed(0)
        backbone = nn.Sequential(
            nn.Conv2d(1, FEATURES, 3, padding=1),
            nn.BatchNorm2d(FEATURES),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        return kind(backbone, FEATURES, **{**recipe.options, **changes})  # type: ignore[call-arg]

    return make


@pytest.fixture
def make_views() -> Callable[..., Views]:
    """Noise: a batch of 8 x 8 pixels and `crops` small crops of 4 x 4, other ones for every seed."""

    def make(batch: int = 16, crops: int = 0, seed: int = 0) -> Views:
        first = 100 * seed
        anchor, view1, view2 = (draw(batch, 1, 8, 8, seed=first + i) for i in range(3))
        small = tuple(draw(batch, 1, 4, 4, seed=first + 3 + i) for i in range(crops))
        return Views(anchor, view1, view2, torch.arange(batch), small)

    return make


@pytest.fixture
def flat_views() -> Callable[..., Views]:
    """Views whose pixels, in the embeddings' type and with gradients, are those of a method that is `flattened`."""

    def make(*embeddings: Tensor) -> Views:
        view1, view2, *small = (z.clone()[:, None, None].requires_grad_() for z in embeddings)
        return Views(view1, view1, view2, torch.arange(len(view1)), tuple(small))

    return make


@pytest.fixture
def flattened() -> Callable[[Any], Any]:
    """Put a method's backbones and projectors, the teacher's too, out of the way."""

    def flatten(method: Any) -> Any:
        for name, _ in list(method.named_children()):
            if name.endswith("backbone"):
                setattr(method, name, nn.Flatten())
            elif name.endswith("projector"):
                setattr(method, name, nn.Identity())
        return method

    return flatten


@pytest.fixture
def moved_by_a_step() -> Callable[..., set[str]]:
    """The names of the parameters that a step of AdamW, with weight decay, and `after_step` move."""

    def step(method: Method, views: Views, progress: float) -> set[str]:
        trained = [p for p in method.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=1e-2)
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        method.train()
        method(views).loss.backward()
        optimizer.step()
        method.after_step(progress)
        return {name for name, p in method.named_parameters() if not torch.equal(p, before[name])}

    return step


@pytest.fixture
def assert_agree() -> Callable[..., None]:
    """Two functions of the same float64 tensors give the same value and the same gradients, to 1e-6."""

    def agree(ours: Callable[..., Tensor], formula: Callable[..., Tensor], *tensors: Tensor) -> None:
        results = []
        for function in (ours, formula):
            inputs = [t.double().clone().requires_grad_() for t in tensors]
            value = function(*inputs)
            assert value.shape == ()
            results.append((value.detach(), torch.autograd.grad(value, inputs)))
        torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-6, atol=1e-9)
        for ours_grad, expected in zip(results[0][1], results[1][1], strict=True):
            assert expected.abs().max() > 1e-6
            torch.testing.assert_close(ours_grad, expected, rtol=1e-6, atol=1e-9)

    return agree
