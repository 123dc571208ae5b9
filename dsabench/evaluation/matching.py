"""Which tensors of a checkpoint are a model's: found by names and shapes under any prefix, or refused with a list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from dsabench.errors import DataError

# First words of what stands on a backbone, which a measurement of features leaves out: classifiers, projectors, queues
# and decoders, as timm, torchvision, solo-learn, lightly, MoCo, DINO, SwAV, BYOL and MAE call them.
HEADS = frozenset(
    (
        "fc",
        "head",
        "head_dist",
        "heads",
        "classifier",
        "last_layer",
        "projector",
        "predictor",
        "projection",
        "prediction",
        "projection_head",
        "prediction_head",
        "prototypes",
        "proj",
        "mlp",
        "queue",
        "queue_ptr",
        "queue_index",
        "mask_token",
        "decoder",
        "decoder_embed",
        "decoder_blocks",
        "decoder_norm",
        "decoder_pos_embed",
        "decoder_pred",
        "center",
    )
)
# A second set of weights, which a paper evaluates in the first one's place or not at all: MoCo and BYOL the query or
# online network, DINO the teacher.
_SECOND = re.compile(r"(?:^|[._])(?:encoder_k|key_encoder|momentum|target|student|ema)(?:[._]|$)")
_LISTED = 5


class Match(NamedTuple):
    """The tensors of a model by the model's names, where they lie in the file, and the groups that are left out."""

    tensors: Mapping[str, Tensor]
    where: str
    left_out: tuple[str, ...]


class _Fit(NamedTuple):
    where: str
    found: dict[str, str]
    tensors: Mapping[str, Tensor]
    missing: list[str]
    reshaped: list[str]
    left_over: list[str]
    left_out: list[str]

    @property
    def whole(self) -> bool:
        return not (self.missing or self.reshaped or self.left_over)


def match_weights(
    sets: Mapping[str, Mapping[str, Tensor]], wanted: Mapping[str, Tensor], children: Sequence[str], *, at: str | None
) -> Match:
    """The one set of tensors that is a model's: `wanted` is its state dict, `children` the names of its children in
    order, since a model in an nn.Sequential is named by their numbers. `at` says where, if several fit.

    Raises DataError where none fits, with the names that are missing, left over or of another shape, and where
    several do.
    """
    fits = [
        _fitted(wrapper, prefix, tensors, wanted, names)
        for wrapper, tensors in sets.items()
        for names in (tuple(wanted), _numbered(tuple(wanted), children))
        for prefix in _prefixes(tensors, names)
    ]
    if not fits:
        known = [name for tensors in sets.values() for name in tensors]
        raise DataError(f"it holds no weight of this model, but {_listed(known)}; it wants {_listed(list(wanted))}")
    whole = {fit.where: fit for fit in fits if fit.whole}
    if at is not None:
        named = next((fit for fit in fits if fit.where == at.rstrip(".")), None)
        if named is None:
            raise DataError(f"it has no weights under {at!r}; it has them under {_places(whole or fits)}")
        whole = {named.where: named} if named.whole else {}
        fits = [named]
    if not whole:
        raise DataError(_refusal(max(fits, key=lambda fit: len(fit.found) - len(fit.left_over))))
    first = [fit for fit in whole.values() if not _SECOND.search(fit.where)]
    chosen = first or list(whole.values())
    if len(chosen) > 1 and not all(_equal(fit, chosen[0]) for fit in chosen):
        raise DataError(f"several sets of weights fit: {_places(chosen)}; say which with --weights PREFIX")
    fit = chosen[0]
    others = [f"{other} (not used)" for other in whole if other != fit.where]
    tensors = {name: fit.tensors[key] for name, key in fit.found.items()}
    return Match(tensors, fit.where, tuple(dict.fromkeys((*others, *fit.left_out))))


def _prefixes(tensors: Mapping[str, Tensor], names: Sequence[str]) -> list[str]:
    """What stands before the model's names, wherever any of them ends a name of the file, most frequent first."""
    counts: dict[str, int] = {}
    for name in names:
        for key in tensors:
            if key == name or key.endswith(f".{name}"):
                prefix = key[: len(key) - len(name)]
                counts[prefix] = counts.get(prefix, 0) + 1
    # A weight of the model may also end the name of another module's: only what holds many of them is a place.
    return sorted(
        (prefix for prefix, count in counts.items() if 2 * count >= max(counts.values())), key=lambda p: -counts[p]
    )


def _fitted(
    wrapper: str, prefix: str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], names: Sequence[str]
) -> _Fit:
    found, missing, reshaped = {}, [], []
    for name, (own, tensor) in zip(names, wanted.items(), strict=True):
        key = prefix + name
        if key not in tensors:
            # A counter that no evaluation reads, and that files of before PyTorch 0.4.1 do not have.
            if not own.endswith("num_batches_tracked"):
                missing.append(own)
        elif tensors[key].shape != tensor.shape:
            reshaped.append(f"{own} is {tuple(tensors[key].shape)} and not {tuple(tensor.shape)}")
        else:
            found[own] = key
    own_keys = {prefix + name for name in names}
    left_over, left_out = [], []
    for key in tensors:
        if key in own_keys:
            continue
        inside = key.startswith(prefix)
        word = key.removeprefix(prefix).partition(".")[0] if inside else key.partition(".")[0]
        if inside and prefix and _is_head(word):
            left_out.append(prefix + word)
        elif not inside or _is_head(word):
            left_out.append(word)
        else:
            left_over.append(key)
    where = ".".join(filter(None, (wrapper, prefix.rstrip("."))))
    return _Fit(where, found, tensors, missing, reshaped, left_over, list(dict.fromkeys(left_out)))


def _is_head(word: str) -> bool:
    return word in HEADS or word.removeprefix("momentum_") in HEADS or word.removesuffix("_momentum") in HEADS


def _numbered(names: Sequence[str], children: Sequence[str]) -> tuple[str, ...]:
    """The names as they are in an nn.Sequential of the model's children: `layer1.0.conv1` as `4.0.conv1`."""
    positions = {child: str(number) for number, child in enumerate(children)}
    parts = (name.partition(".") for name in names)
    return tuple(positions.get(first, first) + dot + rest for first, dot, rest in parts)


def _equal(fit: _Fit, other: _Fit) -> bool:
    return all(fit.tensors[fit.found[name]].equal(other.tensors[other.found[name]]) for name in fit.found)


def _refusal(fit: _Fit) -> str:
    place = f"the weights under {fit.where!r}" if fit.where else "its weights"
    wrong = [
        f"{what}: {_listed(names)}"
        for what, names in (("missing", fit.missing), ("left over", fit.left_over), ("other shapes", fit.reshaped))
        if names
    ]
    return f"{place} do not fit the model; {'; '.join(wrong)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _places(fits: Mapping[str, object] | Sequence[_Fit]) -> str:
    places = list(fits) if isinstance(fits, Mapping) else [fit.where for fit in fits]
    return ", ".join(repr(place) for place in places)
