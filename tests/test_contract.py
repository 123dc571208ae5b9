"""What every method and every regularizer keeps to; a new line in a registry is tested by being there."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dsabench.backbones.base import Backbone
from dsabench.config.eval_config import EvalConfig
from dsabench.config.optimization import OPTIMIZERS
from dsabench.config.options import method_class, option_types, regularizer_class
from dsabench.config.plan import plan
from dsabench.config.request import Request, parse_settings
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part, Spec, parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Dataset
from dsabench.errors import Interrupted, RunFailed, UsageError
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.evaluate import evaluate
from dsabench.evaluation.features import FeatureStore
from dsabench.launch.work import facts
from dsabench.methods import METHODS
from dsabench.regularizers import REGULARIZERS
from dsabench.signals import Stop
from dsabench.training.checkpoint import module_state, read_checkpoint, tensors_sha256
from dsabench.training.loop import fit
from dsabench.training.ranks import make_fabric
from dsabench.training.run import Run
from dsabench.training.state import State
from dsabench.training.step import batches, step
from dsabench.training.store import Store
from dsabench.types import LabelledViews, MethodOutput, Views

# Three steps an epoch, two epochs: a stop after two steps is inside an epoch, one after four beyond its end.
REQUEST = Request(
    (),
    data=DataConfig(name="synthetic", train_images=48, image_size=8),
    backbone="resnet8w16",
    epochs=2,
    batch_size=16,
    device="cpu",
)
DATASETS = Datasets(offline=True)
# For defaults that a batch this small does not allow.
SETTINGS = {"w_mse": ("method.whitening_size=8", "method.output_dim=4"), "supcon_kmeans": ("method.clusters=5",)}
STEPS = 6
TERMS = ("ssl", "dsa_adjust", "dsa_prior", "dsa_separate", "dsa_spread", "koleo", "sigreg", "visreg")
TIMES = ("wall_s", "images_per_s")

TRAINABLE = [name for name in METHODS if method_class(name).trainable]
# A name that is another one's preset is the same module: two methods are enough for it.
PAIRS = [
    pytest.param(method, name, id=f"{method}+{name}")
    for name, entry in REGULARIZERS.items()
    for method in (("simclr", "byol") if entry.preset else TRAINABLE)
]
# Where two or three runs are needed: every method with and without DSA, every regularizer with one method.
SPECS = list(
    dict.fromkeys(
        [
            *TRAINABLE,
            *(f"{method}+dsa-nested" for method in TRAINABLE),
            *(f"simclr+{name}" for name in REGULARIZERS),
            "simclr+dsa-nested[ema_every=3,queue=40]",
            "byol+dsa-nested[balance=on,lambda1=0.5]",
            "simclr+koleo[balance=on]",
            "simclr+dsa[weight=3]",
        ]
    )
)
REGULARIZED = [spec for spec in SPECS if "+" in spec and not spec.endswith("+none")]


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing here is about power cuts, and a busy disk takes longer than the training.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def weights_of(regularizer: str) -> list[str]:
    """The options of a regularizer that weigh its terms."""
    return [
        name
        for name in option_types(regularizer_class(regularizer))
        if re.fullmatch(r"lambda\d*|weight|push|spread", name)
    ]


def planned(spec: str, seed: int = 0) -> tuple[RunConfig, Dataset]:
    parsed = parse_spec(spec)
    settings = parse_settings(SETTINGS.get(parsed.method.name, ()))
    request = replace(REQUEST, specs=(parsed,), seeds=(seed,), settings=settings)
    request.check()
    dataset = DATASETS.load(request.data)
    (config,) = plan(request, dataset)
    return config, dataset


def make_state(spec: str, seed: int = 0) -> State:
    config, dataset = planned(spec, seed)
    return State(config, dataset, make_fabric(config))


def begin_run(state: State, runs: Path) -> Run:
    """The run of a state as it is on disk, ready for `fit`."""
    run = Store(runs).run(state.config)
    run.begin(**facts(state.config, state.dataset, 1, None))
    return run


def snapshot(state: State) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.tensors().items()}


def log_of(state: State) -> list[dict[str, float]]:
    """The log without its time columns."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in state.position.log]


@dataclass
class Outcome:
    """What a run left behind, and what its modules were given."""

    run: Run
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    log: list[dict[str, float]]
    losses: list[float | None] = field(default_factory=list)
    given_to_method: set[type] = field(default_factory=set)
    given_to_regularizer: set[type] = field(default_factory=set)


