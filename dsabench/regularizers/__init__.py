"""Regularizers: named terms that any method can be trained with.

The variants from `dsa-no-m` on are ablations of `dsa-nested`: the same module, one option changed, and `dsa-minimal`,
all that its pull can do without.
"""

from dsabench.registry import Entry

_NESTED = "dsabench.regularizers.dsa.nested:NestedDSA"

# The defaults of `dsa` that were others once, here because specs of then are read without torch.
WEIGHT, SPREAD = 0.0, 0.03
# What tells an adjuster what is alike: the views of an image and its neighbours, or these alone.
BY = VIEWS, ALONE = "views", "neighbours"

# The options that came after runs existed, each at the value that changes nothing.
_BALANCE = {"balance": False}
_LATER = {"ema_every": 1} | _BALANCE

REGULARIZERS: dict[str, Entry] = {
    "none": Entry("dsabench.regularizers.none:NoRegularizer", "nothing added: the plain method"),
    "dsa": Entry(
        "dsabench.regularizers.dsa.bank:DSA",
        "label-free DSA: evens features out in training, adjusts them in the end, draws neighbours at weight=3",
        later={"push": 0.0, "spread": 0.0, "adjust": False, "adjust_by": "views"},
        identity="dsa-bank",
    ),
    "dsa-nested": Entry(
        _NESTED,
        "DSA in a batch: shared neighbours of an EMA teacher (after arXiv 2407.13541)",
        later=_LATER,
        identity="dsa",
    ),
    "dsa-oracle": Entry(
        _NESTED,
        "dsa-nested told the labels: the upper bound, not self-supervised",
        preset={"prior": "labels", "scores": False},
        later=_LATER,
    ),
    "dsa-reference": Entry(
        "dsabench.regularizers.dsa.reference:ReferenceDSA",
        "the published computation, to measure against; its ImageNet prior: prior=frozen:resnet18.tv_in1k",
        later=_BALANCE,
    ),
    "dsa-minimal": Entry(
        _NESTED,
        "neighbour aggregation alone: pull only, no M, no scores, no teacher",
        preset={"adjust": "pull", "m": "prior", "scores": False, "prior": "self"},
        later=_LATER,
    ),
    "dsa-no-m": Entry(_NESTED, "ablation: nothing learned, M is the prior", preset={"m": "prior"}, later=_LATER),
    "dsa-no-scores": Entry(_NESTED, "ablation: every sample weighs the same", preset={"scores": False}, later=_LATER),
    "dsa-no-prior": Entry(_NESTED, "ablation: M is never drawn to the prior", preset={"lambda2": 0.0}, later=_LATER),
    "dsa-pull": Entry(_NESTED, "ablation: aggregation only", preset={"adjust": "pull"}, later=_LATER),
    "dsa-push": Entry(_NESTED, "ablation: separation only", preset={"adjust": "push"}, later=_LATER),
    "dsa-constant": Entry(
        _NESTED, "ablation: no two images are similar", preset={"similarity": "constant"}, later=_LATER
    ),
    "dsa-exponential": Entry(
        _NESTED,
        "ablation: the published similarity, of the run's own features",
        preset={"similarity": "exponential"},
        later=_LATER,
    ),
    "dsa-shuffled": Entry(_NESTED, "ablation: the prior of the wrong images", preset={"shuffle": True}, later=_LATER),
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
