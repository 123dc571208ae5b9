"""What runs will take, before they run: time, memory and disk, of each and of all together."""

from __future__ import annotations

import gc
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsabench.config.run_config import RunConfig
from dsabench.data import Datasets
from dsabench.training.machine import prepare
from dsabench.training.price import free_memory_mb, from_store, taken
from dsabench.training.ranks import make_fabric
from dsabench.training.run import GENERATIONS, Run
from dsabench.training.state import State
from dsabench.training.store import Store

BYTES = 4


@dataclass(frozen=True)
class Estimate:
    """One run's identity and folder, how far it is, and what the rest of it takes; `seconds` are of training alone.

    `memory_mb` is the peak resident memory of the process, its libraries (about half a gigabyte) and the data
    included; on CUDA that of the device. `disk_mb` counts the checkpoints and the backbone's features.
    """

    run: str
    run_id: str
    run_dir: str
    status: str
    steps: int
    steps_done: int
    step_s: float
    seconds: float
    memory_mb: int
    disk_mb: int
    parameters: int
    known_by: str


@dataclass(frozen=True)
class Total:
    """What all runs take together, `jobs` of them side by side.

    `seconds` is when the last one ends where each begins as soon as there is room, as `compare` does it; memory is of
    all that run at one time, `memory_free_mb` and `disk_free_mb` what there is, None where the system does not say.
    """

    runs: int
    finished: int
    jobs: int
    seconds: float
    memory_mb: int
    memory_free_mb: int | None
    disk_mb: int
    disk_free_mb: int | None

    def warnings(self) -> list[str]:
        """What cannot fit."""
        found = []
        for what, needed, free, mend in (
            ("memory", self.memory_mb, self.memory_free_mb, "take fewer --jobs or a smaller --batch-size"),
            ("disk", self.disk_mb, self.disk_free_mb, "name another --runs folder"),
        ):
            if free is not None and needed > free:
                found.append(f"warning: {needed:,} MB of {what} are needed and {free:,} MB are free; {mend}")
        return found


def estimates(planned: Sequence[RunConfig], store: Store, datasets: Datasets) -> list[Estimate]:
    """What each run takes from where it stands; runs of one spec cost the same and are measured once."""
    sizes: dict[str, Estimate] = {}
    there = store.runs(warn=False)
    found = []
    for config in planned:
        run = store.run(config)
        if str(config.spec) not in sizes:
            sizes[str(config.spec)] = measured(config, there, datasets)
            # Not two models at a time in memory.
            gc.collect()
        size = sizes[str(config.spec)]
        complete = run.is_complete()
        seen = run.state.get("images_seen", 0) // images_per_step(config, datasets)
        done = size.steps if complete else min(size.steps, seen)
        found.append(
            replace(
                size,
                run=config.label,
                run_id=config.run_id,
                run_dir=str(run.folder),
                status="finished" if complete else status_of(run),
                steps_done=done,
                seconds=round((size.steps - done) * size.step_s, 1),
                disk_mb=0 if complete else size.disk_mb,
            )
        )
    return found


def status_of(run: Run) -> str:
    """The status of a run that is not complete; what has lost its last checkpoint goes on from the one before."""
    status = str(run.state["status"])
    return "damaged" if status == "finished" else status


def images_per_step(config: RunConfig, datasets: Datasets) -> int:
    """Images of a step, over all processes."""
    return min(config.batch_size, len(datasets.load(config.data).train))


def total(found: Sequence[Estimate], jobs: int, room: int, runs: Path, device: str) -> Total:
    """All runs together, `jobs` of them side by side; more than `room` of them make each slower."""
    left = [one for one in found if one.status != "finished"]
    at_once = max(1, min(jobs, len(left)))
    ends = [0.0] * min(at_once, room)
    for one in left:
        ends[ends.index(min(ends))] += one.seconds
    largest = sorted((one.memory_mb for one in left), reverse=True)[:at_once]
    return Total(
        runs=len(found),
        finished=len(found) - len(left),
        jobs=at_once,
        seconds=round(max(ends), 1),
        memory_mb=sum(largest),
        memory_free_mb=free_memory_mb(device),
        disk_mb=sum(one.disk_mb for one in left),
        disk_free_mb=free_disk_mb(runs),
    )


def measured(config: RunConfig, there: Sequence[Run], datasets: Datasets) -> Estimate:
    """A run of this configuration as far as its size goes, and what a step of it costs."""
    dataset = datasets.load(config.data)
    prepare(config.threads, deterministic=config.deterministic and config.device == "cuda")
    state = State(config, dataset, make_fabric(config))
    saved = sum(tensor.numel() * tensor.element_size() for tensor in state.tensors().values())
    parameters = sum(p.numel() for p in state.method.parameters() if p.requires_grad)
    moments = 2 * parameters * BYTES
    splits = (dataset.train, dataset.val, dataset.test)
    features = sum(len(split) for split in splits) * state.feature_dim * BYTES
    price = from_store(config, there, state.images_per_step) or taken(state)
    return Estimate(
        run=config.label,
        run_id=config.run_id,
        run_dir="",
        status="",
        steps=state.total,
        steps_done=0,
        step_s=price.step_s,
        seconds=0.0,
        memory_mb=round(price.memory_mb),
        disk_mb=math.ceil((GENERATIONS * (saved + moments) + features) / 1e6),
        parameters=parameters,
        known_by=price.known_by,
    )


def free_disk_mb(folder: Path) -> int | None:
    """Disk that is free where a folder lies or will lie."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return round(shutil.disk_usage(there).free / 1e6)