def train(spec: str, runs: Path, seed: int = 0, stops: tuple[int, ...] = ()) -> Outcome:
    """Train to the end; at each of `stops`, a count of steps, with a fresh state that starts from the disk."""
    losses: list[float | None] = []
    given: tuple[set[type], set[type]] = set(), set()
    before: dict[str, Tensor] = {}
    for last in (*stops, STEPS):
        state = make_state(spec, seed)
        run = begin_run(state, runs)
        before = before or snapshot(state)
        state.method.register_forward_pre_hook(lambda _, inputs: given[0].add(type(inputs[0])))
        state.regularizer.register_forward_pre_hook(lambda _, inputs: given[1].add(type(inputs[1])))
        stop = Stop()

        def watch(step: int, total: int, loss: float | None, speed: float, last: int = last, stop: Stop = stop) -> None:
            assert total == STEPS
            losses.append(loss)
            if step == last < total:
                stop.exit_code = 143

        # Nothing may depend on the state of the global generator.
        torch.manual_seed(len(losses) + 77)
        if last < STEPS:
            with pytest.raises(Interrupted):
                fit(state, run, stop, watch)
            assert run.state["status"] == "interrupted"
            assert run.state["step"] == last
        else:
            fit(state, run, stop, watch)
    return Outcome(run, before, snapshot(state), log_of(state), losses, *given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Outcome]]:
    """Train a spec once for all tests of this file that need it."""
    known: dict[tuple[str, int], Outcome] = {}

    def outcome(spec: str, seed: int = 0) -> Outcome:
        found = known.get((spec, seed)) or train(spec, tmp_path_factory.mktemp("runs"), seed)
        if spec in SPECS:
            known[spec, seed] = found
        return found

    yield outcome
    known.clear()


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert ours.keys() == theirs.keys()
    different = [name for name, tensor in ours.items() if not torch.equal(tensor, theirs[name])]
    assert not different


