"""Images a second of a set that does not fit in memory: a folder of JPEG files, the same in tars, and resident pixels.

    python -m benchmarks.speed.streaming [--images 10000] [--json]

Photograph-like JPEG files of 500 x 375 pixels, some distinct ones over and over, with two views of 224 px each. A
folder and tars are loaded as `--dataset imagefolder` and `wds:` do; resident are the same images at 224 px as one
array. An epoch is timed once its workers are at work, the candidates in turns. How long it takes to load a set (which
lists or indexes it and takes its fingerprint) and what it then holds in memory are of one loading each.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed.augment import JPEG_BATCH, LAWS, epoch, seconds_per_image, write_jpegs
from benchmarks.speed.measure import Report, arguments, rate, ratio, set_threads
from dsabench.data import load_dataset, loading
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Dataset, ImageSource
from dsabench.data.subset import ChosenImages

SIZE = 224
# Images of a tar, and how many of a set an epoch reads.
SHARD, READ = 1000, 24 * JPEG_BATCH


def main() -> None:
    """Measure with no worker and with two, and print."""
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="files of the set that is listed and indexed")
    options = parser.parse_args()
    # However few, these images stand for a set that does not fit.
    loading.RESIDENT_BYTES = 0
    set_threads(options.threads)
    images, rounds, read = (60, 1, 2 * JPEG_BATCH) if options.smoke else (options.images, min(options.rounds, 3), READ)
    report = Report("streaming", {"threads": options.threads, "rounds": rounds, "images": images})
    with tempfile.TemporaryDirectory() as folder:
        sets = write_sets(Path(folder), images)
        loaded = {name: load(report, name, config) for name, config in sets.items()}
        for workers in (0,) if options.smoke else (0, 2):
            measure(report, loaded, workers, rounds, read)
    report.print(options.json)


def write_sets(folder: Path, images: int) -> Mapping[str, DataConfig]:
    """The same images of two classes as files, and in tars."""
    (folder / "few").mkdir()
    distinct = [folder / "few" / path for path in write_jpegs(folder / "few")]
    names = [f"{'ab'[position % 2]}/{position:06d}" for position in range(images)]
    for role in ("train", "test"):
        for label in "ab":
            (folder / "files" / role / label).mkdir(parents=True)
    (folder / "tars").mkdir()
    for role, held in (("train", names), ("test", names[:4])):
        for first in range(0, len(held), SHARD):
            with tarfile.open(folder / "tars" / f"{role}-{first // SHARD:03d}.tar", "w") as tar:
                for position, name in enumerate(held[first : first + SHARD], start=first):
                    file, word = folder / "files" / role / f"{name}.jpg", folder / "label.cls"
                    shutil.copy(distinct[position % len(distinct)], file)
                    word.write_text(name[0])
                    tar.add(file, f"{position:06d}.jpg")
                    tar.add(word, f"{position:06d}.cls")
    return {
        "folder": DataConfig(name="imagefolder", folder=str(folder / "files"), image_size=SIZE),
        "tars": DataConfig(name=f"wds:{folder}/tars/*.tar", image_size=SIZE),
    }


def load(report: Report, name: str, config: DataConfig) -> Dataset:
    """Load a set, and note how long that took and what it holds."""
    start = time.perf_counter()
    load_dataset(config)
    seconds = time.perf_counter() - start
    # Again, for to watch every allocation takes time.
    tracemalloc.start()
    dataset = load_dataset(config)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    images = len(dataset.train)
    figures = {"images": images, "seconds": seconds, "bytes_an_image": held / images}
    report.figures.append({"what": f"{name}, loaded", **figures})
    return dataset


def measure(report: Report, loaded: Mapping[str, Dataset], workers: int, rounds: int, read: int) -> None:
    """An epoch of part of each set, and of the same part resident."""
    index = torch.randperm(len(loaded["folder"].train), generator=torch.Generator().manual_seed(0))[:read]
    candidates: dict[str, Tensor | ImageSource] = {}
    for name, dataset in loaded.items():
        assert not isinstance(dataset.train.images, Tensor)
        candidates[name] = ChosenImages(dataset.train.images, index)
        candidates["resident"] = dataset.train.images.read(index)
    policy = LAWS[""]
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, pixels in candidates.items():
            batches = epoch(pixels, len(index), SIZE, policy, JPEG_BATCH, 0 if name == "resident" else workers)
            times[name].append(seconds_per_image(batches, len(index) // JPEG_BATCH, workers))
    for name, taken in times.items():
        report.figures.append({"what": name, "px": SIZE, "workers": workers, "two_view_images_per_s": rate(1, taken)})
        if name != "folder":
            report.ratios[f"{name}_over_folder_{workers}_workers"] = ratio(times["folder"], taken)


if __name__ == "__main__":
    main()
