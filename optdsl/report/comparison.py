"""The page of a comparison: a table and the learning curves for each task."""

from collections.abc import Sequence
from itertools import groupby

from optdsl.comparison.compare import Row
from optdsl.comparison.text import row_text
from optdsl.report.curves import Curve
from optdsl.report.figures import Axis, figure
from optdsl.report.page import render

SCORE = Axis("validation score", ticks=".4~f", exact=".5~f", steps=False, start=0.3)


def comparison_page(rows: Sequence[Row]) -> str:
    """The HTML of a comparison's page."""
    tasks: list[dict[str, object]] = []
    figures: dict[str, dict[str, object]] = {}
    for number, (task, group) in enumerate(groupby(rows, key=lambda row: row.tuned.task)):
        mine, place = list(group), f"curves-{number}"
        drawn = figure(tuple(map(_curve, mine)), "steps", SCORE)
        if drawn["data"]["values"]:
            figures[place] = drawn
        shown = list(map(row_text, mine))
        tasks.append({"name": task.name, "doc": task.doc, "rows": shown, "figure": place})
    names = list(dict.fromkeys(row.name for row in rows))
    return render("comparison.html", "compare", figures, tasks=tasks, names=names)


def _curve(row: Row) -> Curve:
    curve = row.curve
    steps, mean, error = list(curve.steps), list(curve.mean), list(curve.error)
    return Curve(row.name, len(row.tuned.runs), steps, mean, error)
