import torch

from dsabench.methods.integer import KnownInteger
from dsabench.training.checkpoint import module_state, restore_module


def test_a_number_is_in_the_state_and_read_back_from_it() -> None:
    ours, other = KnownInteger(3), KnownInteger(0)
    ours.set(7)
    saved = {name: tensor.clone() for name, tensor in module_state(ours, "m").items()}
    assert saved["m.buffer"].dtype == torch.int64
    other.set(1)
    assert other.get() == 1
    restore_module(other, "m", saved)
    assert other.get() == 7
    ours.set(8)
    restore_module(ours, "m", saved)
    assert ours.get() == 7


def test_it_is_read_once_and_not_at_every_step() -> None:
    number = KnownInteger(2)
    # A buffer without data: reading it is impossible, as it is slow on a device.
    number.to("meta")
    number.set(5)
    assert [number.get() for _ in range(3)] == [5, 5, 5]
