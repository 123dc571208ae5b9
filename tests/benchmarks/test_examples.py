"""The programs that show dsabench in a loop of one's own do what they say."""

import inspect
import pydoc
import re
from pathlib import Path

import pytest
import torch
from command import dsabench

from benchmarks.examples import crowding_callback, dsa_in_a_loop
from dsabench import DSA, measure
from dsabench.config.options import option_types

README = Path(__file__).parents[2] / "README.md"


def test_dsa_in_a_loop_adds_its_term(capsys: pytest.CaptureFixture[str]) -> None:
    history = dsa_in_a_loop.main(["--steps", "3"])
    assert [set(row) for row in history] == [{"loss", "ssl", "dsa_spread"}] * 3
    for row in history:
        assert row["loss"] == pytest.approx(row["ssl"] + row["dsa_spread"], rel=1e-5)
        assert row["dsa_spread"] != 0
    assert "CDNV of the features" in capsys.readouterr().out


def test_with_a_weight_it_draws_once_it_has_seen_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[DSA] = []

    def remembered(*arguments: object, **options: object) -> DSA:
        built.append(DSA(*arguments, **options, weight=3.0))  # type: ignore[arg-type, misc]
        return built[0]

    monkeypatch.setattr(dsa_in_a_loop, "DSA", remembered)
    steps, epoch = 10, 8
    history = dsa_in_a_loop.main(["--steps", str(steps)])
    assert [set(row) for row in history] == [{"loss", "ssl", "dsa_adjust", "dsa_spread"}] * steps
    for row in history:
        assert row["loss"] == pytest.approx(row["ssl"] + row["dsa_adjust"] + row["dsa_spread"], rel=1e-5)
    # As many images as there are were looked at.
    assert [row["dsa_adjust"] != 0 for row in history] == [step >= epoch for step in range(steps)]
    (dsa,) = built
    assert float(dsa.diagnostics["dsa_k"]) > 0
    # The bank has what was looked at, each batch other images.
    assert int(dsa.features.any(dim=1).sum()) > 1000


# Of Lightning's own: a deprecated call of torch's, and advice on speed.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*", "ignore:.*does not have many workers", "ignore:.*logging interval")
def test_the_callback_logs_what_measure_says_of_the_backbone() -> None:
    trainer, model, held_out = crowding_callback.main(["--epochs", "1"])
    images, classes = held_out.tensors
    with torch.no_grad():
        features = model.backbone.eval()(images)
    expected = {f"crowding/{name}": value for name, value in measure(features, classes).items()}
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert "crowding/cdnv" in logged
    assert logged == pytest.approx(expected, rel=1e-4)


def test_the_callback_is_as_short_as_it_is_said_to_be() -> None:
    assert len(inspect.getsource(crowding_callback.Crowding).strip().splitlines()) <= 15


def test_the_programs_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    loop, model = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    assert len(loop.splitlines()) <= 35
    names: dict[str, object] = {}
    exec(loop.replace("steps = 300", "steps = 4"), names)
    assert "'cdnv': " in capsys.readouterr().out
    small = ("--epochs", 1, "--train-images", 64, "--batch-size", 64, "--device", "cpu")
    assert dsabench("pretrain", *small, "-q").code == 0
    (folder,) = tmp_path.glob("runs/*/*/*")
    exec(model.replace("acd9e9eb5cc5", folder.name.rpartition("-")[2]), names)
    printed = capsys.readouterr().out
    assert "rankme" in printed
    assert re.search(r"mine +accuracy +0?\.\d", printed)


def test_help_of_dsa_begins_with_its_call_and_names_every_option() -> None:
    text = pydoc.plain(pydoc.render_doc(DSA))
    documented = text[: text.index("Method resolution order")]
    assert documented.index("forward(output, views, progress)") < documented.index("Construction")
    assert not [name for name in option_types(DSA) if f"`{name}`" not in documented]
