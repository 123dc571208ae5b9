"""How views are drawn from an image: by name, a policy for view 1, one for view 2, and the small crops if any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple


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


@dataclass(frozen=True)
class LocalCrops:
    """The small crops of multi-crop: `count` of each image, drawn by `policy`, of `share` of the image's side."""

    policy: ViewPolicy
    count: int
    share: float

    def size(self, image_size: int) -> int:
        """The side of a crop in pixels, at least 1."""
        return max(1, round(self.share * image_size))


class ViewPolicies(NamedTuple):
    """What a name stands for: the laws of both views, and the small crops beside them, if any."""

    view1: ViewPolicy
    view2: ViewPolicy
    locals: LocalCrops | None = None


def _alike(policy: ViewPolicy, locals: LocalCrops | None = None) -> ViewPolicies:
    return ViewPolicies(policy, policy, locals)


_DIGITS = ViewPolicy(
    crop_scale=(0.6, 1.0),
    flip_p=0.0,
    jitter=(0.2, 0.2, 0.0, 0.0),
    grey_p=0.0,
    rotate_degrees=12.0,
    noise_std=0.03,
)
_ASYMMETRIC = ViewPolicy(jitter=(0.4, 0.4, 0.2, 0.1))

_SYMMETRIC = ViewPolicy(jitter=(0.8, 0.8, 0.8, 0.2), blur_p=0.5)

# "asymmetric", "symmetric" and "weak" are solo-learn's recipes for CIFAR; "dsa" is that of the code published with
# arXiv 2407.13541; "digits" keeps what makes a written digit itself: no flips, small turns. "multicrop" has the crops
# of SwAV (arXiv 2006.09882, appendix A: 2 of 224 px, 6 of 96 px) with the colours of "symmetric"; on eight pixels its
# crops of a twentieth of the area show nothing, so "digits_multicrop" cuts larger ones.
# "weak_strong", a weak view for a teacher and a strong one for its student, is solo-learn's recipe for ReSSL on CIFAR
# (arXiv 2107.09282): crops and flips for the one, all but solarize for the other. "crops" is the former alone, which
# fine-tuning sees.
POLICIES: dict[str, ViewPolicies] = {
    "digits": _alike(_DIGITS),
    "digits_multicrop": _alike(_DIGITS, LocalCrops(replace(_DIGITS, crop_scale=(0.25, 0.6)), count=4, share=0.5)),
    "digits_weak_strong": ViewPolicies(replace(_DIGITS, jitter_p=0.0, rotate_degrees=0.0, noise_std=0.0), _DIGITS),
    "weak_strong": ViewPolicies(ViewPolicy(grey_p=0.0), replace(_ASYMMETRIC, blur_p=0.5)),
    "crops": _alike(ViewPolicy(grey_p=0.0)),
    "asymmetric": ViewPolicies(_ASYMMETRIC, replace(_ASYMMETRIC, solarize_p=0.2)),
    "symmetric": _alike(_SYMMETRIC),
    "weak": _alike(ViewPolicy(jitter=(0.4, 0.4, 0.4, 0.1), blur_p=0.5)),
    "dsa": _alike(ViewPolicy(crop_scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grey_p=0.1)),
    "multicrop": _alike(
        replace(_SYMMETRIC, crop_scale=(0.14, 1.0)),
        LocalCrops(replace(_SYMMETRIC, crop_scale=(0.05, 0.14)), count=6, share=96 / 224),
    ),
}
