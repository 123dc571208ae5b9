"""Two views of every image a second: ours in batches beside torchvision and lightly per image, and kornia in batches.

python -m benchmarks.speed.augment [--json]; about four minutes on two cores. The law is SimCLR's on CIFAR (crop, flip,
jitter .8/.8/.8/.2 with probability .8, grey .2, normalised), and once more with its blur. Ours starts from uint8 images
that are resident and makes the anchor too; torchvision and lightly from PIL images, as torchvision's data sets give;
kornia from the same uint8 batch. At 224 px also from JPEG files of 500 x 375 pixels: ours as a set that streams, beside
torchvision's ImageFolder in a DataLoader, each once its workers are at work. On a CPU what follows our crops has
one thread, where torchvision's workers share it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.speed.measure import Report, Work, arguments, in_turns, installed, rate, ratio, set_threads
from dsabench.data.dataset import Dataset, Files, ImageSource, Split
from dsabench.data.loader import pretraining_batches
from dsabench.data.sources.decoding import FileSource
from dsabench.data.views.policies import POLICIES, ViewPolicies, ViewPolicy
from dsabench.data.views.resampling import blur_kernel
from dsabench.training.cost import freed_memory_kept
from dsabench.types import Views

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
LAWS = {"": replace(POLICIES["symmetric"].view1, blur_p=0.0), "_blur": POLICIES["symmetric"].view1}
# Images a call, ours and kornia's: less where they are large, as a run would have it.
BATCH = {32: 256, 64: 256, 96: 128, 224: 32}
PER_IMAGE = 32
JPEG_BATCH, JPEG_BATCHES, FILES = 16, 24, 48


def main() -> None:
    """Measure at every size, then from files, and print."""
    parser = arguments(str(__doc__).splitlines()[0])
    options = parser.parse_args()
    set_threads(options.threads)
    rounds, seconds = (1, 0.01) if options.smoke else (options.rounds, 0.4)
    report = Report("augment", {"threads": options.threads, "rounds": rounds, "law": "SimCLR's, CIFAR"})
    # As in a run; every candidate has it.
    with freed_memory_kept():
        for suffix, policy in LAWS.items():
            for size in (32,) if options.smoke else BATCH:
                measure(report, policy, size, suffix, rounds, seconds)
    for workers in (0,) if options.smoke else (0, 2):
        measure_files(report, workers, min(rounds, 3), batches=2 if options.smoke else JPEG_BATCHES)
    report.print(options.json)


def measure(report: Report, policy: ViewPolicy, size: int, suffix: str, rounds: int, seconds: float) -> None:
    """All candidates on images of one size that are in memory."""
    batch = BATCH[size]
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    candidates: dict[str, tuple[int, Work]] = {
        "ours": (batch, ours(images, policy)),
        "torchvision": (PER_IMAGE, per_image(images, torchvision_view(policy, size, from_pil=True))),
        "lightly": (PER_IMAGE, per_image(images, lightly_view(policy, size))),
    }
    if installed("kornia"):
        candidates["kornia"] = (batch, kornia_views(images, policy, size))
    times = in_turns({name: work for name, (_, work) in candidates.items()}, rounds=rounds, seconds=seconds)
    per_item = {name: [one / candidates[name][0] for one in taken] for name, taken in times.items()}
    for name, taken in per_item.items():
        law = "with blur" if suffix else "without blur"
        report.figures.append({"what": name, "px": size, "law": law, "two_view_images_per_s": rate(1, taken)})
        if name != "ours":
            report.ratios[f"{name}_{size}px{suffix}"] = ratio(taken, per_item["ours"])


def measure_files(report: Report, workers: int, rounds: int, batches: int) -> None:
    """Both ways from JPEG files to normalised views of 224 px."""
    size, policy = 224, LAWS[""]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_jpegs(Path(folder))
        index = torch.arange(batches * JPEG_BATCH) % len(paths)
        source = FileSource(Files(Path(folder), tuple(paths[i] for i in index.tolist())), size)
        candidates: dict[str, Callable[[], Iterator[object]]] = {
            "ours": lambda: epoch(source, len(index), size, policy, JPEG_BATCH, workers),
            "torchvision": lambda: image_folder(Path(folder), index, policy, size, workers),
        }
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(rounds):
            for name, start in candidates.items():
                times[name].append(seconds_per_image(start(), batches, workers))
    for name, taken in times.items():
        what = {"what": f"{name}, JPEG files", "px": size, "workers": workers}
        report.figures.append({**what, "two_view_images_per_s": rate(1, taken)})
    report.ratios[f"imagefolder_{workers}_workers_{size}px"] = ratio(times["torchvision"], times["ours"])


def seconds_per_image(batches: Iterator[object], count: int, workers: int) -> float:
    """Once the workers have started: what they may have read ahead by then is not counted."""
    ahead = min(3 * workers, count // 2)
    for _ in islice(batches, ahead):
        pass
    start = time.perf_counter()
    for _ in batches:
        pass
    return (time.perf_counter() - start) / ((count - ahead) * JPEG_BATCH)


def epoch(
    images: Tensor | ImageSource, count: int, size: int, policy: ViewPolicy, batch: int, workers: int = 0
) -> Iterator[Views]:
    """An epoch as a run has it: anchor and both views, normalised."""
    split = Split(torch.zeros(count, dtype=torch.int64), images)
    dataset = Dataset("benchmark", split, split, split, ("all",), 3, size, MEAN, STD, "")
    return pretraining_batches(
        dataset,
        ViewPolicies(policy, policy),
        batch_size=batch,
        seed=0,
        epoch=0,
        device="cpu",
        workers=workers,
        reference=False,
    )


def ours(images: Tensor, policy: ViewPolicy) -> Work:
    """One batch from resident images."""
    return lambda: list(epoch(images, len(images), images.shape[-1], policy, len(images)))


def per_image(images: Tensor, view: Callable[[Any], Any]) -> Work:
    """Two views of a few images, one by one from the arrays that a data set holds, then stacked."""
    arrays = list(images[:PER_IMAGE].permute(0, 2, 3, 1).contiguous().numpy())

    def work() -> object:
        pairs = [(view(picture), view(picture)) for picture in map(Image.fromarray, arrays)]
        return [torch.stack(views) for views in zip(*pairs, strict=True)]

    return work


def torchvision_view(policy: ViewPolicy, size: int, *, from_pil: bool) -> Callable[[Any], Any]:
    """The law as torchvision's documentation writes it."""
    steps = [
        v2.RandomResizedCrop(size, policy.crop_scale, policy.crop_ratio, antialias=True),
        v2.RandomHorizontalFlip(policy.flip_p),
        v2.RandomApply([v2.ColorJitter(*policy.jitter)], policy.jitter_p),
        v2.RandomGrayscale(policy.grey_p),
    ]
    if policy.blur_p:
        steps.append(v2.RandomApply([v2.GaussianBlur(blur_kernel(size), policy.blur_sigma)], policy.blur_p))
    convert = [v2.ToImage()] if from_pil else []
    view: Callable[[Any], Any] = v2.Compose(
        [*steps, *convert, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )
    return view


def lightly_view(policy: ViewPolicy, size: int) -> Callable[[Any], Any]:
    """lightly's own, whose blur is Pillow's."""
    from lightly.transforms.simclr_transform import SimCLRViewTransform

    view: Callable[[Any], Any] = SimCLRViewTransform(
        input_size=size, gaussian_blur=policy.blur_p, normalize={"mean": list(MEAN), "std": list(STD)}
    )
    return view


def kornia_views(images: Tensor, policy: ViewPolicy, size: int) -> Work:
    """Both views of one batch, every image with parameters of its own."""
    import kornia.augmentation as augmentation

    steps = [
        augmentation.RandomResizedCrop((size, size), scale=policy.crop_scale, ratio=policy.crop_ratio),
        augmentation.RandomHorizontalFlip(p=policy.flip_p),
        augmentation.ColorJiggle(*policy.jitter, p=policy.jitter_p),
        augmentation.RandomGrayscale(p=policy.grey_p),
    ]
    if policy.blur_p:
        kernel = (blur_kernel(size),) * 2
        steps.append(augmentation.RandomGaussianBlur(kernel, policy.blur_sigma, p=policy.blur_p))
    views = torch.nn.Sequential(*steps, augmentation.Normalize(torch.tensor(MEAN), torch.tensor(STD)))

    def work() -> object:
        unit = images.float() / 255
        return views(unit), views(unit)

    return work


def image_folder(folder: Path, index: Tensor, policy: ViewPolicy, size: int, workers: int) -> Iterator[object]:
    """torchvision's ImageFolder in a DataLoader, in the same number of processes."""
    view = torchvision_view(policy, size, from_pil=True)
    images = Subset(ImageFolder(str(folder), lambda picture: (view(picture), view(picture))), index.tolist())
    return iter(DataLoader(images, batch_size=JPEG_BATCH, num_workers=workers, drop_last=True))


def write_jpegs(folder: Path) -> list[str]:
    """Photograph-like files of 500 x 375 pixels: smooth, with some grain."""
    draw = np.random.default_rng(0)
    (folder / "all").mkdir()
    paths = []
    for position in range(FILES):
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = (smooth + draw.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "all" / f"{position:03d}.jpg", quality=90)
        paths.append(f"all/{position:03d}.jpg")
    return paths


if __name__ == "__main__":
    main()
