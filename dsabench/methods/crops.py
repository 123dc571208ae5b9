"""The forward pass of multi-crop (SwAV, arXiv 2006.09882, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsabench.errors import UsageError
from dsabench.methods.embedding import Embedded
from dsabench.types import Views, widened


def embed_crops(backbone: nn.Module, projector: nn.Module, views: Views) -> tuple[Embedded, list[Tensor]]:
    """`embed` of both views, and the embeddings (B, P) in float32 of every small crop of the batch, if it has any.

    As published, the backbone sees one size at a time and the projector all crops together. Raises UsageError for a
    backbone that takes one size alone.
    """
    features = [backbone(torch.cat([views.view1, views.view2]))]
    if views.locals:
        try:
            features.append(backbone(torch.cat(views.locals)))
        except AssertionError as error:
            # timm's vision transformers assert the size that they were made for.
            raise UsageError(
                f"the backbone does not take small crops of {views.locals[0].shape[-1]} px ({error}); choose a "
                "convolutional backbone, or views without small crops"
            ) from error
    h1, h2 = widened(features[0]).chunk(2)
    z1, z2, *small = torch.split(widened(projector(torch.cat([h1, h2, *features[1:]]))), len(views.view1))
    return Embedded(h1, h2, z1, z2), small
