"""The module of `dsa-nested`: what it trains, what it must leave alone, and what it says of a batch."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from dsabench import rng
from dsabench.backbones import build_backbone
from dsabench.errors import RunFailed
from dsabench.methods.embedding import embed
from dsabench.regularizers.dsa import (
    NestedDSA,
    ReferenceDSA,
    adjustment_loss,
    exponential_similarity,
    good_neighbour_scores,
    nested,
    shared_neighbour_similarity,
)
from dsabench.regularizers.dsa.priors import count_nonfinite
from dsabench.types import LabelledViews, MethodOutput, Views

IMAGES, FEATURES, EMBEDDING = 24, 64, 16
# A quarter of the other images of the batch.
MOST = 5


class Student(NamedTuple):
    backbone: nn.Module
    projector: nn.Module

    def output(self, views: Views | LabelledViews) -> MethodOutput:
        out = embed(self.backbone, self.projector, views)
        return MethodOutput(out.z1.sum(), *out)

    def parameters(self) -> list[Tensor]:
        return [*self.backbone.parameters(), *self.projector.parameters()]


def scores_of(u: Tensor, k: int) -> Tensor:
    return good_neighbour_scores(u, k, 1.0)


def make_student(seed: int = 0) -> Student:
    with rng.forked(seed, "student"):
        backbone = build_backbone("resnet8w16", channels=3, image_size=8)
        return Student(backbone, nn.Linear(FEATURES, EMBEDDING))


def make_views(images: int = IMAGES, seed: int = 0) -> Views:
    draws = [torch.randn(images, 3, 8, 8, generator=rng.generator(seed, name)) for name in ("a", "1", "2")]
    return Views(*draws, torch.arange(images))


def labelled(views: Views) -> LabelledViews:
    return LabelledViews(*views[:4], torch.arange(len(views.index)) % 3)


def make_dsa(student: Student, **options: Any) -> NestedDSA:
    with rng.forked("dsa"):
        return NestedDSA(student.backbone, FEATURES, EMBEDDING, **options)


@pytest.fixture
def student() -> Student:
    return make_student()


@pytest.fixture
def views() -> Views:
    return make_views()


def gradients(total: Tensor, parameters: list[Tensor]) -> list[Tensor | None]:
    return list(torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True))


def total_of(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def teacher_features(dsa: NestedDSA, views: Views) -> Tensor:
    """What the neighbourhoods are of: the teacher's features of the anchors, centred on the batch."""
    with torch.no_grad():
        u = dsa.prior.teacher(views.anchor)
    return u - u.mean(dim=0)


def test_each_term_trains_its_own_part_and_nothing_trains_the_teacher(student: Student, views: Views) -> None:
    dsa = make_dsa(student)
    assert dsa.pair_network is not None
    terms = dsa(student.output(views), views, 0.9)
    assert set(terms) == {"dsa_adjust", "dsa_prior"}
    network = list(dsa.pair_network.parameters())
    of_adjust = gradients(terms["dsa_adjust"], [*student.parameters(), *network])
    of_prior = gradients(terms["dsa_prior"], [*student.parameters(), *network])
    reached, beyond = of_adjust[: -len(network)], of_adjust[-len(network) :]
    # The projector's bias moves all embeddings alike, and yet not their directions.
    assert all(gradient is not None and gradient.any() for gradient in reached)
    assert beyond == [None] * len(network)
    assert of_prior[: -len(network)] == [None] * len(student.parameters())
    assert all(gradient is not None and gradient.any() for gradient in of_prior[-len(network) :])

    total_of(terms).backward()
    assert not any(p.requires_grad or p.grad is not None for p in dsa.prior.parameters())
    assert [name for name, p in dsa.named_parameters() if p.requires_grad] == [
        f"pair_network.{name}" for name, _ in dsa.pair_network.named_parameters()
    ]


