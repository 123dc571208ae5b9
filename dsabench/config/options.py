"""The options of methods and regularizers, read off their constructors, and checked."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_type_hints

from dsabench.errors import UsageError
from dsabench.methods import METHODS
from dsabench.registry import Scalar, load
from dsabench.regularizers import REGULARIZERS

if TYPE_CHECKING:
    # Whoever checks words need not wait for torch.
    from dsabench.methods.base import Method, Recipe
    from dsabench.regularizers.base import Regularizer

# Keywords of constructors that are facts of the data and not options.
FACTS = ("num_classes", "num_images")


def method_class(name: str) -> type[Method]:
    """A method by name; raises UsageError for an unknown one."""
    found: type[Method] = load(METHODS, "method", name)
    return found


def regularizer_class(name: str) -> type[Regularizer]:
    """A regularizer by name; raises UsageError for an unknown one."""
    found: type[Regularizer] = load(REGULARIZERS, "regularizer", name)
    return found


def recipe(method: str, scale: str) -> Recipe:
    """A method's defaults at an image scale; `large` images take the recipe of `small` ones."""
    recipes: Mapping[str, Recipe] = sys.modules[method_class(method).__module__].RECIPES
    return recipes["tiny" if scale == "tiny" else "small"]


def option_types(target: Any) -> dict[str, type]:
    """The options that a constructor takes: its keyword-only parameters, with their types."""
    types = get_type_hints(target.__init__)
    parameters = inspect.signature(target.__init__).parameters.values()
    options = {p.name: types[p.name] for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return {name: kind for name, kind in options.items() if name not in FACTS}


def option_defaults(target: Any) -> dict[str, Scalar]:
    """The defaults of a constructor's options, where it has them."""
    parameters = inspect.signature(target.__init__).parameters
    return {
        name: parameters[name].default
        for name in option_types(target)
        if parameters[name].default is not inspect.Parameter.empty
    }


def check_options(owner: str, options: Mapping[str, Scalar], types: Mapping[str, type]) -> None:
    """Raise UsageError for an option that does not exist, or whose value is of another type."""
    for key, value in options.items():
        if key not in types:
            near = get_close_matches(key, types, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(types)) or 'none'}"
            raise UsageError(f"{owner} has no option {key!r}; {hint}{formerly(owner, key)}")
        kind = types[key]
        fits = isinstance(value, bool) == (kind is bool) and (
            isinstance(value, kind) or (kind is float and isinstance(value, int))
        )
        if not fits:
            name = {bool: "on or off", int: "an integer", float: "a number", str: "a word"}[kind]
            raise UsageError(f"the option {key} of {owner} must be {name}, got {value!r}")


def formerly(owner: str, option: str) -> str:
    """What to say of an option of the regularizer that had the name of `owner` in earlier versions; empty for none."""
    for name, entry in REGULARIZERS.items():
        if entry.identity == owner and option in option_types(regularizer_class(name)):
            return f"; what was called {owner!r} in earlier versions is {name!r}, which has it"
    return ""


def regularizer_options(name: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """All options of a regularizer: its constructor's defaults, its name's preset, what was given."""
    return {**option_defaults(regularizer_class(name)), **REGULARIZERS[name].preset, **given}
