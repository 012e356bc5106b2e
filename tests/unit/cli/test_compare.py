"""`optdsl compare`."""

import json
import re
from pathlib import Path

import pytest

SLOW = "def train(g, lr):\n    return minimum(lr, 0.001) * g\n"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gradient descent that can't be tuned to be fast; its name is no markup."""
    file = tmp_path_factory.mktemp("programs") / "slow[bold]&<b>.opt"
    file.write_text(SLOW, encoding="utf-8")
    return file


def test_json_and_page(cli, slow: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = cli(
        *("compare", "sgd", slow, "--task", "quadratic", "--seeds", 1, "--json", "-o", page)
    )
    assert (result.code, result.err) == (0, f"wrote {page}\n")
    found = result.json
    sgd, worse = found["rows"]
    assert (sgd["task"], sgd["program"]) == ("quadratic", "sgd")
    assert sgd["difference"] is sgd["difference_interval"] is sgd["verdict"] is None
    assert (worse["program"], worse["verdict"]) == (str(slow), "worse")
    low, high = worse["difference_interval"]
    assert low < worse["difference"] < high < 0
    assert worse["interval"][0] < worse["score"] < worse["interval"][1]
    assert len(worse["scores"]) == found["budget"]["report_seeds"] == 16
    assert found["budget"]["settings"] == 48
    assert [curve["program"] for curve in found["curves"]] == ["sgd", str(slow)]
    assert all(curve["steps"][-1] == 50 for curve in found["curves"])

    text = page.read_text(encoding="utf-8")
    assert "slow[bold]&amp;&lt;b&gt;.opt" in text
    assert "<b>" not in text
    figures = json.loads(re.findall(r'id="figures">(.*?)</script>', text)[0])
    (figure,) = figures.values()
    points = figure["data"]["values"]
    assert [point["x"] for point in points if point["s"] == "sgd"] == found["curves"][0]["steps"]
    assert f"{sgd['score']:.4f}" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--task", "quadratic"), "FILE"),
        (("lion",), "--task"),
        (("lion", "lion", "--task", "quadratic"), "FILE lion is given twice"),
        (("lion", "--task", "quadratic", "--task", "quadratic"), "--task quadratic is given twice"),
        (("lion", "--task", "quadratik"), "did you mean `quadratic`"),
        (("lion", "adamv", "--task", "quadratic"), "E001"),
    ],
)
def test_wrong_usage(cli, args: tuple[str, ...], message: str) -> None:
    result = cli("compare", *args)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_page_that_cant_be_written_is_told_before_the_work(cli, tmp_path: Path) -> None:
    output = tmp_path / "no" / "page.html"
    result = cli("compare", "sgd", "--task", "quadratic", "-o", output)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"optdsl: can't write {output}: there is no folder {output.parent}\n"
    assert not output.parent.exists()


def test_for_people_and_a_program_that_always_diverges(cli, write) -> None:
    far = write("far.opt", "def train(g, lr):\n    return g * 1e30 + lr\n")
    result = cli("compare", far, "sgd", "--task", "quadratic", "--seeds", 1)
    assert (result.code, result.out) == (1, "")
    assert "better" in result.err
    assert f"differences are to {far}; each program on each task: 48 settings on 1" in result.err
    assert result.err.endswith(f"training diverged at every setting: {far} on quadratic\n")