@pytest.mark.parametrize(
    ("options", "progress"), [({"lambda1": 0.0}, 1.0), ({"start": 0.5}, 0.49), ({"start": 1.0}, 0.0)]
)
@pytest.mark.parametrize("m", ["learned", "prior"])
def test_at_weight_0_or_before_the_start_no_gradient_reaches_the_student(
    student: Student, views: Views, options: dict[str, float], progress: float, m: str
) -> None:
    dsa = make_dsa(student, m=m, **options)
    terms = dsa(student.output(views), views, progress)
    assert all(term.isfinite() for term in terms.values())
    assert float(terms["dsa_adjust"].detach()) == 0.0
    if m == "learned":
        assert gradients(total_of(terms), student.parameters()) == [None] * len(student.parameters())
    else:
        assert not total_of(terms).requires_grad


def test_the_adjustment_is_on_from_the_start_itself(student: Student, views: Views) -> None:
    terms = make_dsa(student, start=0.5)(student.output(views), views, 0.5)
    assert float(terms["dsa_adjust"].detach()) > 0
    assert terms["dsa_adjust"].requires_grad


def test_the_anchors_leave_the_students_state_alone(student: Student, views: Views) -> None:
    dsa = make_dsa(student)
    output = student.output(views)
    before = {name: value.clone() for name, value in student.backbone.state_dict().items()}
    dsa.train()
    dsa(output, views, 1.0)
    assert student.backbone.training
    for name, value in student.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_teacher_is_in_eval_mode_always_and_sees_each_image_alone(student: Student, views: Views) -> None:
    dsa = make_dsa(student)
    before = {name: value.clone() for name, value in dsa.prior.state_dict().items()}
    for whole in (dsa, nn.ModuleList([dsa])):
        whole.train()
        assert not any(part.training for part in dsa.prior.modules())
    assert dsa.training
    output = student.output(views)
    together = dsa.prior(output, views)
    few = Views(*(x[:3] for x in views[:4]))
    torch.testing.assert_close(dsa.prior(output, few), together[:3], rtol=1e-4, atol=1e-5)
    for name, value in dsa.prior.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_teacher_follows_the_parameters_and_copies_the_buffers(student: Student, views: Views) -> None:
    dsa = make_dsa(student, momentum=0.9)
    teacher = dsa.prior.teacher
    before = {name: p.clone() for name, p in teacher.named_parameters()}
    with torch.no_grad():
        for p in student.backbone.parameters():
            p.add_(torch.randn(p.shape, generator=rng.generator(str(p.shape))))
    student.output(views)
    dsa.after_step(0.5)
    moved = dict(student.backbone.named_parameters())
    for name, p in teacher.named_parameters():
        torch.testing.assert_close(p, 0.9 * before[name] + 0.1 * moved[name].detach())
        assert not torch.equal(p, before[name])
    statistics = [name for name, b in teacher.named_buffers() if b.is_floating_point()]
    assert statistics
    for name in statistics:
        assert torch.equal(teacher.get_buffer(name), student.backbone.get_buffer(name))
        # Running statistics of an untrained network would be 0 and 1.
        assert teacher.get_buffer(name).unique().numel() > 1


def test_the_terms_are_those_of_the_formulas(student: Student, views: Views) -> None:
    dsa = make_dsa(student, lambda1=3.0, lambda2=0.7, similarity="shared", k=4, eta=5, mu=1.0, temperature=0.4)
    assert dsa.pair_network is not None
    output = student.output(views)
    terms = dsa(output, views, 1.0)
    u = teacher_features(dsa, views)
    prior = shared_neighbour_similarity(u, 4).repeat(2, 2)
    scores = scores_of(u, 5).repeat(2)
    z = torch.cat([output.z1, output.z2])
    learned = dsa.pair_network(z).detach()
    torch.testing.assert_close(terms["dsa_adjust"], 3.0 * adjustment_loss(z, learned, scores, 0.4))
    torch.testing.assert_close(terms["dsa_prior"].detach(), 0.7 * (learned - prior).square().mean().sqrt())
    assert torch.equal(dsa.similar_pairs, (learned[:IMAGES, IMAGES:] > 0.5) & ~torch.eye(IMAGES, dtype=torch.bool))


