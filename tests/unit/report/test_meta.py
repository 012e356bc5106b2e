"""What the page and `--json` say of a meta task and of a funnel."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.run_folder import FUNNEL, RunFolder, write_run, write_watched_run

from optdsl.evolve.funnel_file import MAX_BYTES
from optdsl.evolve.store import StoreError
from optdsl.report.figures import figures
from optdsl.report.page import page
from optdsl.report.summary import summarize

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    write_watched_run(tmp_path / "run")
    return tmp_path / "run"


def test_the_curves(watched: Path) -> None:
    found = summarize(watched)
    (fitness,), (meta,) = found.curves.leader_fitness, found.curves.meta_fitness
    assert fitness.x == meta.x == [0, 20, 60, 100], "the last leader is one to the end"
    assert fitness.mean == pytest.approx([-1.0, -0.805, -0.605, -0.605])
    assert meta.mean == pytest.approx([-2.0, -1.0, -1.5, -1.5], abs=0.002)
    assert meta.error is not None
    assert all(0 < error < 0.001 for error in meta.error)
    drawn = figures(found.curves)
    assert len(drawn["meta-fitness"]["data"]["values"]) == 4


def test_the_same_in_json(watched: Path) -> None:
    found = summarize(watched).to_json()
    assert [(one["stage"], one["programs"]) for one in found["meta"]] == [
        ("evolution-1", 0),
        ("evolution-1", 20),
        ("evolution-1", 60),
    ]
    (warning,) = found["meta_warnings"]
    assert (warning["before"]["programs"], warning["programs"]) == (20, 60)
    assert found["funnel"] == []


def test_a_leader_that_diverged_has_no_point(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        run.begin("evolution-1")
        run.look("evolution-1", 0, "initial", -math.inf)
    found = summarize(tmp_path / "run")
    assert found.to_json()["meta"][0]["meta_fitness"] == -math.inf
    assert "meta-fitness" not in figures(found.curves)
    assert "Does it hold on the meta task?" in page(found)


def test_the_page(watched: Path, tmp_path: Path) -> None:
    text = page(summarize(watched))
    assert "Does it hold on digits_mlp@10x?" in text
    assert text.count('class="notice fall"') == 1
    assert 'id="funnel"' not in text
    write_run(tmp_path / "other", programs=20, restarts=1)
    assert "Does it hold on" not in page(summarize(tmp_path / "other"))


def test_damaged_scores(watched: Path) -> None:
    with RunFolder(watched.parent / "damaged") as run:
        run.begin("evolution-1")
        run.look("evolution-1", 0, "initial", -1.0)
        run.db.execute("UPDATE meta_scores SET scores = '[[1, 2]]'")
    with pytest.raises(StoreError, match="the database is damaged: there are no scores in"):
        summarize(watched.parent / "damaged")


def test_a_funnel(watched: Path) -> None:
    file = watched / "funnel.json"
    named = copy.deepcopy(FUNNEL)
    named["rungs"][0]["task"] = named["rungs"][0]["programs"][0]["name"] = EVIL
    file.write_text(json.dumps(named))
    summary = summarize(watched)
    (rung,) = summary.to_json()["funnel"]
    assert rung["programs"][0]["validation_gain"] == 0.125
    text = page(summary)
    assert EVIL not in text
    for part in ("-0.1000 ± 0.0100", "+0.1250 ± 0.0625", "diverged", "goes on", "-0.2000"):
        assert part in text


def changed(**values: Any) -> str:
    found = copy.deepcopy(FUNNEL)
    found["rungs"][0]["programs"][0].update(values)
    return json.dumps(found)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"rungs": 3}',
        '{"rungs": [{}]}',
        changed(test="high"),
        changed(name=7),
        changed(goes_on=None),
        changed(verdict="luck"),
        changed(test=math.nan),
        "[" * 100_000,
        "\udcff",
        " " * (MAX_BYTES + 1),
    ],
    ids=range(13),
)
def test_a_broken_file_is_one_error(watched: Path, content: str) -> None:
    (watched / "funnel.json").write_text(content, errors="surrogateescape")
    with pytest.raises(StoreError, match=r"funnel\.json is no funnel: ") as raised:
        summarize(watched)
    assert "\n" not in str(raised.value)


def test_a_funnel_that_cant_be_read(watched: Path) -> None:
    (watched / "funnel.json").mkdir()
    with pytest.raises(StoreError, match=r"can't read .*funnel\.json"):
        summarize(watched)
