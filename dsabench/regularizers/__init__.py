"""Regularizers: named terms that any method can be trained with."""

from dsabench.registry import Entry

REGULARIZERS: dict[str, Entry] = {
    "none": Entry("dsabench.regularizers.none:NoRegularizer", "nothing added: the plain method"),
    "dsa": Entry(
        "dsabench.regularizers.dsa:DSA", "label-free DSA: shared neighbours of an EMA teacher (arXiv 2407.13541)"
    ),
}
