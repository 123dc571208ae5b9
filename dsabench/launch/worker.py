"""A worker process: it takes jobs from a pipe, answers with rows, and ends with its parent."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from dsabench.data import Datasets
from dsabench.launch.work import Job, Workshop
from dsabench.progress import Update
from dsabench.signals import EXIT_CODES, Stop
from dsabench.tables.rows import Row
from dsabench.training.store import Store

# Of Linux's prctl.h: the signal that this process gets when its parent has died.
PR_SET_PDEATHSIG = 1

# What comes back for a job: how far it is, its rows, or what went wrong.
Message = Update | list[Row] | BaseException


def serve(pipe: Connection, parent: int, store: Path, offline: bool) -> None:
    """Do the jobs that come through `pipe` until it is closed. Called in a process of its own."""
    # A worker that waits for work ends with its pipe, one that trains saves first.
    stop = Stop().listen(ends_at_once=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EXIT_CODES)
    end_with_parent(parent)

    def report(update: Update) -> None:
        try:
            # A parent that does not read must not keep a run waiting: what is not read in time is not news.
            if select.select((), (pipe,), (), 0)[1]:
                pipe.send(update)
        except OSError:
            # Nobody is there to read the rows either, but what was trained is kept.
            stop.request(signal.SIGTERM)

    shop = Workshop(Store(store), Datasets(offline=offline), stop, report)
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            stop.check()
            answer: Message = job.rows(shop)
        except Exception as error:
            # A pickled exception has lost where it came from.
            error.add_note("".join(traceback.format_exception(error)))
            answer = error
        try:
            pipe.send(answer)
        except OSError:
            return


def end_with_parent(parent: int) -> None:
    """Have this process get SIGTERM when `parent` dies, however that happens, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # It died before it could be watched.
            os.kill(os.getpid(), signal.SIGTERM)
