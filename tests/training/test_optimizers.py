"""The constants of the optimisation are options, and each does what its name says."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from dsabench.config.optimization import LATER, OptimizerOptions
from dsabench.training.optimizers import build_regularizer_optimizer, learning_rate


def rates(options: OptimizerOptions, steps: int = 100, epochs: int = 100) -> list[float]:
    """The learning rate of every step, at the batch of 256 that `scale_lr` counts from."""
    return [learning_rate(options, step, steps, epochs, 256) for step in range(steps)]


def test_the_cosine_ends_at_its_share_of_the_peak() -> None:
    for share in (0.0, 1e-3, 0.5, 1.0):
        found = rates(OptimizerOptions(lr=0.3, final_lr=share))
        expected = [0.3 * (share + (1 - share) * (1 + math.cos(math.pi * step / 99)) / 2) for step in range(100)]
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_a_short_run_warms_up_for_no_longer_than_its_share(schedule: str) -> None:
    for share, expected in ((0.1, 10), (0.25, 25), (0.0, 0), (1.0, 50)):
        options = OptimizerOptions(lr=1.0, schedule=schedule, warmup_epochs=50, longest_warmup=share)
        found = rates(options)
        rising = [step for step in range(1, 100) if found[step] > found[step - 1]]
        # The first step of a warm-up has risen from 0 already.
        assert len(rising) == max(0, expected - 1)
    assert rates(OptimizerOptions(warmup_epochs=5, longest_warmup=0.1)) == rates(OptimizerOptions(warmup_epochs=5))


@pytest.mark.parametrize("optimizer", ["adamw", "lars"])
def test_a_regularizer_learns_at_its_own_rate_whatever_the_methods_optimiser_is(optimizer: str) -> None:
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    options = OptimizerOptions(optimizer=optimizer, lr=7.0, weight_decay=0.5, regularizer_lr=0.125)
    (group,) = build_regularizer_optimizer(module, options).param_groups
    assert (group["lr"], group["weight_decay"], group["params"]) == (0.125, 0.0, [module.weight])
    before = module.weight.detach().clone()
    module.weight.grad = torch.ones_like(module.weight)
    build_regularizer_optimizer(module, options).step()
    # The first step of Adam is the learning rate, whatever the gradient is.
    torch.testing.assert_close(before - module.weight, torch.full_like(before, 0.125))


@pytest.mark.parametrize(
    "wrong", [{"final_lr": -0.1}, {"final_lr": 1.5}, {"longest_warmup": 2.0}, {"regularizer_lr": 0.0}]
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OptimizerOptions(**wrong)  # type: ignore[arg-type]


def test_what_came_later_leaves_the_identity_at_what_it_was_before_it_could_be_chosen() -> None:
    assert LATER == {"final_lr": 0.001, "longest_warmup": 0.1, "regularizer_lr": 0.01}
    assert {name: asdict(OptimizerOptions())[name] for name in LATER} == LATER
