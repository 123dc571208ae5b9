"""Published sets of image files, downloaded once: read through torchvision's classes, which know their layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from dsabench.data.dataset import DatasetSpec, Files, RawDataset, RawSplit
from dsabench.data.sources import imagefolder
from dsabench.data.sources.archives import Archive
from dsabench.data.sources.downloads import Published, published


def _files(root: Path, paths: Sequence[str | Path], labels: Sequence[int]) -> RawSplit:
    """The split of these files below `root`, by path, so that no listing order matters; raises RuntimeError where one
    is missing."""
    pairs = zip(paths, labels, strict=True)
    named = sorted((Path(path).relative_to(root).as_posix(), int(label)) for path, label in pairs)
    for path, _ in named:
        if not (root / path).is_file():
            raise RuntimeError(f"{root / path} is missing")
    return RawSplit(
        Files(root, tuple(path for path, _ in named)), torch.tensor([label for _, label in named], dtype=torch.int64)
    )


def _gtsrb(root: Path) -> RawDataset:
    sources = [datasets.GTSRB(root, split=split) for split in ("train", "test")]
    train, test = (_files(root / "gtsrb", *zip(*source._samples, strict=True)) for source in sources)
    return RawDataset(train, test, tuple(f"{k:05d}" for k in range(43)))


def _eurosat(root: Path) -> RawDataset:
    source = datasets.EuroSAT(root)
    return RawDataset(
        _files(root / "eurosat" / "2750", *zip(*source.samples, strict=True)), None, tuple(source.classes)
    )


def _food101(root: Path) -> RawDataset:
    sources = [datasets.Food101(root, split=split) for split in ("train", "test")]
    train, test = (_files(root / "food-101" / "images", s._image_files, s._labels) for s in sources)
    return RawDataset(train, test, tuple(sources[0].classes))


def _with_validation(sources: Sequence[Any], images: Path, classes: Sequence[str]) -> RawDataset:
    """Train, val and test as their authors split them."""
    train, val, test = (_files(images, source._image_files, source._labels) for source in sources)
    return RawDataset(train, test, tuple(classes), val)


def _flowers102(root: Path) -> RawDataset:
    sources = [datasets.Flowers102(root, split=split) for split in ("train", "val", "test")]
    return _with_validation(sources, root / "flowers-102" / "jpg", datasets.Flowers102.classes)


def _dtd(root: Path) -> RawDataset:
    # The first of its ten partitions, as torchvision has it too.
    sources = [datasets.DTD(root, split=split) for split in ("train", "val", "test")]
    return _with_validation(sources, root / "dtd" / "dtd" / "images", sources[0].classes)


def _pets(root: Path) -> RawDataset:
    sources = [datasets.OxfordIIITPet(root, split=split) for split in ("trainval", "test")]
    train, test = (_files(root / "oxford-iiit-pet" / "images", s._images, s._labels) for s in sources)
    return RawDataset(train, test, tuple(sources[0].classes))


def _tiny_imagenet(root: Path) -> RawDataset:
    """Its training images lie in `train/CLASS/images`, its validation images in one folder beside a list of their
    classes; they serve as test images, since the labels of its test images were never published."""
    folder = root / "tiny-imagenet-200"
    classes = sorted((folder / "wnids.txt").read_text(encoding="utf-8").split())
    number = {name: k for k, name in enumerate(classes)}
    learn = [(path, number[path.parent.parent.name]) for path in folder.glob("train/*/images/*.JPEG")]
    lines = (folder / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines]
    held = [(folder / "val" / "images" / cell[0], number[cell[1]]) for cell in cells]
    if not learn or not held:
        raise RuntimeError(f"no images in {folder}")
    train, test = (_files(folder, *zip(*split, strict=True)) for split in (learn, held))
    return RawDataset(train, test, tuple(classes), test_from="its val; the test labels were never published")


_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
_FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
_EUROSAT = "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"

PHOTOGRAPHS: dict[str, Published] = {
    "gtsrb": Published(
        "GTSRB",
        "gtsrb",
        (
            Archive((_GTSRB + "GTSRB-Training_fixed.zip",), "513f3c79a4c5141765e10e952eaa2478"),
            Archive((_GTSRB + "GTSRB_Final_Test_Images.zip",), "c7e4e6327067d32654124b0fe9e82185"),
            Archive((_GTSRB + "GTSRB_Final_Test_GT.zip",), "fe31e9c9270bbcd7b84b7f21a9d9d9e5"),
        ),
        _gtsrb,
        (26_640, 12_630),
        "gtsrb",
    ),
    "eurosat": Published(
        "EuroSAT",
        "eurosat",
        (Archive((_EUROSAT + "EuroSAT.zip",), "c8fa014336c82ac7804f0398fcb19387"),),
        _eurosat,
        (27_000, 0),
        "eurosat",
    ),
    "food101": Published(
        "Food-101",
        "food-101",
        (Archive(("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",), "85eeb15f3717b99a5da872d97d918f87"),),
        _food101,
        (75_750, 25_250),
    ),
    "flowers102": Published(
        "Flowers-102",
        "flowers-102",
        (
            Archive((_FLOWERS + "102flowers.tgz",), "52808999861908f626f3c1f4e79d11fa"),
            Archive((_FLOWERS + "imagelabels.mat",), "e0620be6f572b9609742df49c70aed4d"),
            Archive((_FLOWERS + "setid.mat",), "a5357ecc9cb78c4bef273ce3793fc85c"),
        ),
        _flowers102,
        (2_040, 6_149),
        "flowers-102",
    ),
    "pets": Published(
        "Oxford-IIIT Pet",
        "oxford-iiit-pet",
        (
            Archive((_PETS + "images.tar.gz",), "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            Archive((_PETS + "annotations.tar.gz",), "95a8c909bbe2e81eed6a22bccdf3f68f"),
        ),
        _pets,
        (3_680, 3_669),
        "oxford-iiit-pet",
    ),
    "dtd": Published(
        "DTD",
        "dtd",
        (
            Archive(
                ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
                "fff73e5086ae6bdbea199a49dfb8a4c1",
            ),
        ),
        _dtd,
        (3_760, 1_880),
        "dtd",
    ),
    "tiny_imagenet": Published(
        "Tiny ImageNet",
        "tiny-imagenet-200",
        (Archive(("http://cs231n.stanford.edu/tiny-imagenet-200.zip",), "90528d7ca1a48142e341f4ef8d21d0de"),),
        _tiny_imagenet,
        (100_000, 10_000),
    ),
}


def _photographs(name: str, *, size: int, mean: tuple[float, ...], std: tuple[float, ...], **more: Any) -> DatasetSpec:
    return published(name, size=size, mean=mean, std=std, sets=PHOTOGRAPHS, **more)


# Published; of sets of photographs it is usual to take ImageNet's.
_IMAGENET: dict[str, Any] = {"size": 224, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

# Thirty photographs of one sign in passing are a track, `CLASS/TRACK_FRAME.ppm`.
GTSRB = _photographs(
    "gtsrb", size=32, mean=(0.3403, 0.3121, 0.3214), std=(0.2724, 0.2608, 0.2669), group_by=r"(\d{5}/\d{5})_\d{5}\.ppm$"
)
EUROSAT = _photographs("eurosat", size=64, mean=(0.3444, 0.3803, 0.4078), std=(0.2027, 0.1365, 0.1155))
FOOD101 = _photographs("food101", **_IMAGENET)
FLOWERS102 = _photographs("flowers102", **_IMAGENET)
PETS = _photographs("pets", **_IMAGENET)
DTD = _photographs("dtd", **_IMAGENET)
TINY_IMAGENET = _photographs("tiny_imagenet", size=64, mean=(0.4802, 0.4481, 0.3975), std=(0.2770, 0.2691, 0.2821))
IMAGENET = DatasetSpec("imagenet", imagefolder.build, 3, _IMAGENET["size"], _IMAGENET["mean"], _IMAGENET["std"])
