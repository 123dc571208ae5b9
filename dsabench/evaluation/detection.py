"""Object detection: torchvision's Faster R-CNN on an encoder's backbone, and its average precision."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsabench import rng
from dsabench.config.optimization import OptimizerOptions
from dsabench.data.loader import with_channels
from dsabench.data.voc import Boxes, Voc, VocImages, read_voc
from dsabench.errors import UsageError
from dsabench.evaluation.checkpoints import Checkpoints
from dsabench.evaluation.pooling import network_of
from dsabench.evaluation.subject import Subject
from dsabench.evaluation.waiting import Waiting
from dsabench.training.checkpoint import module_state, optimizer_state, restore_module, restore_optimizer
from dsabench.training.optimizers import build_optimizer, learning_rate
from dsabench.types import Features, ProbeResult, Score

LR = 0.02
# The side of anchors as shares of the shorter side of an image.
ANCHORS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
RATIOS = (0.5, 1.0, 2.0)


def detection(
    train: Features,
    val: Features,
    test: Features,
    *,
    seed: int,
    subject: Subject,
    data: str = "VOCdevkit/VOC2007",
    backbone: str = "tuned",
    steps: int = 2000,
    batch_size: int = 4,
    size: int = 320,
) -> ProbeResult:
    """`ap` (at IoU .50 to .95), `ap50` and `ap75` of Faster R-CNN on the backbone's last map, on VOC images in `data`.

    `backbone` is `tuned` with the detector or `frozen`; batch norm keeps its statistics in either. SGD (momentum .9,
    weight decay 1e-4) from a learning rate of .02 at 16 images a step, in proportion for others, warmed up over a tenth
    of the `steps` and then along a cosine; images are flipped, and resized so that their shorter side is `size`.
    Ren et al. 2015, arXiv 1506.01497, without a pyramid; AP as COCO has it, by torchmetrics. It goes on where it was
    stopped, with the same bits, and its weights stay beside the features. Needs the extra `detection`. No feature of a
    split is read. Raises ValueError for a backbone that gives no map of an image and for weights that are not finite,
    UsageError without the extra, DataError as `read_voc` does.
    Cost: training, `steps` steps.
    """
    average_precision()
    if backbone not in ("tuned", "frozen"):
        raise UsageError(f"the backbone of detection is tuned or frozen, not {backbone!r}")
    if str(subject.layer) != "backbone":
        raise ValueError(f"detection reads the last map of the backbone, and the layer is {subject.layer}")
    voc = read_voc(Path(data))
    params = {"backbone": backbone, "steps": steps, "batch_size": batch_size, "size": size}
    facts = {"seed": seed, "data": voc.sha256, **params}
    with subject.stop.deferred(), subject.workplace("detection", facts, keep=True) as folder:
        detector = detector_of(subject, len(voc.classes), backbone, size, seed)
        train_detector(detector, voc, subject, folder, seed=seed, steps=steps, batch_size=batch_size)
        values = scored(detector, voc.test, subject)
    named = {"data": Path(data).name, "data_sha256": voc.sha256[:12], "images": len(voc.test), **params}
    return ProbeResult([Score(name, value, named) for name, value in values.items()])


class LastMap(nn.Module):
    """The last map (B, `out_channels`, h, w) of a `network` for images (B, C, H, W), before it is pooled.

    Raises ValueError for a network that has none.
    """

    def __init__(self, network: nn.Module, channels: int, size: int, device: torch.device) -> None:
        super().__init__()
        self.network = network.to(device).eval()
        if not callable(getattr(network, "forward_features", None)):
            raise ValueError(f"{type(network).__name__} gives no map of an image")
        with torch.no_grad():
            self.out_channels = int(self(torch.zeros(1, channels, size, size, device=device)).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        network: Any = self.network
        found: Tensor = network.forward_features(images)
        if found.ndim != 4:
            raise ValueError(f"{type(network).__name__} gives no map of an image, but {found.ndim - 1} dimensions")
        return found.permute(0, 3, 1, 2) if getattr(network, "output_fmt", "NCHW") == "NHWC" else found

    def train(self, mode: bool = True) -> LastMap:
        """Stay in eval mode: batches of a few images have no statistics of their own."""
        return super().train(False)


def detector_of(subject: Subject, classes: int, backbone: str, size: int, seed: int) -> nn.Module:
    """Faster R-CNN for so many classes at its initialisation, on the encoder's weights."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.rpn import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    wanted = subject.preprocess
    network = copy.deepcopy(network_of(subject.encoder.layers["backbone"])).requires_grad_(backbone == "tuned")
    body = LastMap(network, wanted.channels, size, subject.device)
    with rng.forked(seed, "init", "detection"):
        detector: nn.Module = FasterRCNN(
            body,
            num_classes=classes + 1,
            min_size=size,
            max_size=2 * size,
            image_mean=list(wanted.mean),
            image_std=list(wanted.std),
            rpn_anchor_generator=AnchorGenerator((tuple(round(share * size) for share in ANCHORS),), (RATIOS,)),
            box_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
        )
    return detector.to(subject.device)


