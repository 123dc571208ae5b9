"""Regularizers that earlier versions wrote under another name or with other defaults, as this one writes them.

What was `dsa` is `dsa-nested`, and what was `dsa-bank` is `dsa`, of which four options have other defaults. A text
alone does not tell which `dsa` it means; the version of the file that it stands in does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dsabench.config.spec import Part, Spec, parse_part, parse_spec
from dsabench.errors import UsageError
from dsabench.registry import Scalar
from dsabench.regularizers import BY, SPREAD, VIEWS, WEIGHT

NAMES: Mapping[str, str] = MappingProxyType({"dsa": "dsa-nested", "dsa-bank": "dsa"})
# What an option of `dsa` is where nothing is said, of those that ever had another default or came later, and what it
# was. In between others had other defaults, too; what was written then says them.
DEFAULTS: Mapping[str, Scalar] = MappingProxyType(
    {"weight": WEIGHT, "push": 0, "spread": SPREAD, "trust": "local", "adjust": True, "adjust_by": VIEWS}
)
DRAWN: Mapping[str, Scalar] = MappingProxyType({**DEFAULTS, "weight": 3})
UNADJUSTED: Mapping[str, Scalar] = MappingProxyType({**DRAWN, "adjust": False})
FIRST: Mapping[str, Scalar] = MappingProxyType({**UNADJUSTED, "weight": 1, "spread": 0})


def renamed(part: Part) -> Part:
    """A regularizer as it was written while `dsa-nested` was called `dsa`, under its name of now."""
    return Part(NAMES.get(part.name, part.name), part.options)


def respelled(part: Part, trained: Mapping[str, Scalar] = FIRST) -> Part:
    """A regularizer as it was written while `dsa` had other defaults, so that it means the same now.

    `trained` has the options of `dsa` with the values that they were trained with, where these are known, or were by
    default.
    """
    if part.name != "dsa":
        return part
    meant = {**{name: trained.get(name, value) for name, value in FIRST.items()}, **part.options}
    now = Part("dsa", {name: value for name, value in meant.items() if value != DEFAULTS.get(name)})
    # 1.0 is 1, as in a spec.
    return parse_part(str(now))


def renamed_and_respelled(part: Part) -> Part:
    """A regularizer as it was written before either changed."""
    return respelled(renamed(part))


def adjusted_only_if_said(part: Part) -> Part:
    """A regularizer as it was written while `dsa` drew neighbours, and adjusted nothing, where nothing was said."""
    return respelled(part, UNADJUSTED)


def drawn_if_not_said(part: Part) -> Part:
    """A regularizer as it was written while `dsa` drew neighbours where nothing was said.

    Raises UsageError for one that adjusted features: the versions of that time did it by neighbours alone, then by
    views, and not all said so.
    """
    adjusted = part.name == "dsa" and part.options.get("adjust", True)
    if adjusted and "adjust_by" not in part.options:
        raise UsageError(f"{part} does not say what it adjusted features by, {' or '.join(BY)}")
    return respelled(part, DRAWN)


def in_spec(text: str, change: Callable[[Part], Part]) -> str:
    """The text of a spec with its regularizer changed; raises UsageError where it is none."""
    spec = parse_spec(text)
    return str(Spec(spec.method, change(spec.regularizer)))


def in_regularizer(text: str, change: Callable[[Part], Part]) -> str:
    """The same of the text of a regularizer, left as it is where nothing of that name changed."""
    return str(change(parse_part(text))) if text.partition("[")[0] in NAMES else text
