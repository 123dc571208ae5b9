"""The SSL methods and their floor and ceiling, by name; one file each."""

from dsabench.registry import Entry

METHODS: dict[str, Entry] = {
    "simclr": Entry("dsabench.methods.simclr:SimCLR", "contrastive, NT-Xent over the batch (Chen et al. 2020)"),
    "byol": Entry("dsabench.methods.byol:BYOL", "predicts an EMA teacher, no negatives (Grill et al. 2020)"),
    "barlow_twins": Entry(
        "dsabench.methods.barlow_twins:BarlowTwins", "decorrelates embedding dimensions (Zbontar et al. 2021)"
    ),
    "supervised": Entry(
        "dsabench.methods.supervised:Supervised", "cross-entropy on labels, the same views: the ceiling"
    ),
    "random": Entry("dsabench.methods.random:Random", "an untrained backbone: the floor"),
}