def part(tensors: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    """The tensors of the method, or of other parts of the state, by the beginning of their names."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(tuple(f"{one}." for one in names))}


@pytest.mark.parametrize(("method", "regularizer"), PAIRS)
def test_every_pair_trains_and_labels_reach_those_alone_that_declare_it(
    method: str, regularizer: str, trained: Callable[..., Outcome]
) -> None:
    outcome = trained(f"{method}+{regularizer}")
    assert len(outcome.losses) == STEPS
    assert all(loss is not None and math.isfinite(loss) for loss in outcome.losses)
    assert outcome.run.state["status"] == "finished"
    assert [row["epoch"] for row in outcome.log] == [1.0, 2.0]
    for row in outcome.log:
        assert all(math.isfinite(value) for value in row.values()), row
        terms = [value for name, value in row.items() if name in TERMS]
        assert row["loss"] == pytest.approx(sum(terms), rel=1e-5)
    assert (regularizer == "none") == (set(outcome.log[0]) == {"epoch", "loss", "lr", "ssl"})
    assert all(tensor.isfinite().all() for tensor in outcome.after.values() if tensor.is_floating_point())
    backbone = part(outcome.after, "method.backbone")
    assert backbone
    still = [name for name, tensor in backbone.items() if torch.equal(tensor, outcome.before[name])]
    assert not still

    by_method, by_regularizer = method in ("supervised", "supcon"), regularizer == "dsa-oracle"
    assert outcome.given_to_method == {LabelledViews if by_method else Views}
    assert outcome.given_to_regularizer == {LabelledViews if by_regularizer else Views}
    assert method_class(method).needs_labels == by_method
    assert outcome.run.state["labels_used"] == ("training" if by_method or by_regularizer else "none")


@pytest.mark.parametrize("method", TRAINABLE)
def test_arms_of_one_seed_start_alike_and_see_the_same_views(method: str) -> None:
    plain = make_state(method)
    views = next(iter(batches(plain, 0)))
    for regularizer in REGULARIZERS:
        arm = make_state(f"{method}+{regularizer}")
        assert_same(part(plain.tensors(), "method"), part(arm.tensors(), "method"))
        assert all(torch.equal(a, b) for a, b in zip(views[:4], next(iter(batches(arm, 0)))[:4], strict=True))
    other = make_state(method, seed=1)
    assert not torch.equal(views.view1, next(iter(batches(other, 0))).view1)
    weights = [name for name, p in plain.method.named_parameters() if p.ndim > 1]
    same = [name for name in weights if torch.equal(plain.method.get_parameter(name), other.method.get_parameter(name))]
    assert not same


@pytest.mark.parametrize("spec", SPECS)
def test_a_seed_names_a_run_and_another_seed_another(
    spec: str, trained: Callable[..., Outcome], tmp_path: Path
) -> None:
    ours, again, other = trained(spec), train(spec, tmp_path), trained(spec, 1)
    assert_same(ours.after, again.after)
    assert ours.log == again.log
    assert ours.losses == again.losses
    assert ours.run.state["weights_sha256"] == again.run.state["weights_sha256"]
    assert ours.run.state["weights_sha256"] != other.run.state["weights_sha256"]
    assert ours.losses[0] != other.losses[0]


@pytest.mark.parametrize("spec", SPECS)
def test_a_resumed_run_is_the_uninterrupted_one(spec: str, trained: Callable[..., Outcome], tmp_path: Path) -> None:
    whole, resumed = trained(spec), train(spec, tmp_path, stops=(2, 4))
    assert_same(whole.after, resumed.after)
    assert whole.log == resumed.log
    assert whole.losses == resumed.losses
    assert whole.run.state["weights_sha256"] == resumed.run.state["weights_sha256"]


def test_a_backbone_whose_weights_lie_pixel_major_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "REQUEST", replace(REQUEST, backbone="resnet18"))
    whole, resumed = (
        train("byol+dsa-nested", tmp_path / "whole"),
        train("byol+dsa-nested", tmp_path / "resumed", stops=(2, 4)),
    )
    assert any(not p.is_contiguous() for p in make_state("byol+dsa-nested").method.parameters())
    assert_same(whole.after, resumed.after)
    assert whole.log == resumed.log


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_every_optimiser_and_schedule_resumes(optimizer: str, schedule: str, tmp_path: Path) -> None:
    spec = f"simclr[optimizer={optimizer},schedule={schedule},warmup_epochs=1,lr=0.01]+dsa-nested"
    whole = train(spec, tmp_path / "whole")
    resumed = train(spec, tmp_path / "resumed", stops=(1, 5))
    assert_same(whole.after, resumed.after)
    assert whole.log == resumed.log


@pytest.mark.parametrize("spec", REGULARIZED)
def test_at_weight_0_the_method_is_the_plain_one(spec: str, trained: Callable[..., Outcome], tmp_path: Path) -> None:
    whole = parse_spec(spec)
    weights = dict.fromkeys(weights_of(whole.regularizer.name), 0)
    assert weights
    # What comes behind the last step has no weight.
    behind = {"adjust": False} if whole.regularizer.name == "dsa" else {}
    unweighted = Part(whole.regularizer.name, {**whole.regularizer.options, **weights, **behind})
    plain, arm = trained(str(whole.method)), train(str(Spec(whole.method, unweighted)), tmp_path)
    assert_same(part(plain.after, "method", "optimizer"), part(arm.after, "method", "optimizer"))
    assert part(arm.after, "optimizer")
    assert plain.run.state["weights_sha256"] == arm.run.state["weights_sha256"]
    assert plain.losses == arm.losses
    for expected, row in zip(plain.log, arm.log, strict=True):
        assert {name: row[name] for name in expected} == expected
        assert all(math.isfinite(value) for value in row.values())


@pytest.mark.parametrize("spec", REGULARIZED)
def test_at_its_own_weights_it_is_not(spec: str, trained: Callable[..., Outcome]) -> None:
    plain, arm = trained(spec.partition("+")[0]), trained(spec)
    assert plain.run.state["weights_sha256"] != arm.run.state["weights_sha256"]


@pytest.mark.parametrize("method", TRAINABLE)
def test_before_its_start_dsa_changes_nothing(method: str, trained: Callable[..., Outcome], tmp_path: Path) -> None:
    plain, arm = trained(method), train(f"{method}+dsa-nested[start=1]", tmp_path)
    assert_same(part(plain.after, "method", "optimizer"), part(arm.after, "method", "optimizer"))
    assert [row["ssl"] for row in plain.log] == [row["ssl"] for row in arm.log]
    assert all(row["dsa_adjust"] == 0 and row["dsa_prior"] > 0 for row in arm.log)


def test_dsa_is_switched_on_at_its_start_and_not_a_step_later() -> None:
    states = [make_state(spec) for spec in ("simclr", "simclr+dsa-nested[start=0.5]")]
    apart = []
    for number in range(STEPS):
        for state in states:
            step(state, next(iter(batches(state, *divmod(number, 3)))))
        plain, arm = (part(state.tensors(), "method", "optimizer") for state in states)
        apart.append(any(not torch.equal(tensor, arm[name]) for name, tensor in plain.items()))
    assert apart == [False, False, False, True, True, True]


def test_at_weight_0_the_rows_are_those_of_the_plain_method(tmp_path: Path) -> None:
    what = EvalConfig(("knn5", "crowding"), layers=(Part("backbone"), Part("projector")))
    rows = [
        evaluate(run_encoder(train(spec, tmp_path).run, DATASETS), what, DATASETS, stop=Stop())
        for spec in ("simclr", "simclr+dsa-nested[lambda1=0,lambda2=0]", "simclr+dsa-nested")
    ]
    names = ("seed", "dataset", "split", "n", "layer", "probe", "probe_params", "metric", "higher_is_better")
    keys, values = (
        [[tuple(getattr(row, name) for name in columns) for row in of_run] for of_run in rows]
        for columns in (names, ("value",))
    )
    assert keys[0] == keys[1] == keys[2]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("method", TRAINABLE)
def test_teachers_follow_their_students(method: str, trained: Callable[..., Outcome]) -> None:
    outcome = trained(method)
    prefix = "method.teacher_"
    taught = {name: "method." + name.removeprefix(prefix) for name in outcome.after if name.startswith(prefix)}
    assert bool(taught) == (prefix + "backbone.network.stem.weight" in outcome.after)
    assert taught or method != "byol"
    parameters = {f"method.{name}" for name, _ in make_state(method).method.named_parameters()}
    for teacher, student in taught.items():
        moved, target = outcome.after[teacher], outcome.after[student]
        if teacher in parameters:
            assert not torch.equal(moved, outcome.before[teacher]), teacher
            assert not torch.equal(moved, target), teacher
        elif moved.is_floating_point():
            assert torch.equal(moved, target), teacher


@pytest.mark.parametrize("method", TRAINABLE)
def test_teachers_have_a_say_in_the_loss(method: str) -> None:
    plain, other = make_state(method), make_state(method)
    taught = [p for name, p in other.method.named_parameters() if name.startswith("teacher_")]
    with torch.no_grad():
        for p in taught:
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    losses = [step(state, next(iter(batches(state, 0))))["loss"] for state in (plain, other)]
    assert (losses[0] != losses[1]) == bool(taught)


@pytest.mark.parametrize("spec", ["simclr", "byol+dsa-nested"])
def test_the_last_checkpoint_holds_the_whole_state(spec: str, trained: Callable[..., Outcome]) -> None:
    outcome = trained(spec)
    tensors, meta = read_checkpoint(outcome.run.final_checkpoint())
    assert_same(tensors, outcome.after)
    assert meta["step"] == STEPS
    assert outcome.run.state["weights_sha256"] == tensors_sha256(part(tensors, "method"))
    assert outcome.run.state["images_seen"] == STEPS * REQUEST.batch_size


def test_compile_is_part_of_a_run_and_reaches_the_backbone_and_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Backbone] = []
    monkeypatch.setattr(Backbone, "compile", lambda self: compiled.append(self))
    plain = make_state("byol+dsa-nested")
    assert not compiled
    request = replace(REQUEST, specs=(parse_spec("byol+dsa-nested"),), compile=True)
    dataset = DATASETS.load(request.data)
    (config,) = plan(request, dataset)
    state = State(config, dataset, make_fabric(config))
    # The student's, BYOL's teacher's and DSA's.
    assert len(compiled) == 3
    assert state.method.backbone in compiled
    assert config.run_id != plain.config.run_id
    assert module_state(state.method, "method").keys() == module_state(plain.method, "method").keys()


def test_losses_that_are_looked_at_later_are_the_same_and_so_is_all_else(tmp_path: Path) -> None:
    here, later = make_state("byol+dsa-nested"), make_state("byol+dsa-nested")
    later.look_every = 4
    seen: list[float | None] = []
    fit(here, begin_run(here, tmp_path / "here"), Stop(), lambda *_: None)
    fit(later, begin_run(later, tmp_path / "later"), Stop(), lambda step, total, loss, speed: seen.append(loss))
    assert_same(snapshot(here), snapshot(later))
    timed = {"wall_s", "images_per_s"}
    for ours, theirs in zip(here.position.log, later.position.log, strict=True):
        assert {key: ours[key] for key in ours.keys() - timed} == {key: theirs[key] for key in theirs.keys() - timed}
    # Nobody knows a loss before somebody looks.
    assert seen[0] is None
    assert seen[-1] is not None


def test_a_bad_loss_that_is_seen_later_is_named_and_nothing_after_it_is_saved(tmp_path: Path) -> None:
    state = make_state("byol+dsa-nested")
    state.look_every = 4
    run = begin_run(state, tmp_path)
    forward_method = state.forward_method

    def bad(views: Views) -> MethodOutput:
        output: MethodOutput = forward_method(views)
        return output._replace(loss=output.loss * math.nan) if state.position.step == 1 else output

    state.forward_method = bad  # type: ignore[assignment]
    with pytest.raises(RunFailed, match="not finite at step 1 "):
        fit(state, run, Stop(), lambda *_: None)
    saved = Run.load(run.folder)
    assert saved.state["status"] == "failed"
    assert saved.state["checkpoints"] == []


def test_a_run_whose_last_update_ruined_the_weights_has_failed(tmp_path: Path) -> None:
    state = make_state("simclr")
    run = begin_run(state, tmp_path)

    def watch(step: int, total: int, loss: float | None, speed: float) -> None:
        if step == total:
            with torch.no_grad():
                next(state.method.projector.parameters())[0].fill_(math.inf)

    with pytest.raises(RunFailed, match=r"simclr s0: method\.projector\..* is not finite after the last step"):
        fit(state, run, Stop(), watch)
    saved = Run.load(run.folder)
    assert saved.state["status"] == "failed"
    assert "weights_sha256" not in saved.state
    assert saved.state["checkpoints"] == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("source", ["method", "regularizer"])
def test_a_loss_that_is_not_finite_stops_the_run_before_the_update(source: str, bad: float, tmp_path: Path) -> None:
    state = make_state("byol+dsa-nested")
    run = begin_run(state, tmp_path)
    forward_method, forward_regularizer = state.forward_method, state.forward_regularizer
    before: dict[str, Tensor] = {}

    def watch(step: int, total: int, loss: float | None, speed: float) -> None:
        before.update(snapshot(state))

    def bad_method(views: Views) -> MethodOutput:
        output: MethodOutput = forward_method(views)
        return output._replace(loss=output.loss * bad) if state.position.step == 2 else output

    def bad_regularizer(output: MethodOutput, views: Views, progress: float) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = forward_regularizer(output, views, progress)
        return terms | ({"dsa_prior": terms["dsa_prior"] * bad} if state.position.step == 2 else {})

    if source == "method":
        state.forward_method = bad_method  # type: ignore[assignment]
    else:
        state.forward_regularizer = bad_regularizer  # type: ignore[assignment]
    with pytest.raises(RunFailed, match=r"byol\+dsa-nested s0: the loss is not finite at step 2"):
        fit(state, run, Stop(), watch)

    assert state.position.step == 2
    parameters = {f"method.{name}" for name, _ in state.method.named_parameters()}
    parameters |= {f"regularizer.{name}" for name, _ in state.regularizer.named_parameters()}
    after = state.tensors()
    unchanged = {name for name in before if name in parameters or not name.startswith(("method.", "regularizer."))}
    assert_same({name: before[name] for name in unchanged}, {name: after[name] for name in unchanged})
    saved = Run.load(run.folder)
    assert saved.state["status"] == "failed"
    assert "not finite" in saved.state["error"]
    assert saved.state["checkpoints"] == []


def test_the_random_method_has_features_and_no_steps(tmp_path: Path) -> None:
    state = make_state("random")
    run = begin_run(state, tmp_path)
    before = snapshot(state)
    fit(state, run, Stop(), lambda *_: pytest.fail("a step was taken"))
    assert state.config.epochs == 0
    assert run.state["status"] == "finished"
    assert run.state["labels_used"] == "none"
    assert_same(before, read_checkpoint(run.final_checkpoint())[0])
    features = FeatureStore(run_encoder(run, DATASETS), state.dataset, torch.device("cpu")).get(
        Part("backbone"), "test"
    )
    assert features.x.shape == (64, state.feature_dim)
    assert features.x.isfinite().all()
    assert features.x.std() > 0
    # A random encoder is the one that the trained methods start from.
    started = make_state("simclr")
    for name, p in state.method.backbone.named_parameters():
        assert torch.equal(p, started.method.backbone.get_parameter(name)), name


@pytest.mark.parametrize("regularizer", [name for name in REGULARIZERS if name != "none"])
def test_what_is_not_trained_cannot_be_regularized(regularizer: str) -> None:
    with pytest.raises(UsageError, match="nothing to act on"):
        planned(f"random+{regularizer}")
