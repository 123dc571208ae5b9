"""The processes that train one run together, one a device: those that torchrun or srun started, or started here.

Those that are started here are told who they are as torchrun would tell them. Fabric's own launcher kills its parent as
soon as a child has failed, before the parent can say what happened and write it down.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from dsabench.errors import DsabenchError, Interrupted, ProcessLost, RunFailed, UsageError, unknown

# Weights, queues and teachers are whole in each process: what these methods train fits on one device.
STRATEGIES = ("auto", "ddp")
# How long the others have to end by themselves once one has, in seconds.
GRACE_S = 5.0
# In the environment of a process that was started here: the process that started it.
PARENT = "_DSABENCH_STARTED_BY"


class Place(NamedTuple):
    """This process: number `rank` of `world_size`, and whether somebody else has `started` the others."""

    rank: int
    world_size: int
    started: bool

    @property
    def speaks(self) -> bool:
        """Whether this is the one of them that talks to the user."""
        return self.rank == 0


def place(devices: int | None, nodes: int, strategy: str = "auto") -> Place:
    """Where this process stands; raises UsageError for flags that contradict what torchrun or srun has started."""
    if strategy not in STRATEGIES:
        raise unknown("value of --strategy", strategy, STRATEGIES)
    for size, number, program in (("WORLD_SIZE", "RANK", "torchrun"), ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun")):
        world_size = int(os.environ.get(size, "1"))
        if size in os.environ and (world_size > 1 or size == "WORLD_SIZE"):
            if PARENT not in os.environ and devices is not None and devices * nodes != world_size:
                raise UsageError(
                    f"--devices {devices} --nodes {nodes} are {devices * nodes} processes, and {program} started "
                    f"{world_size}; leave the flags out, or start as many"
                )
            return Place(int(os.environ.get(number, "0")), world_size, started=True)
    if nodes > 1:
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
        if missing:
            raise UsageError(
                f"--nodes {nodes} needs the variables {', '.join(missing)} on every machine; torchrun and srun set "
                "what is needed by themselves"
            )
    node = int(os.environ.get("NODE_RANK", "0")) if nodes > 1 else 0
    return Place(node * (devices or 1), (devices or 1) * nodes, started=False)


def check_devices(devices: int | None, device: str) -> None:
    """Raise UsageError where this machine has fewer devices of that kind; a CPU takes any number of processes."""
    if devices is None or device == "cpu":
        return
    import torch

    there = torch.cuda.device_count() if device == "cuda" else 1
    if devices > there:
        raise UsageError(f"--devices {devices}: this machine has {there} of {device}")


@contextmanager
def joined(here: Place, devices: int | None, nodes: int) -> Iterator[None]:
    """Inside, all processes of the run are there. Those that are started here end with this one, however it ends.

    What all of them know of, one alone says: the others leave with its exit code and without a word.
    """
    children: list[subprocess.Popen[bytes]] = []
    if here.world_size > 1 and not here.started:
        children = start(here, devices or 1, nodes)
    try:
        yield
        leave()
    except DsabenchError as error:
        if here.speaks or not known_to_all(error):
            raise
        if isinstance(error, ProcessLost) and not end_parent() and int(os.environ["LOCAL_RANK"]) == 1:
            # Who should have said it is gone.
            raise
        raise SystemExit(error.exit_code) from None
    finally:
        end(children)


def start(here: Place, devices: int, nodes: int) -> list[subprocess.Popen[bytes]]:
    """Start the other processes of this machine with the words of this one, and become the first of them."""
    told = {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1") if nodes > 1 else "127.0.0.1",
        "MASTER_PORT": os.environ["MASTER_PORT"] if nodes > 1 else str(free_port()),
        "WORLD_SIZE": str(here.world_size),
        "LOCAL_WORLD_SIZE": str(devices),
        "GROUP_RANK": str(here.rank // devices),
    }
    os.environ |= told | {"RANK": str(here.rank), "LOCAL_RANK": "0"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "dsabench.cli", *sys.argv[1:]],
            env=os.environ | {"RANK": str(here.rank + one), "LOCAL_RANK": str(one), PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for one in range(1, devices)
    ]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def known_to_all(error: DsabenchError) -> bool:
    """Whether every process has met this error: it is one that they agree on, or the loss of one of them."""
    return isinstance(error, RunFailed | Interrupted | ProcessLost)


def leave() -> None:
    """Leave the group of processes, if this one is in any."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def end_parent() -> bool:
    """Let the process that started this one end, or end it where it hangs; whether it ended by itself, and so spoke.

    True, too, where another program started both.
    """
    if PARENT not in os.environ:
        return True
    parent, until = int(os.environ[PARENT]), time.monotonic() + GRACE_S
    if os.getppid() != parent:
        return False
    while os.getppid() == parent:
        if time.monotonic() > until:
            with suppress(ProcessLookupError):
                os.kill(parent, signal.SIGKILL)
            return False
        time.sleep(0.1)
    return True


def end(children: list[subprocess.Popen[bytes]]) -> None:
    """Wait a little for processes to end by themselves, as all do that have agreed to; kill what hangs."""
    until = time.monotonic() + GRACE_S
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, until - time.monotonic()))
            continue
        child.kill()
        child.wait()
