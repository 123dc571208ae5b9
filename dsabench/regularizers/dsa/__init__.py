"""DSA, the Dynamic Semantic Adjuster (arXiv 2407.13541): the modules, and the functions that define its parts."""

from dsabench.regularizers.dsa.bank import DSA
from dsabench.regularizers.dsa.definitions import (
    adjustment_loss,
    exponential_similarity,
    good_neighbour_scores,
    shared_neighbour_similarity,
)
from dsabench.regularizers.dsa.nested import NestedDSA
from dsabench.regularizers.dsa.reference import ReferenceDSA

__all__ = [
    "DSA",
    "NestedDSA",
    "ReferenceDSA",
    "adjustment_loss",
    "exponential_similarity",
    "good_neighbour_scores",
    "shared_neighbour_similarity",
]
