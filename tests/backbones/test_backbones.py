import pytest
import torch
from torch import nn

from dsabench.backbones import BACKBONES, build_backbone, timm_names
from dsabench.backbones.resnet import BasicBlock
from dsabench.errors import UsageError
from dsabench.training.checkpoint import module_state, tensors_sha256

SMALL_ENOUGH = [name for name in BACKBONES if name not in ("resnet50", "vit_small_patch16_224")]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", SMALL_ENOUGH)
@pytest.mark.parametrize(("channels", "image_size"), [(1, 8), (3, 32), (3, 96)])
def test_a_backbone_gives_one_vector_an_image_and_learns(name: str, channels: int, image_size: int) -> None:
    backbone = build_backbone(name, channels=channels, image_size=image_size)
    assert backbone.training
    images = torch.randn(2, channels, image_size, image_size)
    features = backbone(images)
    assert features.shape == (2, backbone.feature_dim)
    features.square().sum().backward()
    stem = next(p for p in backbone.parameters() if p.ndim == 4)
    assert stem.grad is not None
    assert stem.grad.abs().sum() > 0
    # However its weights lie in memory, what is saved and hashed is the same.
    state = module_state(backbone, "backbone")
    assert tensors_sha256(state) == tensors_sha256({name: tensor.contiguous() for name, tensor in state.items()})


@pytest.mark.parametrize(
    ("name", "blocks", "w"), [("resnet8w16", 1, 16), ("resnet8", 1, 24), ("resnet8w32", 1, 32), ("resnet20", 3, 16)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_small_resnets_have_the_parameters_of_the_formula(name: str, blocks: int, w: int, channels: int) -> None:
    # In units of w*w and of w: convolutions of 9 * in * out weights, and two numbers a channel for the batch norms.
    convolutions = 9 * (2 * blocks + (2 + 4 * (2 * blocks - 1)) + (8 + 16 * (2 * blocks - 1))) * w * w
    norms = 2 * 2 * blocks * (w + 2 * w + 4 * w)
    stem = 9 * channels * w + 2 * w
    backbone = build_backbone(name, channels=channels, image_size=8)
    assert parameters(backbone) == stem + convolutions + norms
    assert backbone.feature_dim == 4 * w


def test_resnet20_is_the_papers() -> None:
    # He et al. 2016, table 6: 0.27 M parameters, of which the classifier has 650.
    assert parameters(build_backbone("resnet20", channels=3, image_size=32)) + 650 == 269_722


def test_a_block_that_adds_nothing_passes_its_shortcut() -> None:
    block = BasicBlock(2, 5, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)
    images = torch.rand(3, 2, 6, 6)
    passed = block(images)
    assert torch.equal(passed[:, :2], images[:, :, ::2, ::2])
    assert passed.shape == (3, 5, 3, 3)
    assert not passed[:, 2:].any()


def test_resnet18_on_small_images_is_the_cifar_one() -> None:
    backbone = build_backbone("resnet18", channels=3, image_size=32)
    # The usual 11,173,962 less the ten-class classifier's 5,130.
    assert parameters(backbone) == 11_168_832
    assert backbone.feature_dim == 512
    shapes: list[torch.Size] = []
    network = backbone.network
    assert isinstance(network.layer1, nn.Module)
    assert isinstance(network.layer4, nn.Module)
    network.layer1.register_forward_pre_hook(lambda module, args: shapes.append(args[0].shape))
    network.layer4.register_forward_hook(lambda module, args, out: shapes.append(out.shape))
    backbone(torch.randn(2, 3, 32, 32))
    assert shapes == [(2, 64, 32, 32), (2, 512, 4, 4)]
    assert parameters(build_backbone("resnet18", channels=3, image_size=64)) == 11_176_512


def test_weights_come_from_the_seed_alone() -> None:
    for name in ("resnet8", "resnet18"):
        twins = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            twins.append(torch.cat([p.flatten() for p in build_backbone(name, channels=3, image_size=32).parameters()]))
        assert torch.equal(twins[0], twins[1])
        assert not torch.equal(twins[0], twins[2])


def test_building_moves_no_buffer() -> None:
    backbone = build_backbone("resnet18", channels=3, image_size=32)
    assert not any(b.any() for name, b in backbone.named_buffers() if "mean" in name or "tracked" in name)


def test_vit_on_small_images_has_eight_by_eight_tokens() -> None:
    for image_size in (8, 32):
        network = build_backbone("vit_tiny_patch16_224", channels=1, image_size=image_size).network
        assert isinstance(network.patch_embed, nn.Module)
        assert network.patch_embed.num_patches == 64


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18d", "convnext_atto_ols"])
def test_a_model_without_a_small_stem_is_refused_on_small_images(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}.*stem made for large images, which at 32 px"):
        build_backbone(name, channels=3, image_size=32)


def test_any_other_timm_model_works_on_larger_images() -> None:
    backbone = build_backbone("mobilenetv3_small_050", channels=3, image_size=64)
    assert backbone.eval()(torch.randn(2, 3, 64, 64)).shape == (2, backbone.feature_dim)
    with pytest.raises(UsageError, match="does not take images of 3 x 70 x 70"):
        build_backbone("levit_128s", channels=3, image_size=70)


def test_names() -> None:
    assert "resnet18" in timm_names()
    # Names of our own must not hide models of timm.
    assert not {"resnet8", "resnet8w16", "resnet8w32", "resnet20"} & {*timm_names()}
    with pytest.raises(UsageError, match="did you mean 'resnet8'"):
        build_backbone("resnet88", channels=3, image_size=32)
    with pytest.raises(UsageError, match="did you mean 'convnext_nano'"):
        build_backbone("convnext_nanno", channels=3, image_size=32)
    with pytest.raises(UsageError, match="known: convnext_atto, resnet18"):
        build_backbone("hf-hub:someone/something", channels=3, image_size=32)
