"""How a view is drawn from an image: named pairs of policies, the first for view 1 and the second for view 2."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ViewPolicy:
    """The law of one view; every `*_p` is the probability for an image, and 0 turns a step off.

    `crop_scale` is the range of the crop's share of the area and `crop_ratio` of its width / height; `jitter` holds
    the strengths of brightness, contrast, saturation and hue as torchvision's ColorJitter understands them;
    `blur_sigma` is in pixels, `rotate_degrees` the largest angle to either side, `noise_std` in units of the
    brightest pixel.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_p: float = 0.5
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = 0.8
    grey_p: float = 0.2
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_p: float = 0.0
    rotate_degrees: float = 0.0
    noise_std: float = 0.0


def _alike(policy: ViewPolicy) -> tuple[ViewPolicy, ViewPolicy]:
    return policy, policy


_DIGITS = ViewPolicy(
    crop_scale=(0.6, 1.0),
    flip_p=0.0,
    jitter=(0.2, 0.2, 0.0, 0.0),
    grey_p=0.0,
    rotate_degrees=12.0,
    noise_std=0.03,
)
_ASYMMETRIC = ViewPolicy(jitter=(0.4, 0.4, 0.2, 0.1))

# "asymmetric", "symmetric" and "weak" are solo-learn's recipes for CIFAR; "dsa" is that of the code published with
# arXiv 2407.13541; "digits" keeps what makes a written digit itself: no flips, small turns.
POLICIES: dict[str, tuple[ViewPolicy, ViewPolicy]] = {
    "digits": _alike(_DIGITS),
    "asymmetric": (_ASYMMETRIC, replace(_ASYMMETRIC, solarize_p=0.2)),
    "symmetric": _alike(ViewPolicy(jitter=(0.8, 0.8, 0.8, 0.2), blur_p=0.5)),
    "weak": _alike(ViewPolicy(jitter=(0.4, 0.4, 0.4, 0.1), blur_p=0.5)),
    "dsa": _alike(ViewPolicy(crop_scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grey_p=0.1)),
}
