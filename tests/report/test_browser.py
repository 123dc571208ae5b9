"""A real Chromium opens the page: no error, no request, sorting and filtering work, axe-core finds nothing."""

import base64
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arms import failed, overview_rows, rows_of

from dsabench.report.page.document import page_of
from dsabench.report.page.html import html
from dsabench.report.page.material import Material
from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RESULTS = Path(__file__).parents[2] / "results"
CRITERIA = Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS)))
PAGES = sorted(RESULTS.glob("*.html"))
# The width of a sheet between margins of a centimetre, in CSS pixels; and what of a page lies beyond it.
A4_WIDTH = 718
CUT_OFF = """return [...document.querySelectorAll('table, svg, pre')]
    .filter((one) => one.getBoundingClientRect().right > arguments[0]).map((one) => one.outerHTML.slice(0, 100))"""
EVIL = "<script>document.title='broken'</script>"

pytestmark = pytest.mark.skipif(
    not (Path(CHROMIUM).exists() and Path(DRIVER).exists() and shutil.which("chromium")),
    reason="needs Debian's chromium and chromium-driver",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        *overview_rows(),
        *(replace(one, method=EVIL) for one in rows_of("simclr", range(6))),
        *(replace(one, method="m" * 80) for one in rows_of("simclr", [0])),
        *(replace(one, value=math.nan) for one in rows_of("tico", range(2)) if one.metric == "cdnv"),
        failed("swav", 0),
    ]
    path = tmp_path_factory.mktemp("pages") / "made.html"
    chapter = Material("made", f"made: {EVIL}", "made.csv", tuple(rows), CRITERIA)
    path.write_text(html(page_of([(chapter, None)])), encoding="utf-8")
    return path


def opened(browser: Any, path: Path, width: int = 1440, scheme: str = "light") -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(path.as_uri())


def requests(browser: Any) -> list[str]:
    """What the page asked for beside itself."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # The browser's own first page is none of ours.
    ours = [one["request"]["url"] for one in asked if one["documentURL"].startswith("file:")]
    return [url for url in ours if not url.startswith(("file:", "data:"))]


def violations(browser: Any) -> list[str]:
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run(document).then(arguments[arguments.length - 1])")
    return [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"][:2]]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_it_opens_in_silence_and_axe_finds_nothing(browser: Any, made: Path, width: int, scheme: str) -> None:
    opened(browser, made, width, scheme)
    assert browser.get_log("browser") == []
    assert requests(browser) == []
    assert browser.title.startswith("made: <script>")
    assert violations(browser) == []
    # Only what scrolls in itself is wider than the window.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_sorting_goes_both_ways_with_the_keyboard_alone(browser: Any, made: Path) -> None:
    opened(browser, made)
    lines = "return [...document.querySelectorAll('#made-results tbody tr')].map(r => r.children[2].dataset.order)"
    browser.execute_script("document.querySelectorAll('#made-results thead button')[2].focus()")
    for sign in (1, -1):
        browser.switch_to.active_element.send_keys("\ue007")
        found = browser.execute_script(lines)
        values = [float(one) for one in found if one]
        assert values == sorted(values, reverse=sign < 0)
        # Lines without a value are last, either way.
        assert "" not in found[: len(values)]
    assert browser.execute_script("return document.querySelectorAll('#made-results [aria-sort]').length") == 1


def test_filtering_leaves_the_lines_that_hold_all_words(browser: Any, made: Path) -> None:
    opened(browser, made)
    field = browser.find_element("css selector", "#made-results input")
    field.send_keys("dsa byol")
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#made-results tbody tr')].filter(r => !r.hidden)"
        ".map(r => r.querySelector('.spec').textContent)"
    )
    assert shown == ["byol+dsa"]
    assert browser.find_element("css selector", "#made-results .found").text.startswith("1 of ")


def test_all_committed_pages_open_in_silence_at_twice_the_size(browser: Any) -> None:
    for path in PAGES:
        # Half of the pixels for twice the size, as zooming has it.
        opened(browser, path, 720)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 720, path
        assert browser.get_log("browser") == [], path
        assert requests(browser) == [], path
        assert browser.title.startswith(path.stem)


@pytest.mark.parametrize(("name", "width", "scheme"), [("cifar10-jpeg", 390, "light"), ("digits-smooth", 1440, "dark")])
def test_axe_finds_nothing_on_committed_pages(browser: Any, name: str, width: int, scheme: str) -> None:
    opened(browser, RESULTS / f"{name}.html", width, scheme)
    assert violations(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_committed_page_is_sorted_and_filtered(browser: Any) -> None:
    opened(browser, RESULTS / "digits-tuned.html")
    field = browser.find_element("css selector", "#digits-tuned-results input")
    field.send_keys("vicreg dsa-minimal")
    assert browser.find_element("css selector", "#digits-tuned-results .found").text == "1 of 15 lines"
    field.clear()
    heads = browser.find_elements("css selector", "#digits-tuned-results thead button")
    next(head for head in heads if head.text.startswith("CDNV")).click()
    first = browser.execute_script("return document.querySelector('#digits-tuned-results .spec').textContent")
    assert first.startswith("swav[")
    assert "+dsa-minimal[" in first


def test_nothing_is_cut_off_on_paper(browser: Any) -> None:
    for path in PAGES:
        opened(browser, path, A4_WIDTH)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert browser.execute_script(CUT_OFF, A4_WIDTH) == [], path
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    opened(browser, RESULTS / "digits-smooth.html")
    document = base64.b64decode(browser.print_page())
    assert document.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", document)) <= 8
