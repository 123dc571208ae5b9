"""The SSL methods and their floor and ceiling, by name; one file each."""

from dsabench.registry import Entry

METHODS: dict[str, Entry] = {
    "simclr": Entry("dsabench.methods.simclr:SimCLR", "contrastive, NT-Xent over the batch (Chen et al. 2020)"),
    "dcl": Entry("dsabench.methods.dcl:DCL", "SimCLR without the positive in the denominator (Yeh et al. 2021)"),
    "moco_v2": Entry("dsabench.methods.moco_v2:MoCoV2", "contrastive, an EMA teacher's queue (Chen et al. 2020)"),
    "moco_v3": Entry("dsabench.methods.moco_v3:MoCoV3", "contrastive, predicts an EMA teacher (Chen et al. 2021)"),
    "nnclr": Entry("dsabench.methods.nnclr:NNCLR", "contrastive, neighbours as positives (Dwibedi et al. 2021)"),
    "ressl": Entry("dsabench.methods.ressl:ReSSL", "matches an EMA teacher's relations to a queue (Zheng et al. 2021)"),
    "simsiam": Entry("dsabench.methods.simsiam:SimSiam", "predicts the other view, no negatives (Chen and He 2020)"),
    "byol": Entry("dsabench.methods.byol:BYOL", "predicts an EMA teacher, no negatives (Grill et al. 2020)"),
    "barlow_twins": Entry(
        "dsabench.methods.barlow_twins:BarlowTwins", "decorrelates embedding dimensions (Zbontar et al. 2021)"
    ),
    "vicreg": Entry(
        "dsabench.methods.vicreg:VICReg", "invariance, variance and covariance of the embeddings (Bardes et al. 2021)"
    ),
    "vibcreg": Entry("dsabench.methods.vibcreg:VIbCReg", "VICReg with correlations and IterNorm (Lee and Aune 2021)"),
    "tico": Entry(
        "dsabench.methods.tico:TiCo", "an EMA teacher, and away from past batches' covariance (Zhu et al. 2022)"
    ),
    "w_mse": Entry("dsabench.methods.w_mse:WMSE", "equal embeddings once they are whitened (Ermolov et al. 2020)"),
    "swav": Entry("dsabench.methods.swav:SwAV", "predicts balanced assignments to prototypes (Caron et al. 2020)"),
    "mmcr": Entry("dsabench.methods.mmcr:MMCR", "the largest nuclear norm of the views' means (Yerxa et al. 2023)"),
    "lejepa": Entry(
        "dsabench.methods.lejepa:LeJEPA", "equal embeddings, normal along all directions (Balestriero and LeCun 2025)"
    ),
    "mean_shift": Entry(
        "dsabench.methods.mean_shift:MeanShift",
        "predicts an EMA teacher and its nearest neighbours (Koohpayegani et al. 2021)",
    ),
    "resa": Entry("dsabench.methods.resa:ReSA", "learns the features' own balanced similarities (Weng et al. 2025)"),
    "dino": Entry("dsabench.methods.dino:DINO", "distils an EMA teacher, centred and sharpened (Caron et al. 2021)"),
    "supcon_kmeans": Entry(
        "dsabench.methods.supcon_kmeans:SupConKMeans", "SupCon on k-means clusters of its own features: no labels"
    ),
    "supcon": Entry("dsabench.methods.supcon:SupCon", "contrastive with labels for positives (Khosla et al. 2020)"),
    "supervised": Entry(
        "dsabench.methods.supervised:Supervised", "cross-entropy on labels, the same views: the ceiling"
    ),
    "random": Entry("dsabench.methods.random:Random", "an untrained backbone: the floor"),
}
