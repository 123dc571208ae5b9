"""Whole pretraining, images a second, beside lightly's CIFAR pipeline: same views, backbone, head, optimiser, batch.

python -m benchmarks.speed.end_to_end [--json] [--device cpu] [--workers 0,2]

Each side has a process of its own, ours with the settings of a run. The peer is SimCLR as lightly's documentation
builds it: PIL images through SimCLRTransform in a DataLoader with so many workers, the two views one after the other
through the backbone, NTXentLoss, SGD. Ours is the training loop of this package, data included. An image counts once,
with both its views.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.speed.arena import SIMCLR, endless_batches, made_up, make_state
from benchmarks.speed.measure import Report, arguments, in_turns, rate, ratio, set_threads, synchronise
from dsabench.backbones import build_backbone
from dsabench.data.dataset import Dataset
from dsabench.training.cost import freed_memory_kept
from dsabench.training.step import step

# Backbone, image size, channels, batch size, steps a turn.
CASES = {
    "lightly_pipeline": ("resnet8", 8, 1, 256, 8),
    "lightly_pipeline_32px": ("resnet8", 32, 3, 256, 2),
    "lightly_pipeline_resnet18": ("resnet18", 32, 3, 128, 1),
}
ON_GPU = {"lightly_pipeline_resnet18": ("resnet18", 32, 3, 512, 40)}
SMOKE = {"lightly_pipeline": ("resnet8w16", 8, 1, 32, 1)}


def main() -> None:
    parser = arguments(__doc__.split("\n")[0], rounds=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", help="of both sides: fp32 or bf16")
    parser.add_argument("--workers", default="0", help="of the peer's DataLoader, as in 0,4,8,16")
    options = parser.parse_args()
    set_threads(options.threads)
    if options.smoke:
        options.rounds = 1
    counts = [int(count) for count in options.workers.split(",")]
    settings = {key: getattr(options, key) for key in ("device", "precision", "threads", "workers")}
    report = Report("end_to_end", settings)
    cases = SMOKE if options.smoke else ON_GPU if options.device == "cuda" else CASES
    for name, case in cases.items():
        measure(report, name, case, counts, options)
    report.print(options.json)


def measure(
    report: Report,
    name: str,
    case: tuple[str, int, int, int, int],
    counts: list[int],
    options: argparse.Namespace,
) -> None:
    """One case: ours and the peer with each number of workers, in turns of the same number of steps."""
    backbone, size, _, batch, steps = case
    with ExitStack() as sides:
        work = {"ours": sides.enter_context(Side(None, case, options)).turn}
        for count in counts:
            work[f"lightly, {count} workers"] = sides.enter_context(Side(count, case, options)).turn
        times = in_turns(work, rounds=options.rounds, seconds=0.0)
    for who, seconds in times.items():
        report.figures.append(
            {"case": name, "backbone": backbone, "image_size": size, "batch_size": batch, "who": who}
            | {"images_per_s": rate(batch * steps, seconds)}
        )
    # Against the best that the peer reaches, round by round.
    peers = zip(*(seconds for who, seconds in times.items() if who != "ours"), strict=True)
    report.ratios[name] = ratio([min(turn) for turn in peers], times["ours"])


class Side:
    """A process that does a turn of steps when asked: ours, or the peer with so many `workers`."""

    def __init__(self, workers: int | None, case: tuple[str, int, int, int, int], options: argparse.Namespace) -> None:
        self.ours, theirs = get_context("spawn").Pipe()
        self.process = get_context("spawn").Process(target=serve, args=(theirs, workers, case, options))

    def __enter__(self) -> Side:
        self.process.start()
        self.ours.recv()
        return self

    def turn(self) -> None:
        """One turn, from the word to start to the word that it is done."""
        self.ours.send(True)
        self.ours.recv()

    def __exit__(self, *_: object) -> None:
        self.ours.send(False)
        self.process.join()


def serve(
    parent: Connection, workers: int | None, case: tuple[str, int, int, int, int], options: argparse.Namespace
) -> None:
    """What the process of a side does."""
    backbone, size, channels, batch, steps = case
    set_threads(options.threads)
    # Enough for every turn without an epoch's end, where a DataLoader starts its workers anew.
    dataset = made_up(batch * max(4, steps * (options.rounds + 2)), size, channels)
    with freed_memory_kept() if workers is None else nullcontext():
        once = (
            our_step(dataset, backbone, batch, options)
            if workers is None
            else Peer(dataset, backbone, batch, workers, options).step
        )
        parent.send(True)
        while parent.recv():
            for _ in range(steps):
                once()
            synchronise(options.device)
            parent.send(True)


def our_step(dataset: Dataset, backbone: str, batch: int, options: argparse.Namespace) -> Callable[[], object]:
    """A step of a run of this package."""
    asked = {"device": options.device, "precision": options.precision, "threads": options.threads}
    state = make_state(SIMCLR, dataset, backbone=backbone, batch_size=batch, **asked)
    stream = endless_batches(state)
    return lambda: step(state, next(stream))


class PILImages(TorchDataset[Any]):
    """Images as torchvision's CIFAR10 gives them: a PIL image made from an array each time, then the transform."""

    def __init__(self, dataset: Dataset) -> None:
        images = dataset.train.images
        assert isinstance(images, Tensor)
        self.arrays = images.permute(0, 2, 3, 1).squeeze(3).numpy()
        middle = {"mean": list(dataset.mean), "std": list(dataset.std)}
        self.transform = SimCLRTransform(
            input_size=dataset.image_size,
            cj_strength=0.5,
            min_scale=0.2,
            random_gray_scale=0.1,
            gaussian_blur=0.0,
            normalize=middle,
        )

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, item: int) -> Any:
        return self.transform(Image.fromarray(self.arrays[item]))


class Peer:
    """lightly's SimCLR example on a data set."""

    def __init__(self, dataset: Dataset, backbone: str, batch: int, workers: int, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        encoder = build_backbone(backbone, channels=dataset.channels, image_size=dataset.image_size)
        # As timm makes it: what we do to its memory format is ours.
        encoder.to(memory_format=torch.contiguous_format)
        head = SimCLRProjectionHead(encoder.feature_dim, 512, 128)
        self.model = nn.Sequential(encoder, head).to(self.device)
        self.criterion = NTXentLoss(temperature=0.5)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
        self.bf16 = options.precision == "bf16"
        self.loader = DataLoader(
            PILImages(dataset),
            batch_size=batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
        )
        self.stream = self.forever()

    def forever(self) -> Iterator[list[Tensor]]:
        """The batches, epoch after epoch."""
        while True:
            yield from self.loader

    def step(self) -> None:
        """One step as in lightly's documentation."""
        x0, x1 = (view.to(self.device, non_blocking=True) for view in next(self.stream))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            z0, z1 = self.model(x0), self.model(x1)
            loss = self.criterion(z0, z1)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


if __name__ == "__main__":
    main()
