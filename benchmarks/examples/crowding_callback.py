"""Crowding metrics in the log of a Lightning training: a callback of fifteen lines, beside a SimCLR made of lightly.

$ python -m benchmarks.examples.crowding_callback --epochs 10
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.examples.dsa_in_a_loop import augment
from dsabench import build_backbone, measure


class Crowding(pl.Callback):
    """Logs `crowding/cdnv` and the other metrics of what `module.backbone` makes of a loader's (images, classes)."""

    def __init__(self, loader: DataLoader[tuple[Tensor, ...]]) -> None:
        self.loader = loader

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        backbone = module.get_submodule("backbone").eval()
        batches = [(backbone(images.to(module.device)).cpu(), classes) for images, classes in self.loader]
        backbone.train()
        features, classes = (torch.cat(parts) for parts in zip(*batches, strict=True))
        module.log_dict({f"crowding/{name}": value for name, value in measure(features, classes).items()})


class SimCLR(pl.LightningModule):
    """SimCLR of lightly's parts: batches of (images, classes), whose classes it does not look at."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = build_backbone("resnet8", channels=1, image_size=8)
        self.projector = SimCLRProjectionHead(self.backbone.feature_dim, 128, 64)
        self.loss = NTXentLoss(temperature=0.5)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        z1, z2 = (self.projector(self.backbone(augment(batch[0]))) for _ in range(2))
        loss: Tensor = self.loss(z1, z2)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def main(arguments: Sequence[str] | None = None) -> tuple[pl.Trainer, SimCLR, TensorDataset]:
    """Train on the first 1,437 digits, log the crowding of the others; returns what a reader may look into."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10, help="(default 10)")
    epochs = parser.parse_args(arguments).epochs

    pl.seed_everything(0, verbose=False)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16.0, dtype=torch.float32)
    classes = torch.tensor(digits.target)
    training, held_out = TensorDataset(images[:1437], classes[:1437]), TensorDataset(images[1437:], classes[1437:])
    model = SimCLR()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[Crowding(DataLoader(held_out, batch_size=256))],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(training, batch_size=256, shuffle=True, drop_last=True))
    for name, value in trainer.callback_metrics.items():
        print(f"{name} {value:.4g}")
    return trainer, model, held_out


if __name__ == "__main__":
    main()
