"""The state of a training run as one safetensors file: tensors by name, everything else as JSON in its header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dsabench.errors import DataError
from dsabench.files import write_atomic


def module_state(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """All of a module's state: parameters and every buffer, those that `state_dict` leaves out (queues) too."""
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    return {f"{prefix}.{name}": tensor.detach() for name, tensor in tensors.items()}


@torch.no_grad()
def restore_module(module: nn.Module, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Copy a module's state back in place; raises DataError for a missing or unexpected name or another shape."""
    state = module_state(module, prefix)
    saved = {name for name in tensors if name.startswith(f"{prefix}.")}
    missing, unexpected = sorted(state.keys() - saved), sorted(saved - state.keys())
    if missing or unexpected:
        raise DataError(f"the checkpoint does not fit: missing {missing[:5]}, unexpected {unexpected[:5]}")
    for name, tensor in state.items():
        if tensor.shape != tensors[name].shape or tensor.dtype != tensors[name].dtype:
            raise DataError(
                f"the checkpoint does not fit: {name} is {tuple(tensors[name].shape)} {tensors[name].dtype}, "
                f"expected {tuple(tensor.shape)} {tensor.dtype}"
            )
        tensor.copy_(tensors[name])


def optimizer_state(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """An optimiser's tensors, by the position of their parameter. Its hyperparameters are functions of the step."""
    return {
        f"{prefix}.{index}.{key}": value.detach()
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Put an optimiser's tensors back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            index, key = name.removeprefix(f"{prefix}.").split(".", 1)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> str:
    """Write a checkpoint atomically and return the SHA-256 of its bytes."""
    # Tensors that share memory are refused by safetensors; a copy each is what a checkpoint wants anyway.
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    data = save(own, metadata={"dsabench": json.dumps(meta)})
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON of a checkpoint; raises DataError where the file is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["dsabench"])
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118  (no mapping)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"cannot read the checkpoint {path}: {error}") from error


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