def test_the_pair_network_is_a_symmetric_similarity_that_ignores_a_shared_mean(student: Student) -> None:
    network = make_dsa(student).pair_network
    assert network is not None
    z = torch.randn(20, EMBEDDING, generator=rng.generator("z"))
    m = network(z)
    assert m.shape == (20, 20)
    torch.testing.assert_close(m, m.T)
    assert m.min() > 0
    assert m.max() < 1
    # At its start a sample is like itself and unlike most others.
    assert (m.diagonal() > 0.99).all()
    assert m[~torch.eye(20, dtype=torch.bool)].median() < 0.1
    torch.testing.assert_close(network(z + 100.0), m, rtol=1e-2, atol=1e-3)


def similarity_of(dsa: NestedDSA, u: Tensor) -> Tensor:
    return dsa.relate(u)[0]


def test_every_similarity_is_what_its_name_says(student: Student) -> None:
    u = torch.randn(IMAGES, FEATURES, generator=rng.generator("u")) + 3.0
    centred = u - u.mean(dim=0)
    shared = {k: shared_neighbour_similarity(centred, k) for k in (2, 4)}
    expected = {
        "shared": shared[4],
        "nested": (shared[4] + shared[2]) / 2,
        "exponential": exponential_similarity(centred, centred, 0.25),
        "constant": torch.eye(IMAGES),
    }
    for name, similarity in expected.items():
        dsa = make_dsa(student, similarity=name, k=4, prior_temperature=0.25)
        torch.testing.assert_close(similarity_of(dsa, u), similarity)


def test_the_parts_can_be_switched_off(student: Student, views: Views) -> None:
    output = student.output(views)
    z = torch.cat([output.z1, output.z2]).detach()
    plain = make_dsa(student, m="prior", similarity="exponential", scores=False, lambda1=1.0)
    u = teacher_features(plain, views)
    prior = exponential_similarity(u, u, 0.5).repeat(2, 2)
    assert 0 < (prior > 0.5).sum() < (prior < 0.5).sum()
    for adjust, similarity in (
        ("both", prior),
        ("pull", prior.clamp_min(0.5)),
        ("push", prior.clamp_max(0.5)),
    ):
        dsa = make_dsa(student, m="prior", similarity="exponential", scores=False, lambda1=1.0, adjust=adjust)
        terms = dsa(output, views, 1.0)
        assert set(terms) == {"dsa_adjust"}
        assert dsa.pair_network is None
        expected = adjustment_loss(z, similarity, torch.ones(2 * IMAGES), 0.5)
        torch.testing.assert_close(terms["dsa_adjust"].detach(), expected)


def test_a_shuffled_prior_is_the_same_matrix_for_the_wrong_images(student: Student) -> None:
    u = torch.randn(IMAGES, FEATURES, generator=rng.generator("u"))
    plain = similarity_of(make_dsa(student), u)
    with rng.forked("shuffle"):
        shuffled = similarity_of(make_dsa(student, shuffle=True), u)
    assert not torch.equal(shuffled, plain)
    assert torch.equal(shuffled, shuffled.T)
    assert torch.equal(shuffled.flatten().sort().values, plain.flatten().sort().values)
    torch.testing.assert_close(shuffled.sum(0).sort().values, plain.sum(0).sort().values)


def test_the_oracle_knows_the_classes_and_weighs_all_alike(student: Student, views: Views) -> None:
    dsa = make_dsa(student, prior="labels", scores=False, m="prior")
    assert dsa.needs_labels
    known = labelled(views)
    dsa(student.output(views), known, 1.0)
    same = known.labels[:, None] == known.labels
    assert torch.equal(dsa.similar_pairs, same & ~torch.eye(IMAGES, dtype=torch.bool))
    assert float(dsa.diagnostics["dsa_score_mean"]) == 1.0
    with pytest.raises(TypeError, match="labelled"):
        dsa(student.output(views), views, 1.0)