def train_detector(
    detector: nn.Module, voc: Voc, subject: Subject, folder: Path, *, seed: int, steps: int, batch_size: int
) -> None:
    """All steps that are left; a checkpoint every few seconds, and before the Interrupted of a signal."""
    options = OptimizerOptions(optimizer="sgd", lr=LR * batch_size / 16, weight_decay=1e-4, warmup_epochs=1)
    optimizer = build_optimizer(detector, options)
    checkpoints = Checkpoints(folder)
    start = 0
    if (newest := checkpoints.newest()) is not None:
        tensors, start = newest
        restore_module(detector, "detector", tensors)
        restore_optimizer(optimizer, "optimizer", tensors)
    waiting = Waiting(f"{subject.encoder.name}: detection")
    detector.train()
    with rng.forked(seed, "detection"):
        for step in range(start, steps):
            draws = rng.generator(seed, "detection", step)
            images, targets = batch(voc.train, subject, draws, batch_size)
            # The proposals that a loss is taken over are drawn from the global generator.
            torch.manual_seed(rng.seed_of(seed, "detection", "proposals", step))
            loss: Tensor = torch.stack(list(detector(images, targets).values())).sum()
            if not bool(loss.isfinite()):
                raise ValueError(f"the loss of detection is not finite at step {step}")
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(options, step, steps, 1, batch_size)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            waiting((step + 1) / steps)
            if subject.stop.requested or checkpoints.due() or step + 1 == steps:
                state = module_state(detector, "detector") | optimizer_state(optimizer, "optimizer")
                checkpoints.save(step + 1, state)
                subject.stop.check()


def batch(
    split: VocImages, subject: Subject, draws: torch.Generator, size: int
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images (C, h, w) in [0, 1], half of them mirrored, and their targets, drawn with replacement."""
    images, targets = [], []
    for position in torch.randint(len(split), (size,), generator=draws).tolist():
        image, boxes = shown(split, position, subject), split.boxes[position]
        corners = boxes.corners
        if float(torch.rand((), generator=draws)) < 0.5:
            image = image.flip(-1)
            corners = torch.stack(
                [image.shape[-1] - corners[:, 2], corners[:, 1], image.shape[-1] - corners[:, 0], corners[:, 3]], dim=1
            )
        kept = ~boxes.difficult
        targets.append({"boxes": corners[kept].to(image.device), "labels": boxes.labels[kept].to(image.device)})
        images.append(image)
    return images, targets


def shown(split: VocImages, position: int, subject: Subject) -> Tensor:
    """An image (C, h, w) in [0, 1] with the encoder's channels, on its device."""
    pixels = with_channels(split.image(position)[None], subject.preprocess.channels)[0]
    return pixels.to(subject.device).float() / 255


@torch.no_grad()
def scored(detector: nn.Module, split: VocImages, subject: Subject) -> dict[str, float]:
    """AP, AP50 and AP75 in [0, 1] of a detector on the images of a split."""
    metric = average_precision()
    detector.eval()
    for position, boxes in enumerate(split.boxes):
        subject.stop.check()
        (found,) = detector([shown(split, position, subject)])
        metric.update([{name: values.cpu() for name, values in found.items()}], [target_of(boxes)])
    values = metric.compute()
    if float(values["map"]) < 0:
        raise ValueError("the images that detection is scored on have no box to find")
    return {name: float(values[key]) for name, key in (("ap", "map"), ("ap50", "map_50"), ("ap75", "map_75"))}


def target_of(boxes: Boxes) -> dict[str, Tensor]:
    """The objects of an image as torchmetrics takes them; a difficult one counts neither for nor against."""
    return {"boxes": boxes.corners, "labels": boxes.labels, "iscrowd": boxes.difficult.long()}


def average_precision() -> Any:
    """The metric; raises UsageError where the extra that it needs is not installed."""
    if not all(find_spec(name) for name in ("torchmetrics", "faster_coco_eval")):
        raise UsageError("detection needs an extra; install it with: pip install 'dsabench[detection]'")
    from torchmetrics.detection import MeanAveragePrecision

    return MeanAveragePrecision(backend="faster_coco_eval")
