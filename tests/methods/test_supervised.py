import torch
from kit import build, check, labelled, step
from torch import Tensor

from dsabench.methods.supervised import Supervised

LABELS = [0, 1, 0, 2, 1, 0, 2, 2]
OPTIONS = {"num_classes": 3, "label_smoothing": 0.1}


def test_loss_and_gradient_are_cross_entropy_with_smoothed_labels() -> None:
    method = build(Supervised, **OPTIONS).double()
    weight, bias = method.classifier.weight.detach(), method.classifier.bias.detach()

    def reference(z1: Tensor, z2: Tensor) -> Tensor:
        losses = []
        for z in (z1, z2):
            for features, label in zip(z, LABELS, strict=True):
                logits = weight @ features + bias
                target = torch.full((3,), 0.1 / 3, dtype=torch.float64)
                target[label] += 0.9
                losses.append(-(target * (logits - torch.log(torch.exp(logits).sum()))).sum())
        return torch.stack(losses).mean()

    output = method(labelled(LABELS, dtype=torch.float64))
    check(output, reference)


def test_a_step_moves_everything() -> None:
    assert step(build(Supervised, **OPTIONS), labelled(LABELS)) == ({"backbone", "classifier"}, set())
