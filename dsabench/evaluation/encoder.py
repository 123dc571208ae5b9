"""The encoder: what evaluation knows of a model, whichever source it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from dsabench import __version__
from dsabench.adjuster import Adjuster
from dsabench.backbones.base import AdjustedBackbone, Backbone
from dsabench.config.eval_config import PIXELS, POSTHOC, RUN_LAYERS
from dsabench.config.preprocess import Preprocess
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DataFacts
from dsabench.errors import DataError
from dsabench.evaluation.embeddings import Embeddings
from dsabench.evaluation.pooling import ModuleOutput, find_module, network_of, outputs, pooled, stage_names
from dsabench.training.adjust import ADJUSTER, encoder_tensors
from dsabench.training.build import build_method
from dsabench.training.checkpoint import module_state, read_checkpoint, restore_module, tensors_sha256
from dsabench.training.provenance import device_name, source_revision
from dsabench.training.run import Run, utc_now

Layer = Callable[[Tensor], Tensor]


@dataclass
class Encoder:
    """A model by `name`, whose `layer_names` map images (B, C, H, W), preprocessed, to features (B, D).

    `load` reads the weights and gives the layers in eval mode; it is called when features are not stored yet.
    `weights_sha256` says which weights they are; `labels_used` is `none`, `prior` or `training`; `provenance` holds
    what else the tidy table says of the encoder, by column. `data` is what it was trained on and has the hash
    `data_sha256`; `folder`, where there is one, is where its features are kept. Probes draw by `seed`. An encoder
    with `embeddings` has these and no model, and wants nothing of an image. `views` names the policy that it was
    trained on, where that is known.
    """

    name: str
    layer_names: tuple[str, ...]
    preprocess: Preprocess | None
    weights_sha256: str
    labels_used: str
    seed: int
    load: Callable[[], Mapping[str, nn.Module]]
    provenance: Mapping[str, object] = field(default_factory=dict)
    data: DataConfig | None = None
    data_sha256: str | None = None
    folder: Path | None = None
    device: str = "cpu"
    threads: int = 1
    embeddings: Embeddings | None = None
    pooling: str = "model"
    views: str | None = None

    @cached_property
    def layers(self) -> Mapping[str, nn.Module]:
        """The layers, their weights read once."""
        return self.load()

    def features(self, layer: str, images: Tensor, device: torch.device) -> Tensor:
        """Features (B, D) float32 of preprocessed images (B, C, H, W), on the CPU."""
        module = self.module(layer).to(device)
        assert not module.training, "features are read in eval mode"
        with torch.no_grad():
            rows: Tensor = module(images.to(device)).float().cpu()
        return rows

    def all_features(self, layers: Sequence[str], images: Tensor, device: torch.device) -> dict[str, Tensor]:
        """What `features` gives of each of `layers`, of one forward pass."""
        # The last layer's forward pass goes through all others.
        last = self.layers[self.layer_names[-1]].to(device)
        assert not last.training, "features are read in eval mode"
        backbone = self.layers["backbone"]
        modules = {
            layer: self.layers[layer]
            if layer in self.layers
            else find_module(backbone, layer, self.name, self.layer_names)
            for layer in layers
        }
        with torch.no_grad():
            caught = outputs(last, modules, images.to(device))
        for layer in caught.keys() - self.layers.keys():
            caught[layer] = pooled(caught[layer], network_of(backbone), self.pooling)
        return {layer: caught[layer].float().cpu() for layer in layers}

    def stages(self) -> tuple[str, ...]:
        """The names of the backbone's stages, in their order, each of which is a layer, and then its own layers."""
        return (*stage_names(self.layers["backbone"]), *self.layer_names)

    def module(self, layer: str) -> nn.Module:
        """A layer by its name, or what a module of the backbone gives, such as `blocks.8`, pooled.

        Raises UsageError where there is no such module.
        """
        if layer in self.layers:
            return self.layers[layer]
        backbone = self.layers["backbone"]
        known = (*self.layer_names, PIXELS, *POSTHOC)
        return ModuleOutput(backbone, find_module(backbone, layer, self.name, known), self.pooling).eval()


