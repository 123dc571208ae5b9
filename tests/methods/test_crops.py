import pytest
import torch
from kit import views
from torch import nn

from dsabench.backbones import build_backbone
from dsabench.errors import UsageError
from dsabench.methods.crops import embed_crops
from dsabench.methods.embedding import embed


def test_without_small_crops_it_is_the_two_view_forward_pass() -> None:
    backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    projector = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    out, small = embed_crops(backbone, projector, views())
    assert small == []
    for ours, expected in zip(out, embed(backbone, projector, views()), strict=True):
        assert torch.equal(ours, expected)


def test_small_crops_come_back_in_their_order() -> None:
    backbone, projector = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), nn.Linear(4, 3)
    batch = views(crops=3)
    out, small = embed_crops(backbone, projector, batch)
    assert len(small) == 3
    for crop, z in zip((batch.view1, batch.view2, *batch.locals), (out.z1, out.z2, *small), strict=True):
        torch.testing.assert_close(z, projector(backbone(crop)))
    torch.testing.assert_close(out.h2, backbone(batch.view2))


def test_a_backbone_of_one_size_is_refused_with_a_reason() -> None:
    backbone = build_backbone("vit_tiny_patch16_224", channels=1, image_size=8)
    with pytest.raises(UsageError, match=r"does not take small crops of 4 px .* choose a convolutional backbone"):
        embed_crops(backbone, nn.Identity(), views(batch=2, crops=1))
