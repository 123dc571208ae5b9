"""The processes that train one run together: the one place that knows that there may be more than one."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from dsabench.config.options import method_class
from dsabench.config.run_config import RunConfig
from dsabench.errors import DsabenchError, ProcessLost

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


# Within a step no process waits longer than this for another, in seconds: one that hangs ends the run.
HANG_S = 20.0
# torch 2.15 has another name for it.
SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
)
# Where one process does what the others wait for, they do so for as long as it lives.
PATIENCE = timedelta(days=1)
# What collectives say of a process that is gone or silent, which has no class of its own in torch.
TELL_TALES = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Timed out waiting")


class Alone:
    """One process on a CPU in float32, as Fabric would be there: it has nothing to do, and its import costs torch's."""

    device = torch.device("cpu")
    global_rank, world_size = 0, 1

    def setup_module(self, module: nn.Module) -> nn.Module:
        return module

    def setup_optimizers(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return optimizer

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(loss)


Engine: TypeAlias = "Alone | Fabric"


def make_fabric(config: RunConfig) -> Engine:
    """Device and precision, and the other processes of the run, where the environment names them as torchrun's does.

    That is by WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, with LOCAL_WORLD_SIZE where there are several
    machines, or by Slurm's variables under srun; the call returns when all of them have made it.
    """
    processes = processes_around()
    if (processes, config.device, config.precision) == (1, "cpu", "fp32"):
        return Alone()
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    # It announces on stderr what the configuration says.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    precision = "bf16-mixed" if config.precision == "bf16" else "32-true"
    if processes == 1:
        # Left to itself Fabric looks for a cluster, and warns where srun is on the PATH and has not started it.
        alone = [LightningEnvironment()]
        return Fabric(accelerator=config.device, devices=1, precision=precision, plugins=alone)  # type: ignore[arg-type]
    torchrun = "WORLD_SIZE" in os.environ
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if not torchrun:
        here = processes // int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    replicated: dict[str, Any] = {
        # Prototypes may rest for a while.
        "find_unused_parameters": method_class(config.spec.method.name).rests,
        # Buffers are of the global batch in every process.
        SYNC_BUFFERS: False,
    }
    # To begin takes as long as the slowest of them.
    strategy = DDPStrategy(timeout=PATIENCE, **replicated)
    fabric = Fabric(
        accelerator=config.device,
        devices=here,
        num_nodes=processes // here,
        strategy=strategy,
        precision=precision,  # type: ignore[arg-type]
        plugins=[TorchElasticEnvironment() if torchrun else SLURMEnvironment(auto_requeue=False)],
    )
    fabric.launch()
    patient_group()
    wait_at_most(HANG_S)
    return fabric


def wait_at_most(seconds: float) -> None:
    """From now on no process waits longer for another, but in the `patient_group`."""
    groups = torch.distributed.distributed_c10d
    # torch 2.15 has another name for it.
    limit = groups.set_timeout if hasattr(groups, "set_timeout") else groups._set_pg_timeout
    limit(timedelta(seconds=seconds))


def processes_around() -> int:
    """How many processes the environment says that there are: torchrun's, or those of a step of srun."""
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    # Slurm sets the number of tasks in a batch script too, where srun has started none of them.
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


@cache
def patient_group() -> Any:
    """The same processes, for what one of them may take its time for: a checkpoint, a lock, a measurement."""
    return torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def is_loss(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone or does not answer."""
    return isinstance(error, torch.distributed.DistError) or any(word in str(error) for word in TELL_TALES)


@contextmanager
def beside_others() -> Iterator[Ranks]:
    """Inside, this process is one of those that torchrun started, for work on the CPU side; alone without it."""
    if "WORLD_SIZE" not in os.environ:
        yield Ranks(Alone())
        return
    torch.distributed.init_process_group("gloo", timeout=PATIENCE)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    engine = Alone()
    engine.global_rank, engine.world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    try:
        yield Ranks(engine)
    finally:
        torch.distributed.destroy_process_group()
        patient_group.cache_clear()


class Ranks:
    """This process among those of a run: `rank` of `world_size`, of which the first alone `is_writer`.

    All methods are collective: every process calls them in the same order. With one process they cost nothing.
    """

    def __init__(self, fabric: Engine) -> None:
        self.fabric = fabric
        self.rank, self.world_size = fabric.global_rank, fabric.world_size
        self.is_writer = self.rank == 0

    def agree(self, *wishes: int) -> tuple[int, ...]:
        """For each wish the largest that any process has, so that all of them do the same: 0 or False is none."""
        if self.world_size == 1:
            return wishes
        wanted = torch.tensor(wishes, device=self.fabric.device)
        torch.distributed.all_reduce(wanted, torch.distributed.ReduceOp.MAX)
        return tuple(wanted.tolist())

    def by_writer(self, work: Callable[[], T]) -> T:
        """What `work` returns in the writer, which alone does it; a DsabenchError there is raised everywhere."""
        if self.world_size == 1:
            return work()
        result: Any = None
        if self.is_writer:
            try:
                result = work()
            except DsabenchError as error:
                result = error
        told_all = [result]
        torch.distributed.broadcast_object_list(told_all, 0, group=patient_group())
        (result,) = told_all
        if isinstance(result, DsabenchError):
            raise result
        told: T = result
        return told

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the processes of a tensor of one shape; not finite where it is not in any of them."""
        if self.world_size == 1:
            return x
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total / self.world_size

    def wait(self) -> None:
        """Wait for all processes, however long one of them takes."""
        if self.world_size > 1:
            torch.distributed.barrier(group=patient_group())

    def are_equal(self, number: int) -> bool:
        """Whether all processes have the same number."""
        most, least = self.agree(number, -number)
        return most == -least

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside, the end of another process is raised as ProcessLost."""
        try:
            yield
        except RuntimeError as error:
            if self.world_size == 1 or not is_loss(error):
                raise
            raise ProcessLost(
                f"another process of this run ended or did not answer for {HANG_S:.0f} s; "
                "the same command goes on from the last checkpoint"
            ) from error
