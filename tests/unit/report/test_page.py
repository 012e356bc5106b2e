"""The page: complete, escaped, and small."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from support.run_folder import CONFIG, RunFolder

from optdsl.report.curves import Curve
from optdsl.report.figures import FITNESS, figure, figures
from optdsl.report.page import duration, page
from optdsl.report.summary import Summary, summarize

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028{{ 7 * 7 }}"


class Tags(HTMLParser):
    """Counts tags, and collects what is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]


def test_all_parts_are_there_and_nothing_is_loaded(whole: Summary) -> None:
    text = page(whole)
    tags = Tags(text)
    assert tags.loads == ["data:,"]
    assert tags.names.count("script") == 3
    for part in ("fresh", "winner", "lineage", "best", "counts", "failures", "config"):
        assert f'id="{part}"' in text
    assert text.count('class="program"') == len(whole.best) == 20
    assert '<span class="dead">    t = square(w)</span>' in text
    assert "unfinished" not in text
    assert len(text) < 1_500_000


def test_what_the_folder_says_is_text(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        run.configure({**CONFIG, "task": EVIL, EVIL.split(">")[0].strip("</"): EVIL})
        run.begin(EVIL, EVIL)
        run.program("evil", -0.5, EVIL)
        run.program(EVIL, float("-inf"), EVIL, failure=EVIL)
        run.propose(EVIL, 0, -1, "evil", mutation=EVIL)
        run.propose(EVIL, 1, -1, EVIL, mutation=EVIL)
    (tmp_path / "run" / "best.opt").write_text(EVIL, encoding="utf-8")
    text = page(summarize(tmp_path / "run"))
    tags = Tags(text)
    assert tags.names.count("script") == 3
    assert "img" not in tags.names
    assert tags.loads == ["data:,"]
    assert "{{ 7 * 7 }}" in text
    inline = re.findall(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert json.loads(inline[0])["hit-rate"]["data"]["values"][0]["s"] == EVIL


def test_figures_are_data_without_infinities(whole: Summary) -> None:
    found = figures(whole.curves)
    assert set(found) == {"fitness-by-evaluations", "fitness-by-programs", "hit-rate", "redundancy"}
    json.dumps(found, allow_nan=False)
    rows = found["fitness-by-evaluations"]["data"]["values"]
    assert {"e" in row for row in rows} == {True, False}


def test_a_bad_start_leaves_room_for_the_end() -> None:
    curve = Curve(
        "evolution", 1, list(range(200)), [-1000.0] * 3 + [-2.0] * 97 + [-1.0] * 100, None
    )
    for mean, floor in ((curve.mean, -2.0), ([-1000.0] * 200, -1000.0)):
        one = replace(curve, mean=mean)
        layers = figure((one,), "programs", FITNESS)["layer"]
        assert layers[0]["encoding"]["y"]["scale"]["domainMin"] == floor
    nothing = replace(curve, mean=[-math.inf] * 200)
    assert "domainMin" not in str(figure((nothing,), "programs", FITNESS))


def test_a_run_under_way_says_so_and_has_no_empty_figures(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        nothing = page(summarize(run.folder))
        run.begin("evolution-1")
        begun = page(summarize(run.folder))
    assert 'id="unfinished"' in nothing
    assert "No program was committed yet" in nothing
    assert 'id="unfinished"' in begun
    assert "The best so far" in begun
    assert 'id="hit-rate"' not in begun
    assert 'id="fitness-by-programs"' in begun


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.6, 83.5, 7260)] == ["0 s", "1 min 0 s", "1 min 24 s",
                                                             "2 h 1 min"]  # fmt: skip