@pytest.mark.parametrize("prior", ["ema", "self", "random"])
def test_a_prior_without_labels_gets_none(student: Student, views: Views, prior: str) -> None:
    dsa = make_dsa(student, prior=prior)
    assert not dsa.needs_labels
    assert NestedDSA.facts({"prior": prior}).labels_used == "none"
    total_of(dsa(student.output(views), views, 1.0)).backward()
    before = [p.clone() for p in dsa.prior.parameters()]
    with torch.no_grad():
        for p in student.backbone.parameters():
            p.add_(1.0)
    dsa.after_step(0.5)
    follows = [not torch.equal(a, b) for a, b in zip(before, dsa.prior.parameters(), strict=True)]
    assert all(follows) if prior == "ema" else not any(follows)


def test_facts_say_where_labels_come_in() -> None:
    assert NestedDSA.facts({"prior": "labels"}) == ("labels", "training")
    assert NestedDSA.facts({"prior": "frozen:resnet18"}) == ("frozen:resnet18", "prior")
    for wrong in ("supervised", "frozen:", ""):
        with pytest.raises(ValueError, match="prior must be"):
            NestedDSA.facts({"prior": wrong})


def test_the_log_shows_the_spread_of_the_scores_and_the_similar_pairs(student: Student, views: Views) -> None:
    dsa = make_dsa(student, m="prior", similarity="shared")
    dsa(student.output(views), views, 0.0)
    u = teacher_features(dsa, views)
    scores = scores_of(u, MOST)
    similar = shared_neighbour_similarity(u, MOST) > 0.5
    similar.fill_diagonal_(False)
    assert dsa.similar_pairs is not None
    assert dsa.similar_pairs.dtype == torch.bool
    assert torch.equal(dsa.similar_pairs, similar)
    assert 0 < similar.sum() < IMAGES * (IMAGES - 1)
    values = {name: float(value) for name, value in dsa.diagnostics.items()}
    low, median, high = torch.quantile(scores, torch.tensor([0.1, 0.5, 0.9]), interpolation="lower").tolist()
    assert values == pytest.approx(
        {
            "dsa_k": MOST,
            "dsa_prior_nonfinite": 0,
            "dsa_score_mean": float(scores.mean()),
            "dsa_score_q10": low,
            "dsa_score_q50": median,
            "dsa_score_q90": high,
            "dsa_similar": float(similar.sum()) / (IMAGES * (IMAGES - 1)),
        }
    )


@pytest.mark.parametrize(("images", "expected"), [(9, 2), (24, 5), (80, 19), (81, 20), (100, 20)])
def test_a_small_batch_uses_a_quarter_of_itself_as_neighbours(student: Student, images: int, expected: int) -> None:
    u = torch.randn(images, FEATURES, generator=rng.generator("u"))
    centred = u - u.mean(dim=0)
    dsa = make_dsa(student, similarity="shared")
    prior, scores = dsa.relate(u)
    assert float(dsa.diagnostics["dsa_k"]) == expected
    torch.testing.assert_close(prior, shared_neighbour_similarity(centred, expected))
    torch.testing.assert_close(scores, scores_of(centred, expected))


@pytest.mark.parametrize("images", [5, 8])
@pytest.mark.parametrize("kind", [NestedDSA, ReferenceDSA])
def test_a_batch_about_which_nothing_is_said_can_be_trained_on_with_one_warning(
    student: Student, images: int, kind: type[NestedDSA] | type[ReferenceDSA]
) -> None:
    assert kind.smallest_batch == 5
    views = make_views(images)
    with rng.forked("dsa"):
        dsa = kind(student.backbone, FEATURES, EMBEDDING)
    with pytest.warns(
        UserWarning, match=rf"nothing about batches of {images} images: .* \(s = 0\); .* at least 9 images"
    ):
        total = total_of(dsa(student.output(views), views, 1.0))
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())
    # A second warning would be an error here.
    terms = dsa(student.output(views), views, 1.0)
    assert float(dsa.diagnostics["dsa_score_mean"]) == 0
    assert not any(gradient.any() for gradient in gradients(terms["dsa_adjust"], student.parameters()))
    if kind is NestedDSA:
        assert torch.equal(dsa.relate(torch.randn(images, FEATURES))[0], torch.eye(images))


