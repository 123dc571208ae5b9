"""What a verdict asks for where nothing else was declared."""

from __future__ import annotations

# The least gain that matters, as a share of the baseline's mean, and how much a guard may fall, in its own units.
SMALLEST_EFFECT = 0.05
MARGIN = 0.01
