"""The page in a browser that has no network: its figures are drawn, and nothing goes wrong."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support.run_folder import FUNNEL, RunFolder, write_run, write_watched_run

from optdsl.report.page import page
from optdsl.report.summary import summarize

CHROMIUM = shutil.which("chromium")

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true",
    reason="chromium is not installed (apt-get install chromium); with CI=true this fails",
)


@dataclass
class Visit:
    """A page that was opened, and what went wrong."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "chromium is not installed (apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


def visit(browser: Browser, file: Path) -> Visit:
    """Open a page offline and wait until its figures are drawn."""
    opened = browser.new_context(offline=True).new_page()
    visit = Visit(opened)
    opened.on("console", lambda message: visit.complaints.append(message.text))
    opened.on("pageerror", lambda error: visit.complaints.append(str(error)))
    opened.on("request", lambda request: visit.requests.append(request.url))
    opened.goto(file.as_uri())
    opened.wait_for_selector("html[data-figures]", state="attached")
    assert opened.get_attribute("html", "data-figures") == "drawn"
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [file.as_uri()]
    return visit


def test_a_whole_run(browser: Browser, tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    file = tmp_path / "page.html"
    file.write_text(page(summarize(tmp_path / "run")), encoding="utf-8")
    opened = visit(browser, file).page
    plots = opened.locator(".plot svg.marks")
    assert plots.count() == 4
    # A line for each curve: all searches, restarts, tune, random; restarts, from the best.
    assert [plot.locator(".mark-line path").count() for plot in plots.all()] == [4, 4, 2, 2]
    assert [plot.locator(".mark-area path").count() for plot in plots.all()] == [1, 1, 1, 1]
    box = plots.first.bounding_box()
    assert box is not None
    assert box["width"] > 300
    assert box["height"] > 250
    dimmed = opened.locator("#winner .dead")
    assert dimmed.inner_text().strip() == "t = square(w)"
    assert float(dimmed.evaluate("element => getComputedStyle(element).opacity")) < 1
    source = opened.locator("#best pre").first
    assert not source.is_visible()
    opened.locator("#best summary").first.click()
    assert source.is_visible()


def test_a_meta_task_and_a_funnel(browser: Browser, tmp_path: Path) -> None:
    write_watched_run(tmp_path / "run")
    (tmp_path / "run" / "funnel.json").write_text(json.dumps(FUNNEL))
    file = tmp_path / "page.html"
    file.write_text(page(summarize(tmp_path / "run")), encoding="utf-8")
    opened = visit(browser, file).page
    for name in ("leader-fitness", "meta-fitness"):
        assert opened.locator(f"#{name} .mark-line path").count() == 1
    assert opened.locator("#meta-fitness .mark-area path").count() == 1
    assert "evolution-1 overfits" in opened.locator(".fall").inner_text()
    rows = opened.locator("#funnel tbody tr")
    assert rows.count() == 3
    assert rows.nth(1).inner_text().split("\t")[1:] == [
        "winner",
        "-0.1000 ± 0.0100",
        "+0.1250 ± 0.0625",
        "+0.1000 ± 0.0300",
        "better",
        "goes on",
    ]


def test_the_numbers_of_a_point_are_shown(browser: Browser, tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    file = tmp_path / "page.html"
    file.write_text(page(summarize(tmp_path / "run")), encoding="utf-8")
    seen = visit(browser, file)
    seen.page.locator("#hit-rate svg.marks").hover()
    tooltip = seen.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert "hit rate" in tooltip.inner_text()
    assert seen.complaints == []


def test_a_run_that_has_just_begun(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    with RunFolder(tmp_path / "run") as run:
        run.begin("evolution-1")
        file.write_text(page(summarize(run.folder)), encoding="utf-8")
    opened = visit(browser, file).page
    assert opened.locator("#unfinished").is_visible()
    assert opened.locator(".plot svg.marks").count() == 2


def test_hostile_text_stays_text(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><script>console.log(1)</script><img src=x onerror=console.log(1)>"
    with RunFolder(tmp_path / "run") as run:
        run.begin(evil, evil)
        run.program("evil", -0.5, evil)
        run.propose(evil, 0, -1, "evil", mutation=evil)
        file = tmp_path / "page.html"
        file.write_text(page(summarize(run.folder)), encoding="utf-8")
    opened = visit(browser, file).page
    assert evil in opened.locator("#best").inner_text()
    opened.locator("#fitness-by-programs svg.marks").hover()
    assert opened.locator("img").count() == 0