def test_a_queue_makes_up_for_a_small_batch_and_the_labels_need_no_neighbours(student: Student) -> None:
    # A warning would be an error here.
    views = make_views(5)
    for options in ({"queue": 20}, {"prior": "labels", "scores": False}, {"similarity": "constant", "scores": False}):
        dsa = make_dsa(student, **options)
        dsa(student.output(views), labelled(views) if dsa.needs_labels else views, 1.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [NestedDSA, ReferenceDSA])
def test_features_of_the_prior_that_are_not_finite_are_an_error(
    student: Student, views: Views, bad: float, kind: type[NestedDSA] | type[ReferenceDSA]
) -> None:
    dsa = kind(student.backbone, FEATURES, EMBEDDING)
    views.anchor[3, 0, 0, 0] = bad
    with pytest.raises(RunFailed, match=r"prior hold NaN or infinity for 1 of 24 images.*try a smaller lr"):
        dsa(student.output(views), views, 0.0)


@pytest.mark.parametrize("options", [{}, {"lambda1": 0.0}, {"scores": False, "m": "prior"}, {"similarity": "constant"}])
def test_where_to_look_is_to_wait_they_make_the_loss_nan_and_are_counted(
    student: Student, views: Views, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on an accelerator, where the count is not read.
    monkeypatch.setattr(nested, "count_nonfinite", lambda u: (~u.isfinite()).any(dim=1).sum())
    dsa = make_dsa(student, **options)
    views.anchor[3:5, 0, 0, 0] = float("nan")
    total = total_of(dsa(student.output(views), views, 0.0))
    assert total.isnan()
    assert float(dsa.diagnostics["dsa_prior_nonfinite"]) == 2


def test_to_count_what_is_not_finite_waits_for_no_accelerator() -> None:
    # A device without values: to read one is an error there.
    count = count_nonfinite(torch.empty(6, 3, device="meta"))
    assert count.device.type == "meta"
    assert count.shape == ()


def test_the_index_of_the_images_is_for_those_alone_that_keep_something_of_each(student: Student, views: Views) -> None:
    plain = Views(views.anchor, views.view1, views.view2)
    dsa, output = make_dsa(student), student.output(views)
    terms, same = dsa(output, views, 1.0), dsa(output, plain, 1.0)
    assert all(torch.equal(term, same[name]) for name, term in terms.items())
    with pytest.raises(ValueError, match="ema_every above 1 needs views with the index of each image"):
        make_dsa(student, ema_every=2, num_images=40)(student.output(views), plain, 1.0)


def test_a_queue_widens_the_search_and_forgets_the_oldest(student: Student) -> None:
    dsa = make_dsa(student, queue=60, k=10, eta=10, similarity="shared")
    batches = [torch.randn(IMAGES, FEATURES, generator=rng.generator("u", step)) for step in range(4)]
    seen: list[Tensor] = []
    for step, u in enumerate(batches):
        bank = torch.cat([u, *reversed(seen)])[: IMAGES + 60]
        prior, scores = dsa.relate(u)
        k = min(10, (len(bank) - 1) // 4)
        assert float(dsa.diagnostics["dsa_k"]) == k
        bank = bank - bank.mean(dim=0)
        torch.testing.assert_close(prior, shared_neighbour_similarity(bank, k)[:IMAGES, :IMAGES])
        torch.testing.assert_close(scores, scores_of(bank, k)[:IMAGES])
        seen.append(u)
        assert dsa.queue is not None
        assert int(dsa.queue.filled) == min(60, IMAGES * (step + 1))
    assert torch.equal(dsa.queue.features, torch.cat([*reversed(batches)])[:60])


def test_a_teacher_that_looks_seldom_keeps_what_it_saw(student: Student) -> None:
    images, every = 40, 3
    dsa = make_dsa(student, ema_every=every, num_images=images)
    prior, visits = dsa.prior, torch.zeros(images, dtype=torch.int64)
    known: dict[int, Tensor] = {}
    for step in range(12):
        views = make_views(16, seed=step)
        index = torch.randperm(images, generator=rng.generator("order", step))[:16]
        views = views._replace(index=index)
        output = student.output(views)
        u = prior(output, views)
        fresh = prior.teacher(views.anchor)
        looked = torch.tensor([torch.allclose(u[i], fresh[i], rtol=1e-4, atol=1e-5) for i in range(16)])
        # A third of the batch, rounded up, and those that waited longest.
        assert int(looked.sum()) == 6
        assert visits[index[looked]].min() >= visits[index[~looked]].max()
        for i in (~looked).nonzero().flatten().tolist():
            image = int(index[i])
            if image in known:
                torch.testing.assert_close(u[i], known[image], rtol=1e-3, atol=1e-3)
            else:
                torch.testing.assert_close(u[i], 0.5 * (output.h1[i] + output.h2[i]))
        visits[index[~looked & torch.tensor([int(i) in known for i in index])]] += 1
        for i in looked.nonzero().flatten().tolist():
            known[int(index[i])] = fresh[i].detach()
            visits[index[i]] = 0
        for image in range(images):
            if image not in known:
                visits[image] = 1000
    assert len(known) == images
    assert prior.stored.dtype == torch.float16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema_every": 0}, "ema_every"),
        ({"ema_every": 2, "prior": "self"}, "ema_every"),
        ({"ema_every": 2}, "num_images"),
        ({"lambda1": -0.1}, "lambda1"),
        ({"lambda2": -1.0}, "lambda2"),
        ({"start": 1.1}, "start"),
        ({"start": -0.1}, "start"),
        ({"momentum": 1.5}, "momentum"),
        ({"momentum": -0.5}, "momentum"),
        ({"similarity": "cosine"}, "similarity"),
        ({"m": "none"}, "m must"),
        ({"adjust": "neither"}, "adjust"),
        ({"k": 0}, "k and eta"),
        ({"eta": 0}, "k and eta"),
        ({"temperature": 0.0}, "temperature"),
        ({"prior_temperature": -1.0}, "temperature"),
        ({"queue": 19}, "queue"),
        ({"queue": -1}, "queue"),
        ({"prior": "labels", "queue": 100}, "queue"),
        ({"prior": "imagenet"}, "prior must"),
        ({"prior": "frozen:no_such_model"}, "no_such_model"),
        ({"prior": "frozen:resnet18@nowhere.safetensors"}, "no file nowhere"),
    ],
)
def test_an_option_out_of_its_range_is_an_error(student: Student, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_dsa(student, **options)


@pytest.mark.parametrize("options", [{}, {"m": "prior", "queue": 40}, {"prior": "self"}])
def test_a_forward_pass_draws_nothing(student: Student, views: Views, options: dict[str, Any]) -> None:
    dsa = make_dsa(student, **options)
    output = student.output(views)
    state = torch.get_rng_state()
    total_of(dsa(output, views, 1.0)).backward()
    dsa.after_step(0.5)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_state_is_all_of_it(student: Student, views: Views) -> None:
    dsa = make_dsa(student, queue=40)
    with torch.no_grad():
        for p in student.backbone.parameters():
            p.mul_(1.1)
    output = student.output(views)
    dsa(output, views, 1.0)
    dsa.after_step(0.5)
    other = NestedDSA(make_student(seed=1).backbone, FEATURES, EMBEDDING, queue=40)
    other.load_state_dict(dsa.state_dict(), strict=True)
    ours, theirs = dsa(output, views, 1.0), other(output, views, 1.0)
    for name, term in ours.items():
        assert torch.equal(term, theirs[name]), name
    for name, value in dsa.diagnostics.items():
        assert torch.equal(value, other.diagnostics[name]), name


def test_the_students_parameters_are_no_part_of_the_regularizer(student: Student) -> None:
    dsa = make_dsa(student)
    own = {id(p) for p in dsa.parameters()}
    assert own.isdisjoint({id(p) for p in student.parameters()})
    for p, q in zip(dsa.prior.teacher.parameters(), student.backbone.parameters(), strict=True):
        assert torch.equal(p, q)