def run_encoder(run: Run, datasets: Datasets) -> Encoder:
    """The encoder of a finished run; raises DataError where it is not finished or its weights are not its own."""
    run.check_finished()
    config, state = run.config, run.state
    known = state.get("data_facts")
    # A run of version 1 did not write them down, so its data are asked.
    facts = facts_from(known) if known else datasets.load(config.data).facts

    def load() -> Mapping[str, nn.Module]:
        method = build_method(config, facts)
        tensors, _ = read_checkpoint(run.final_checkpoint())
        restore_module(method, "method", tensors)
        if tensors_sha256(encoder_tensors(tensors)) != state["weights_sha256"]:
            raise DataError(f"the weights of {run.folder} are not those that its run.json names")
        backbone: nn.Module = method.backbone
        embedded = nn.Sequential(backbone, method.projector)
        if any(name.startswith(f"{ADJUSTER}.") for name in tensors):
            assert isinstance(backbone, Backbone)
            adjuster = Adjuster(backbone.feature_dim)
            restore_module(adjuster, ADJUSTER, tensors)
            backbone = AdjustedBackbone(backbone, adjuster)
            embedded = nn.Sequential(Unadjusted(backbone), method.projector)
        return {"backbone": backbone.eval(), "projector": embedded.eval()}

    return Encoder(
        name=config.label,
        layer_names=RUN_LAYERS,
        preprocess=Preprocess(facts.image_size, "bilinear", facts.mean, facts.std),
        weights_sha256=state["weights_sha256"],
        labels_used=state["labels_used"],
        seed=config.seed,
        load=load,
        provenance=run_columns(run),
        data=config.data,
        data_sha256=state["dataset_sha256"],
        folder=run.folder / "features",
        views=config.resolved.views,
        device=config.device,
        threads=config.threads,
    )


class Unadjusted(nn.Module):
    """The features that an adjusted `backbone` adjusts, which are those that a projector was trained on."""

    def __init__(self, backbone: AdjustedBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        # Through the whole backbone, so that one forward pass gives the adjusted ones, too.
        return outputs(self.backbone, {"network": self.backbone.network}, images)["network"]


def module_encoder(module: nn.Module, name: str, facts: DataFacts, labels_used: str) -> Encoder:
    """The encoder of a module in eval mode, which takes images as a data set with these facts has them."""
    sha256 = tensors_sha256(module_state(module, "module"))
    first = next((p for p in module.parameters()), torch.empty(0))
    return Encoder(
        name=name,
        layer_names=("backbone",),
        preprocess=Preprocess(facts.image_size, "bilinear", facts.mean, facts.std),
        weights_sha256=sha256,
        labels_used=labels_used,
        seed=0,
        load=lambda: {"backbone": module},
        provenance=module_columns(name, sha256, labels_used, first.device.type),
        device=first.device.type,
        threads=torch.get_num_threads(),
    )


def module_columns(name: str, sha256: str, labels_used: str, device: str) -> dict[str, object]:
    """What the tidy table says of a model that no run here trained: which weights it has."""
    sha, dirty = source_revision()
    return {
        "run_id": sha256[:12],
        "method": name,
        "regularizer": "none",
        "backbone": name,
        "seed": 0,
        "epochs": 0,
        "images_seen": 0,
        "wall_s": None,
        "images_per_s": None,
        "peak_mem_mb": None,
        "config_hash": sha256,
        "git_sha": sha,
        "git_dirty": dirty,
        "dsabench_version": __version__,
        "torch_version": torch.__version__,
        "device": device_name(device),
        "n_devices": 1,
        "precision": "fp32",
        "threads": torch.get_num_threads(),
        "deterministic": False,
        "augment": "",
        "prior": "none",
        "labels_used": labels_used,
        "started_utc": utc_now(),
    }


def facts_from(stored: Mapping[str, object]) -> DataFacts:
    """The facts of a run's data as its `run.json` holds them."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return DataFacts(**values)  # type: ignore[arg-type]


def run_columns(run: Run) -> dict[str, object]:
    """What the tidy table says of a run, by column, its costs and where it came from."""
    config, state = run.config, run.state
    return {
        "run_id": config.run_id,
        "method": str(config.spec.method),
        "regularizer": str(config.spec.regularizer),
        "backbone": config.backbone,
        "seed": config.seed,
        "epochs": config.epochs,
        "images_seen": state.get("images_seen", 0),
        "wall_s": state.get("wall_s"),
        "images_per_s": state.get("images_per_s"),
        "peak_mem_mb": state.get("peak_mem_mb"),
        "config_hash": config.config_hash,
        "git_sha": state["git_sha"],
        "git_dirty": state["git_dirty"],
        "dsabench_version": state["dsabench_version"],
        "torch_version": state["torch_version"],
        "device": state["device"],
        "n_devices": state["n_devices"],
        "precision": config.precision,
        "threads": config.threads,
        "deterministic": config.deterministic,
        "augment": config.augment or "batched",
        "prior": state["prior"],
        "labels_used": state["labels_used"],
        "started_utc": state["started_utc"],
        "capability": state.get("capability", ""),
        "blas": state.get("blas", ""),
        "trained_on": config.data.trained_on,
        "batch_size": config.batch_size,
        "train_images": state.get("data_facts", {}).get("num_images"),
        "image_size": state.get("data_facts", {}).get("image_size"),
        "lr": config.resolved.optimizer.get("lr"),
        "similar_precision": run.last_epoch().get("similar_precision"),
    }
