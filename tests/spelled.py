"""`dsa` with options as it is spelled now, whatever its defaults are."""

from dsabench.config.options import option_defaults, regularizer_class
from dsabench.config.spec import Part
from dsabench.registry import Scalar


def dsa(**options: Scalar) -> str:
    """The text of `dsa` with these options, without those that its constructor has by default."""
    defaults = option_defaults(regularizer_class("dsa"))
    return str(Part("dsa", {name: value for name, value in options.items() if defaults.get(name) != value}))
