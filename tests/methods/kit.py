"""A small backbone, batches for it, one step of training, and comparisons with a formula, for the tests beside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dsabench.methods.base import Method
from dsabench.types import LabelledViews, MethodOutput, Views

FEATURES = 10


def backbone() -> nn.Module:
    """Images (B, 1, H, W) of any size to features (B, 10), with the batch norm that every real one has."""
    convolution = nn.Conv2d(1, FEATURES, 3, padding=1, bias=False)
    return nn.Sequential(
        convolution, nn.BatchNorm2d(FEATURES), nn.LeakyReLU(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def build(kind: Callable[..., Method], recipe: Mapping[str, Any] | None = None, **changes: Any) -> Any:
    """The method with the options of a recipe, some of them changed, at the same initialisation each time."""
    torch.manual_seed(3)
    return kind(backbone(), FEATURES, **{**(recipe or {}), **changes})


def views(batch: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32, crops: int = 0) -> Views:
    """Noise of 8 x 8 pixels whose views are the anchor and more noise, and `crops` small crops of 4 x 4."""
    draw = torch.Generator().manual_seed(seed)
    anchor, noise1, noise2 = torch.randn(3, batch, 1, 8, 8, generator=draw).to(dtype)
    small = torch.randn(crops, batch, 1, 4, 4, generator=draw).to(dtype)
    return Views(anchor, anchor + 0.3 * noise1, anchor + 0.3 * noise2, torch.arange(batch), tuple(small))


def labelled(labels: list[int], seed: int = 0, dtype: torch.dtype = torch.float32) -> LabelledViews:
    plain = views(len(labels), seed, dtype)
    return LabelledViews(plain.anchor, plain.view1, plain.view2, plain.index, torch.tensor(labels))


def flattened(method: Any) -> Any:
    """The method without its backbones and projectors, the teacher's too: what is left embeds a view as its pixels."""
    for name, _ in list(method.named_children()):
        if name.endswith("backbone"):
            setattr(method, name, nn.Flatten())
        elif name.endswith("projector"):
            setattr(method, name, nn.Identity())
    return method


def flat_views(*embeddings: Tensor) -> Views:
    """Views whose pixels, in the type of the embeddings and with gradients, are those of a `flattened` method."""
    view1, view2, *small = (z.clone()[:, None, None].requires_grad_() for z in embeddings)
    return Views(view1, view1, view2, torch.arange(len(view1)), tuple(small))


def agree(ours: Callable[..., Tensor], formula: Callable[..., Tensor], *tensors: Tensor) -> None:
    """Two functions of the same float64 tensors give the same value and the same gradients, to 1e-6."""
    results = []
    for function in (ours, formula):
        inputs = [t.double().clone().requires_grad_() for t in tensors]
        value = function(*inputs)
        assert value.shape == ()
        results.append((value.detach(), torch.autograd.grad(value, inputs)))
    (value, found), (expected, wanted) = results
    assert all(gradient.abs().max() > 1e-6 for gradient in wanted)
    same(value, found, expected, wanted, rtol=1e-6, atol=1e-9)


def gradients(output: MethodOutput) -> list[Tensor]:
    """The gradients of the loss at both views' embeddings; zeros where none flows."""
    return gradients_of(output.loss, [output.z1, output.z2])


def gradients_of(loss: Tensor, zs: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, zs, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(z) if gradient is None else gradient for z, gradient in zip(zs, found, strict=True)]


def check(output: MethodOutput, reference: Callable[[Tensor, Tensor], Tensor], tolerance: float = 1e-6) -> None:
    """The loss and its gradients against `reference(z1, z2)` in float64: to 1e-6 for a method in float64.

    A method whose queue is in float32 needs a `tolerance` of its own.
    """
    zs = [z.detach().double().requires_grad_() for z in (output.z1, output.z2)]
    loss = reference(*zs)
    found = [gradient.double() for gradient in gradients(output)]
    same(output.loss.detach().double(), found, loss.detach(), gradients_of(loss, zs), rtol=tolerance, atol=tolerance)


def same(value: Tensor, found: Sequence[Tensor], expected: Tensor, wanted: Sequence[Tensor], **to: float) -> None:
    """A loss and its gradients are those that were expected."""
    torch.testing.assert_close(value, expected, **to)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, **to)


def step(method: Method, batch: Any, progress: float = 0.5) -> tuple[set[str], set[str]]:
    """The modules of which every parameter moved with the gradient, and those that `after_step` moved.

    AdamW with weight decay moves whatever has a gradient, and a gradient of zeros is none.
    """
    start = parameters(method)
    trained = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=1e-2)
    method.zero_grad()
    method(batch).loss.backward()
    assert all(p.grad is None or p.grad.any() for p in method.parameters())
    optimizer.step()
    middle = parameters(method)
    method.after_step(progress)
    return moved(start, middle), moved(middle, parameters(method))


def parameters(method: Method) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in method.named_parameters()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    changes: dict[str, set[bool]] = {}
    for name in before:
        changes.setdefault(name.split(".")[0], set()).add(not torch.equal(before[name], after[name]))
    assert all(len(change) == 1 for change in changes.values()), f"some but not all moved: {changes}"
    return {module for module, change in changes.items() if change == {True}}


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True)


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """The mean of -log exp(q_i k_i / t) / sum_j exp(q_i k_j / t), written out."""
    queries, keys = unit(queries), unit(keys)
    losses = []
    for i in range(len(queries)):
        shares = torch.stack([torch.exp(queries[i] @ keys[j] / temperature) for j in range(len(keys))])
        losses.append(-torch.log(shares[i] / shares.sum()))
    return torch.stack(losses).mean()
