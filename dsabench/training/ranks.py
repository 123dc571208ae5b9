"""The processes that train one run together: the one place that knows that there may be more than one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from dsabench.config.run_config import RunConfig
from dsabench.errors import DsabenchError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


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

    def broadcast(self, thing: T) -> T:
        return thing

    def barrier(self) -> None:
        pass


Engine: TypeAlias = "Alone | Fabric"


def make_fabric(config: RunConfig) -> Engine:
    """Device and precision, and the other processes of the run, where the environment names them as torchrun's does.

    That is by WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, with LOCAL_WORLD_SIZE where there are several
    machines; the call returns when all of them have made it.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if (processes, config.device, config.precision) == (1, "cpu", "fp32"):
        return Alone()
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    # It announces on stderr what the configuration says.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    precision = "bf16-mixed" if config.precision == "bf16" else "32-true"
    if processes == 1:
        return Fabric(accelerator=config.device, devices=1, precision=precision)  # type: ignore[arg-type]
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    fabric = Fabric(
        accelerator=config.device,
        devices=here,
        num_nodes=processes // here,
        strategy="ddp",
        precision=precision,  # type: ignore[arg-type]
        plugins=[TorchElasticEnvironment()],
    )
    fabric.launch()
    return fabric


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
        result = self.fabric.broadcast(result)
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

    @torch.no_grad()
    def align(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the writer's values, in place: what each of them counts for itself, as batch norm does."""
        if self.world_size == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for group in by_type.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            torch.distributed.broadcast(flat, 0)
            parts = torch.split(flat, [tensor.numel() for tensor in group])
            for tensor, values in zip(group, parts, strict=True):
                tensor.copy_(values.view_as(tensor))

    def share(self, n: int) -> range:
        """The positions that this process has of `n` samples: neighbours, as many as others have, give or take one."""
        return self._shares(n)[self.rank]

    def gather(self, rows: Tensor, n: int) -> Tensor:
        """The rows (n, ...) of all samples in their order, from the rows of each process's `share`; no gradients."""
        if self.world_size == 1:
            return rows
        shares = self._shares(n)
        # A collective wants equal shapes; what fills them up is cut off again.
        padded = rows.new_zeros((max(map(len, shares)), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in shares]
        torch.distributed.all_gather(parts, padded)
        return torch.cat([part[: len(share)] for part, share in zip(parts, shares, strict=True)])

    def _shares(self, n: int) -> list[range]:
        ends = [n * rank // self.world_size for rank in range(self.world_size + 1)]
        return [range(start, end) for start, end in pairwise(ends)]
