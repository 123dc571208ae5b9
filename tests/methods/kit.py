"""A small backbone, batches for it, and one step of training, for the tests of the methods in this folder."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dsabench.methods.base import Method
from dsabench.types import LabelledViews, MethodOutput, Views

FEATURES = 10


def backbone() -> nn.Module:
    """Images (B, 1, 6, 6) to features (B, 10), with the batch norm that every real one has."""
    return nn.Sequential(nn.Flatten(), nn.Linear(36, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.LeakyReLU(0.3))


def build(kind: Callable[..., Method], **options: Any) -> Any:
    torch.manual_seed(3)
    return kind(backbone(), FEATURES, **options)


def views(batch: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32) -> Views:
    draw = torch.Generator().manual_seed(seed)
    anchor, noise1, noise2 = torch.randn(3, batch, 1, 6, 6, generator=draw).to(dtype)
    return Views(anchor, anchor + 0.3 * noise1, anchor + 0.3 * noise2, torch.arange(batch))


def labelled(labels: list[int], seed: int = 0, dtype: torch.dtype = torch.float32) -> LabelledViews:
    plain = views(len(labels), seed, dtype)
    return LabelledViews(plain.anchor, plain.view1, plain.view2, plain.index, torch.tensor(labels))


def gradients(output: MethodOutput) -> tuple[Tensor, Tensor]:
    """The gradients of the loss at both views' embeddings; zeros where none flows."""
    grads = torch.autograd.grad(output.loss, [output.z1, output.z2], retain_graph=True, allow_unused=True)
    return tuple(torch.zeros_like(output.z1) if grad is None else grad for grad in grads)


def check(output: MethodOutput, reference: Callable[[Tensor, Tensor], Tensor], tolerance: float = 1e-6) -> None:
    """The loss and its gradients against `reference(z1, z2)` in float64: to 1e-6 for a method in float64.

    A method whose queue is in float32 needs a `tolerance` of its own.
    """
    z1, z2 = (z.detach().double().requires_grad_() for z in (output.z1, output.z2))
    loss = reference(z1, z2)
    torch.testing.assert_close(output.loss.detach().double(), loss.detach(), rtol=tolerance, atol=tolerance)
    expected = torch.autograd.grad(loss, [z1, z2], allow_unused=True)
    for found, wanted in zip(gradients(output), expected, strict=True):
        wanted = torch.zeros_like(z1) if wanted is None else wanted
        torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance)


def step(method: Method, batch: Any, progress: float = 0.5) -> tuple[set[str], set[str]]:
    """The modules of which every parameter moved with the gradient, and those that `after_step` moved."""
    start = {name: p.detach().clone() for name, p in method.named_parameters()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    method(batch).loss.backward()
    optimizer.step()
    middle = {name: p.detach().clone() for name, p in method.named_parameters()}
    method.after_step(progress)
    end = {name: p.detach().clone() for name, p in method.named_parameters()}
    return moved(start, middle), moved(middle, end)


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
