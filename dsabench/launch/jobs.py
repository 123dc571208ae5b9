"""Many runs: one after another, or side by side in processes of their own. The rows are the same either way."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from dsabench.errors import RunFailed
from dsabench.launch.work import Job, Workshop
from dsabench.launch.worker import Message, serve
from dsabench.progress import Update
from dsabench.signals import EXIT_CODES
from dsabench.tables.rows import Row

# How often the parent looks for signals while its workers work, in seconds.
POLL_S = 0.2


def default_jobs(threads: int, device: str) -> int:
    """As many runs as the processor has room for; one at a time on an accelerator, which they would share."""
    return max(1, available_cores() // threads) if device == "cpu" else 1


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(jobs: Sequence[Job], processes: int, shop: Workshop) -> list[Row]:
    """The rows of all jobs in their order; raises what a job raised, after the others have saved their work."""
    if min(processes, len(jobs)) <= 1:
        return [row for job in jobs for row in job.rows(shop)]
    with shop.stop.deferred():
        return side_by_side(jobs, processes, shop)


def side_by_side(jobs: Sequence[Job], processes: int, shop: Workshop) -> list[Row]:
    """The same in processes of their own; looks for signals, and lets every worker save its work when one has come."""
    waiting = deque(enumerate(jobs))
    done: dict[int, list[Row]] = {}
    team: list[Worker] = []
    try:
        team += [Worker.start(shop) for _ in range(min(processes, len(jobs)))]
        while len(done) < len(jobs):
            for worker in team:
                if worker.place is None and waiting:
                    worker.give(*waiting.popleft())
            ready = wait([worker.pipe for worker in team if worker.place is not None], timeout=POLL_S)
            shop.stop.check()
            for worker in team:
                if worker.place is None or worker.pipe not in ready:
                    continue
                if isinstance(message := worker.news(), Update):
                    shop.report(message)
                else:
                    done[worker.place], worker.place = message, None
    finally:
        for worker in team:
            worker.end()
        for worker in team:
            worker.process.join()
    return [row for place in range(len(jobs)) for row in done[place]]


@dataclass
class Worker:
    """The parent's end of a worker process; `place` is that of the job it works on."""

    process: SpawnProcess
    pipe: Connection
    place: int | None = None

    @classmethod
    def start(cls, shop: Workshop) -> Worker:
        """A new process that waits for its first job."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, os.getpid(), shop.store.path, shop.datasets.offline)
        process = context.Process(target=serve, args=arguments)
        # Starting it unblocks SIGINT, so it comes first.
        resource_tracker.ensure_running()
        # A signal that comes before the process listens waits until it does, instead of ending it with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # Ours alone is left open here, so that each end notices when the other has gone.
        theirs.close()
        return cls(process, ours)

    def give(self, place: int, job: Job) -> None:
        """Have the worker do a job."""
        self.place = place
        with suppress(OSError):
            # A worker that has died is noticed where its answer is read.
            self.pipe.send(job)

    def news(self) -> Update | list[Row]:
        """What the worker says next; raises what its job raised, and RunFailed where it has died."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise RunFailed("a worker process died, perhaps for want of memory; try fewer --jobs") from error
        if isinstance(message, BaseException):
            raise message
        return message

    def end(self) -> None:
        """Ask the worker to end: at once where it waits, after a checkpoint where it works."""
        self.pipe.close()
        if self.place is not None and self.process.is_alive():
            self.process.terminate()
