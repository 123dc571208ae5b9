"""Many runs: one after another, or side by side in processes of their own. The rows are the same either way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import ClassVar, TypeAlias

from dsabench.config.run_config import RunConfig
from dsabench.errors import RunFailed
from dsabench.evaluation.evaluate import Evaluation
from dsabench.launch.work import Report, train_and_evaluate
from dsabench.progress import Update
from dsabench.signals import Stop
from dsabench.tables.rows import Row

# How often the parent looks for signals while its workers work, in seconds.
POLL_S = 0.2

Message: TypeAlias = Update | int | None


@dataclass(frozen=True)
class Job:
    """One run to train and evaluate."""

    config: RunConfig
    what: Evaluation
    runs: Path
    overwrite: bool
    offline: bool

    def rows(self, stop: Stop, report: Report) -> list[Row]:
        """Do it here."""
        return train_and_evaluate(
            self.config,
            self.what,
            self.runs,
            overwrite=self.overwrite,
            offline=self.offline,
            stop=stop,
            report=report,
        )


class Worker:
    """What a worker process holds: its own listener for signals, and the way to its parent."""

    stop: ClassVar[Stop]
    messages: ClassVar[SimpleQueue[Message]]

    @classmethod
    def start(cls, messages: SimpleQueue[Message]) -> None:
        """Called once in each new worker process, which tells its parent its number."""
        cls.stop = Stop().listen()
        cls.messages = messages
        messages.put(os.getpid())

    @classmethod
    def work(cls, job: Job) -> list[Row]:
        """Called in a worker process for each job."""
        cls.stop.check()
        return job.rows(cls.stop, cls.messages.put)


def default_jobs(threads: int, device: str) -> int:
    """As many runs as the processor has room for; one at a time on an accelerator, which they would share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads) if device == "cpu" else 1


def run_all(jobs: Sequence[Job], processes: int, stop: Stop, report: Report) -> list[Row]:
    """The rows of all jobs in their order; raises what a job raised, after the others have saved their work."""
    if min(processes, len(jobs)) <= 1:
        return [row for job in jobs for row in job.rows(stop, report)]
    context = get_context("spawn")
    messages: SimpleQueue[Message] = context.SimpleQueue()
    workers: list[int] = []

    def listen() -> None:
        while (message := messages.get()) is not None:
            if isinstance(message, int):
                workers.append(message)
            else:
                report(message)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=Worker.start, initargs=(messages,))
    futures = [pool.submit(Worker.work, job) for job in jobs]
    try:
        follow(futures, stop)
        return [row for future in futures for row in future.result()]
    except BrokenProcessPool as error:
        raise RunFailed("a worker process died, perhaps for want of memory; try fewer --jobs") from error
    finally:
        if any(not future.done() for future in futures):
            pool.shutdown(wait=False, cancel_futures=True)
            for number in workers:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGTERM)
        pool.shutdown(wait=True)
        messages.put(None)
        listener.join()


def follow(futures: Sequence[Future[list[Row]]], stop: Stop) -> None:
    """Return when all are done; raise the first error, or Interrupted when a signal has come."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=POLL_S, return_when=FIRST_COMPLETED)
        # A signal reaches the whole group, so a worker's word of it and our own are the same news.
        stop.check()
        for future in done:
            future.result()
