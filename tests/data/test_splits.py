import pytest
import torch

from dsabench.data.splits import held_out_count, stratified


def test_shares_are_proportional_within_one_image() -> None:
    labels = torch.tensor([0] * 50 + [1] * 31 + [2] * 19)
    for count in range(3, 98):
        taken = stratified(labels, count, "test", leave=1)
        assert len(taken.unique()) == count
        shares = labels[taken].bincount(minlength=3)
        expected = torch.tensor([50.0, 31.0, 19.0]) * count / 100
        assert (shares - expected.clamp_min(1)).abs().max() <= 1


@pytest.mark.parametrize(("count", "leave"), [(3, 0), (3, 1), (4, 1), (102, 1), (105, 0)])
def test_rare_classes_give_one_and_keep_what_they_must(count: int, leave: int) -> None:
    labels = torch.tensor([0] * 2 + [1] * 101 + [2] * 2)
    taken = stratified(labels, count, "test", leave=leave)
    shares = labels[taken].bincount(minlength=3)
    assert len(taken) == count
    assert (shares >= 1).all()
    assert (labels.bincount() - shares >= leave).all()


def test_the_draw_is_fixed_named_and_nested() -> None:
    labels = torch.arange(1000) % 10
    small, large = (stratified(labels, count, "test", leave=0) for count in (100, 300))
    assert torch.equal(small, stratified(labels, 100, "test", leave=0))
    assert not torch.equal(small, stratified(labels, 100, "other", leave=0))
    assert torch.isin(small, large).all()


def test_a_tenth_is_held_out_but_one_of_every_class_at_least() -> None:
    assert held_out_count(50_000, 10, 0.1) == 5000
    assert held_out_count(300, 100, 0.1) == 100
