"""What is left of accuracy where test images are corrupted: six corruptions at five severities, made here."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d, interpolate, pad

from dsabench import rng
from dsabench.data.dataset import ImageSource, Picture, Split
from dsabench.evaluation.subject import Subject
from dsabench.probes.base import accuracy_of
from dsabench.probes.knn import knn
from dsabench.types import Answer, Features, ProbeResult, Score

SEVERITIES = (1, 2, 3, 4, 5)
# Of severity 1 to 5, as ImageNet-C has them (arXiv 1903.12261, its code) for noise (standard deviation), brightness
# (what is added), JPEG (quality) and pixelation (share of the side that is left); contrast is CIFAR-10-C's factor.
NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
QUALITY = (25, 18, 15, 10, 7)
PIXELS_LEFT = (0.6, 0.5, 0.4, 0.3, 0.25)
# Standard deviation of a Gaussian in pixels, of images up to 32 px; of larger ones in proportion.
BLUR = (0.4, 0.6, 0.8, 1.0, 1.5)
BLUR_SIDE = 32


def corruptions(
    train: Features, val: Features, test: Features, *, seed: int, subject: Subject, k: int = 20
) -> ProbeResult:
    """Answers of `knn` with `k` neighbours for every corruption of the test images, and the mean relative drop.

    `mean_relative_drop` is the mean over corruptions and severities of 1 - accuracy / clean accuracy: after Hendrycks
    and Dietterich 2019, arXiv 1903.12261, whose families of noise, blur, weather (brightness), contrast, JPEG and
    pixelation are here one each. Noise is drawn by corruption, severity and position, so that all arms see the same
    images. The training features are those of clean images. `val` and `seed` are not used. Raises ValueError as `knn`
    does, for images of other than 1 or 3 channels, and where no clean answer is right.
    Cost: O(N M D) thirty times, and the features of thirty test splits.
    """
    (clean,) = knn(train, val, test, seed=seed, k=k).answers
    before = accuracy_of(clean, test.y)
    if before == 0:
        raise ValueError("a relative drop needs a clean accuracy above 0")
    _, _, images = subject.images()
    answers = [Answer({"corruption": "none", "severity": 0, "k": k}, clean.predicted)]
    drops = []
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            subject.stop.check()
            changed = subject.features(corrupted(images, name, severity, files=subject.preprocess.crop_pct is not None))
            (answer,) = knn(train, val, changed, seed=seed, k=k).answers
            answers.append(Answer({"corruption": name, "severity": severity, "k": k}, answer.predicted))
            drops.append(1 - accuracy_of(answer, test.y) / before)
    return ProbeResult([Score("mean_relative_drop", sum(drops) / len(drops), {"k": k}, False)], answers)


def corrupted(split: Split, name: str, severity: int, *, files: bool = False) -> Split:
    """A split with its images corrupted; with `files` those of its files, where it has any, at their own size."""
    images = (split.files if files else None) or split.images
    if isinstance(images, Tensor):
        changed = [corrupt(image, name, severity, position) for position, image in enumerate(images)]
        return Split(split.labels, torch.stack(changed))
    return Split(split.labels, CorruptedImages(images, name, severity))


@dataclass(frozen=True)
class CorruptedImages:
    """The images of a source, each corrupted when it is read."""

    images: ImageSource
    corruption: str
    severity: int

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, C, H, W)."""
        rows = zip(index.tolist(), self.images.read(index), strict=True)
        return torch.stack([corrupt(image, self.corruption, self.severity, position) for position, image in rows])

    def pictures(self, index: Tensor) -> Iterator[Picture]:
        """The same images one after another, each also as its file has it."""
        for position, picture in zip(index.tolist(), self.images.pictures(index), strict=True):
            yield Picture(*(corrupt(image, self.corruption, self.severity, position) for image in picture))

    def listing(self) -> Iterator[tuple[str, int]]:
        """Nothing: what is read here is no data set of its own."""
        return iter(())


def corrupt(image: Tensor, name: str, severity: int, position: int) -> Tensor:
    """An image (C, H, W), pixels in 0..255, corrupted, as uint8; `position` names its draws.

    Raises ValueError for channels that are neither one nor three.
    """
    if image.shape[0] not in (1, 3):
        raise ValueError(f"images of {image.shape[0]} channels cannot be corrupted; 1 and 3 can")
    draws = rng.generator("corruptions", name, severity, position)
    changed = CORRUPTIONS[name](image.float() / 255, severity - 1, draws)
    return (changed * 255).round().clamp(0, 255).to(torch.uint8)


def noise(x: Tensor, level: int, draws: torch.Generator) -> Tensor:
    """Gaussian noise added to every value of `x` (C, H, W) in [0, 1]."""
    return x + NOISE[level] * torch.randn(x.shape, generator=draws)


def blur(x: Tensor, level: int, draws: torch.Generator) -> Tensor:
    """A Gaussian blur, its kernel cut off at 4 standard deviations, the borders repeated."""
    sigma = BLUR[level] * max(1.0, min(x.shape[1:]) / BLUR_SIDE)
    reach = max(1, round(4 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    wide = pad(x[:, None], (reach,) * 4, mode="replicate")
    blurred = conv2d(conv2d(wide, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return blurred[:, 0]


def contrast(x: Tensor, level: int, draws: torch.Generator) -> Tensor:
    """Every channel drawn towards its mean over the image."""
    mean = x.mean(dim=(1, 2), keepdim=True)
    return mean + CONTRAST[level] * (x - mean)


def brightness(x: Tensor, level: int, draws: torch.Generator) -> Tensor:
    """Light added to every value."""
    return x + BRIGHTNESS[level]


def jpeg(x: Tensor, level: int, draws: torch.Generator) -> Tensor:
    """Compressed by Pillow and read again."""
    # Slow to import, and no other corruption needs it.
    from PIL import Image
    from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

    with io.BytesIO() as file:
        to_pil_image((x * 255).round().to(torch.uint8)).save(file, "JPEG", quality=QUALITY[level])
        with Image.open(file) as image:
            read: Tensor = pil_to_tensor(image).float() / 255
    return read


def pixelate(x: Tensor, level: int, draws: torch.Generator) -> Tensor:
    """Averaged over a coarser grid of pixels."""
    height, width = (max(1, round(side * PIXELS_LEFT[level])) for side in x.shape[1:])
    return interpolate(adaptive_avg_pool2d(x, (height, width))[None], size=x.shape[1:], mode="nearest-exact")[0]


Corruption = Callable[[Tensor, int, torch.Generator], Tensor]
CORRUPTIONS: Mapping[str, Corruption] = {
    "noise": noise,
    "blur": blur,
    "contrast": contrast,
    "brightness": brightness,
    "jpeg": jpeg,
    "pixelate": pixelate,
}
