"""The figures as Vega-Lite specifications, whose colours of text and rules are the page's."""

import math
from dataclasses import dataclass
from typing import Any

import altair as alt

from optdsl.report.curves import Curve, Curves

COLORS = ["#4c8dd6", "#e8912d", "#3fa66b", "#b05cc6", "#8a8f98",
          "#d6564c", "#2aa5a0", "#b3912a", "#d65c9e", "#7a76d6"]  # fmt: skip
"""Readable on white and on black."""

HEIGHT = 260

SHORT = "datum.value ? format(datum.value, '~s') : '0'"
"""20,000 is 20k."""


@dataclass(frozen=True)
class Axis:
    """What is drawn upwards."""

    title: str
    ticks: str
    exact: str
    """How a tooltip writes a number."""
    steps: bool
    """Whether values hold until the next point."""
    start: float | None = None
    """The share of a rising curve that may lie below the frame."""


FITNESS = Axis("best fitness", ticks=".4~f", exact=".5~f", steps=True, start=0.05)
HITS = Axis("hit rate", ticks=".0%", exact=".1%", steps=False)
LEADER = Axis("the leader's fitness", ticks=".4~f", exact=".5~f", steps=True)
META = Axis("its fitness on the meta task", ticks=".4~f", exact=".5~f", steps=True)
REDUNDANCY = Axis("redundant statements", ticks=".0%", exact=".1%", steps=False)


def figures(curves: Curves) -> dict[str, dict[str, Any]]:
    """A specification for each figure that has points, by the name of its place in the page."""
    found = {
        "fitness-by-evaluations": figure(curves.fitness_by_evaluations, "evaluations", FITNESS),
        "fitness-by-programs": figure(curves.fitness_by_programs, "programs", FITNESS),
        "hit-rate": figure(curves.hit_rate, "programs", HITS),
        "redundancy": figure(curves.redundant_fraction, "programs", REDUNDANCY),
        "leader-fitness": figure(curves.leader_fitness, "programs", LEADER),
        "meta-fitness": figure(curves.meta_fitness, "programs", META),
    }
    return {name: one for name, one in found.items() if one["data"]["values"]}


def figure(curves: tuple[Curve, ...], x: str, y: Axis) -> dict[str, Any]:
    """A line for each curve, a band where it has errors, and a tooltip at the nearest point."""
    nearest = alt.selection_point(
        name="nearest", on="pointermove", nearest=True, clear="pointerout", empty=False
    )
    floor = None if y.start is None else _floor(curves, y.start)
    scale = alt.Scale(zero=False, nice=True, domainMin=alt.Undefined if floor is None else floor)
    vertical = alt.Y("y:Q", title=y.title, scale=scale, axis=alt.Axis(format=y.ticks))
    shape = "step-after" if y.steps else "linear"
    base = (
        alt.Chart(alt.Data(values=[]))
        .transform_calculate(
            low="datum.y - datum.e",
            high="datum.y + datum.e",
            error="isValid(datum.e) ? '± ' + format(datum.e, '.2~g') : '–'",
        )
        .encode(
            x=alt.X("x:Q", title=x, axis=alt.Axis(labelExpr=SHORT, tickCount=5, tickMinStep=1)),
            color=alt.Color(
                "s:N",
                title=None,
                scale=alt.Scale(domain=[c.series for c in curves], range=COLORS[: len(curves)]),
                legend=alt.Legend(
                    orient="bottom",
                    columns=1,
                    labelLimit=420,
                    symbolType="stroke",
                    symbolOpacity=1,
                    symbolStrokeWidth=3,
                ),
            ),
        )
    )
    band = (
        base.transform_filter("isValid(datum.e)")
        .mark_area(clip=True, opacity=0.22, interpolate=shape)
        .encode(y=alt.Y("low:Q", title=y.title, scale=scale), y2="high:Q")
    )
    line = base.mark_line(clip=True, strokeWidth=2, interpolate=shape).encode(y=vertical)
    point = (
        base.mark_point(clip=True, filled=True, size=70)
        .encode(
            y=vertical,
            opacity=alt.condition(nearest, alt.value(1), alt.value(0)),
            tooltip=[
                alt.Tooltip("s:N", title="curve"),
                alt.Tooltip("x:Q", title=x, format=","),
                alt.Tooltip("y:Q", title=y.title, format=y.exact),
                alt.Tooltip("error:N", title="standard error"),
            ],
        )
        .add_params(nearest)
    )
    chart = (
        alt.layer(*([band] if any(c.error for c in curves) else []), line, point)
        .properties(width="container", height=HEIGHT, background="transparent")
        .configure_view(stroke=None)
        .configure(autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    )
    # Put in afterwards: altair would check each row.
    return chart.to_dict() | {"data": {"values": _points(curves)}}


def _floor(curves: tuple[Curve, ...], start: float) -> float | None:
    """Where the y axis of a rising figure begins, so that a bad start leaves room for the end."""
    early = [curve.mean[min(math.ceil(len(curve.mean) * start), len(curve.mean) - 1)]
             for curve in curves]  # fmt: skip
    return min((_short(value) for value in early if math.isfinite(value)), default=None)


def _points(curves: tuple[Curve, ...]) -> list[dict[str, Any]]:
    """A row for each point that is a number: series, x, y, and its error if it has one."""
    rows: list[dict[str, Any]] = []
    for curve in curves:
        errors = curve.error or [math.nan] * len(curve.x)
        for x, mean, error in zip(curve.x, curve.mean, errors, strict=True):
            if math.isfinite(mean):
                row = {"s": curve.series, "x": x, "y": _short(mean)}
                rows.append(row | {"e": _short(error)} if math.isfinite(error) else row)
    return rows


def _short(value: float) -> float:
    """Enough digits for a picture: the page stays small."""
    return float(f"{value:.6g}")
