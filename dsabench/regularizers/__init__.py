"""Regularizers: named terms that any method can be trained with.

The variants of DSA from `dsa-no-m` on are its ablations: the same module, one option changed, and `dsa-minimal`, all
that its pull can do without.
"""

from dsabench.registry import Entry

_DSA = "dsabench.regularizers.dsa.module:DSA"

# The options that came after runs existed, each at the value that changes nothing.
_BALANCE = {"balance": False}
_LATER = {"ema_every": 1} | _BALANCE

REGULARIZERS: dict[str, Entry] = {
    "none": Entry("dsabench.regularizers.none:NoRegularizer", "nothing added: the plain method"),
    "dsa": Entry(_DSA, "label-free DSA: shared neighbours of an EMA teacher (after arXiv 2407.13541)", later=_LATER),
    "dsa-bank": Entry(
        "dsabench.regularizers.dsa.bank:BankDSA",
        "under study: neighbours among all images, as far as they hang together (results/research.md)",
    ),
    "dsa-oracle": Entry(
        _DSA,
        "DSA told the labels: the upper bound, not self-supervised",
        preset={"prior": "labels", "scores": False},
        later=_LATER,
    ),
    "dsa-reference": Entry(
        "dsabench.regularizers.dsa.reference:ReferenceDSA",
        "the published computation, to measure against; its ImageNet prior: prior=frozen:resnet18.tv_in1k",
        later=_BALANCE,
    ),
    "dsa-minimal": Entry(
        _DSA,
        "neighbour aggregation alone: pull only, no M, no scores, no teacher",
        preset={"adjust": "pull", "m": "prior", "scores": False, "prior": "self"},
        later=_LATER,
    ),
    "dsa-no-m": Entry(_DSA, "ablation: nothing learned, M is the prior", preset={"m": "prior"}, later=_LATER),
    "dsa-no-scores": Entry(_DSA, "ablation: every sample weighs the same", preset={"scores": False}, later=_LATER),
    "dsa-no-prior": Entry(_DSA, "ablation: M is never drawn to the prior", preset={"lambda2": 0.0}, later=_LATER),
    "dsa-pull": Entry(_DSA, "ablation: aggregation only", preset={"adjust": "pull"}, later=_LATER),
    "dsa-push": Entry(_DSA, "ablation: separation only", preset={"adjust": "push"}, later=_LATER),
    "dsa-constant": Entry(_DSA, "ablation: no two images are similar", preset={"similarity": "constant"}, later=_LATER),
    "dsa-exponential": Entry(
        _DSA,
        "ablation: the published similarity, of the run's own features",
        preset={"similarity": "exponential"},
        later=_LATER,
    ),
    "dsa-shuffled": Entry(_DSA, "ablation: the prior of the wrong images", preset={"shuffle": True}, later=_LATER),
    "koleo": Entry(
        "dsabench.regularizers.koleo:KoLeo",
        "spreads features evenly; shares nothing with DSA (1806.03198)",
        later=_BALANCE,
    ),
    "sigreg": Entry(
        "dsabench.regularizers.sigreg:SIGReg", "LeJEPA's: standard normal along random directions (2511.08544)"
    ),
    "visreg": Entry("dsabench.regularizers.visreg:VISReg", "centre, scale and shape of a standard normal (2606.02572)"),
}
