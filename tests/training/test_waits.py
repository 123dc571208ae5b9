"""No step waits for its device: what would, on a GPU, is looked for on the processor."""

import re
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import dsabench
from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.methods import METHODS
from dsabench.training.ranks import Alone
from dsabench.training.state import State
from dsabench.training.step import batches, step

# Operators whose result Python must see, or whose size depends on what is in a tensor.
WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "equal",
    "is_nonzero",
    "_unique2",
    "unique_dim",
    "bincount",
    "item",
)

TRAINED = [name for name in METHODS if name != "random"]
OTHERS = [
    "simclr+dsa-nested[queue=128]",
    "simclr+dsa-nested[ema_every=4]",
    "byol+dsa-minimal",
    "simclr+dsa",
    "simclr+dsa[weight=3]",
    "simclr+sigreg",
    "simclr+koleo",
]
MASKS = {"index of a mask", "index_put of a mask"}
IN_LIGHTLY = {
    **{name: dict.fromkeys(MASKS, 2) for name in ("simclr", "vicreg")},
    # Evening out is weighed by a backward pass of its own through the method's loss.
    **{spec: {"index of a mask": 2, "index_put of a mask": 4} for spec in ("simclr+dsa", "simclr+dsa[weight=3]")},
    "dcl": dict.fromkeys(MASKS, 6),
    **{name: {"_local_scalar_dense": 1} for name in ("nnclr", "ressl", "mean_shift")},
    # Its masks are of the order that it draws, which stays on the processor.
    "moco_v2": {"_local_scalar_dense": 1, "index of a mask": 5},
}
# Where code runs in a step, and what it may not say there.
ROOMS = (
    "methods",
    "regularizers",
    "data/views",
    "data/loader.py",
    "data/reading.py",
    "training/step.py",
    "training/loop.py",
)
PLAIN_COPY = re.compile(r"\.to\((?:\w+\.)*device\)|\.cuda\(")


class Waits(TorchDispatchMode):
    """Counts the operators that a GPU would be waited for at; a mask as an index is one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0]
        if name in WAITING and not excused():
            self.found[name] += 1
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
            # A mask that a number is written through is filled in place, and nobody waits.
            if masks and not (name != "index" and args[2].numel() == 1):
                self.found[f"{name} of a mask"] += 1
        return func(*args, **(kwargs or {}))


def excused() -> bool:
    """Whether what is asked for is asked for on the processor alone.

    Optimisers count their steps there, and are fused on CUDA; a prior is looked at where looking costs nothing.
    """
    stack = traceback.extract_stack()
    return any(Path(frame.filename).parent.name == "optim" or frame.name == "count_nonfinite" for frame in stack)


def state_of(spec: str) -> State:
    """A run whose loop looks now and then, as on an accelerator."""
    request = Request(
        (parse_spec(spec),), (0,), DataConfig(name="synthetic", image_size=8), "resnet8w16", batch_size=64, device="cpu"
    )
    dataset = Datasets().load(request.data)
    (config,) = plan(request, dataset)
    state = State(config, dataset, Alone())
    state.look_every = 50
    state.method.train()
    state.regularizer.train()
    return state


@pytest.mark.parametrize("spec", [*(f"{name}+dsa-nested" for name in TRAINED), *OTHERS])
def test_no_step_asks_for_a_value(spec: str) -> None:
    state = state_of(spec)
    views: Iterator[Any] = batches(state, 0)
    # What is looked up once, and until a queue is full, is no matter.
    for _ in range(3):
        step(state, next(views))
    batch = next(views)
    with Waits() as waits:
        step(state, batch)
    # What waits is lightly's: similarities that a mask picks out (each once forward and once backward), and where its
    # memory bank begins.
    assert dict(waits.found) == IN_LIGHTLY.get(spec, IN_LIGHTLY.get(spec.partition("+")[0], {}))


def test_a_value_that_is_asked_for_is_found() -> None:
    x = torch.arange(4.0)
    with Waits() as waits:
        float(x.sum())
        x[x > 1]
        (x > 1).nonzero()
        x[x > 2] = torch.ones(1)
        x[torch.tensor([1, 2])]
    assert waits.found == {"_local_scalar_dense": 1, "index of a mask": 1, "nonzero": 1}


def test_nothing_of_a_step_is_copied_the_waiting_way() -> None:
    root = Path(dsabench.__file__).parent
    for room in ROOMS:
        for path in [root / room] if room.endswith(".py") else sorted((root / room).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                assert not PLAIN_COPY.search(line), f"{path}:{number}: send it (dsabench.transfer)"
