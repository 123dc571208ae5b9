import shutil
import webbrowser
from pathlib import Path

import pytest
from command import TINY, dsabench


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run store with one finished run."""
    runs = tmp_path_factory.mktemp("store") / "runs"
    assert dsabench("pretrain", *TINY, "--runs", runs, "-q").code == 0
    return runs


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser was asked for; the folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    return addresses


@pytest.mark.parametrize("name", ["results/a b", "results/a b.csv", "results/a b.html"])
def test_the_page_beside_a_table_is_opened_and_its_path_printed(name: str, opened: list[str], tmp_path: Path) -> None:
    page = tmp_path / "results" / "a b.html"
    page.parent.mkdir()
    page.touch()
    assert dsabench("open", name) == (0, f"{page}\n", "")
    assert opened == [page.as_uri()]
    assert opened[0].endswith("a%20b.html")


def test_without_a_browser_the_path_is_all(opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(address: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", none)
    (tmp_path / "demo.html").touch()
    assert dsabench("open", "demo") == (0, f"{tmp_path / 'demo.html'}\n", "")


def test_a_table_without_a_page_says_how_to_make_it(opened: list[str], tmp_path: Path) -> None:
    (tmp_path / "demo.csv").touch()
    result = dsabench("open", "demo")
    assert (result.code, opened) == (3, [])
    assert "demo.csv has no report yet; make it with: dsabench report demo.csv" in result.err


def test_a_run_opens_the_newest_page_that_it_is_in(store: Path, opened: list[str], tmp_path: Path) -> None:
    run_id = next(store.rglob("run.json")).parent.name.rpartition("-")[2]
    result = dsabench("open", run_id, "--runs", store)
    assert result.code == 3
    assert f"simclr s0 is in no report yet; make one with: dsabench report --from {store}" in result.err
    table = tmp_path / "results" / "demo.csv"
    table.parent.mkdir()
    assert dsabench("eval", run_id, "--runs", store, "--probe", "cdnv", "--output", table).code == 0
    result = dsabench("open", run_id, "--runs", store)
    assert f"make one with: dsabench report {table.relative_to(tmp_path)}" in result.err
    shutil.copy(table, tmp_path / "results" / "other.html")
    page = table.with_suffix(".html")
    page.touch()
    assert dsabench("open", run_id[:6], "--runs", store).out == f"{page}\n"
    assert dsabench("open", "0123", "--runs", store).code == 3
