"""The page: figures, tables and scripts in one HTML file that loads nothing and evaluates nothing.

What comes from the run folder is text, escaped by the template, or data of a figure. The page's
own policy lets no script run but the two that are named here by their digests, and opens no
connection; Vega interprets its expressions instead of compiling them.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import altair as alt
import jinja2
import vl_convert

from optdsl.report.figures import figures
from optdsl.report.summary import Summary


def page(summary: Summary) -> str:
    """The HTML of a run's page."""
    return render("page.html", "report", figures(summary.curves), summary=summary, run=summary.run)


def render(template: str, command: str, figures: dict[str, dict[str, Any]], **values: Any) -> str:
    """A page.

    Args:
        template: a file of the folder `template` that extends `base.html`.
        command: what makes the page.
        figures: specifications by the names of their places.
        values: what the template shows.
    """
    scripts = [_vega(), _template("page.js")]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("optdsl.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": lambda value: f"{value:.4f}",
        "gain": lambda value: f"{value:+.4f}",
        "count": lambda value: f"{value:,}",
        "percent": lambda value: f"{value:.1%}",
        "duration": duration,
        "setting": _setting,
    }
    return environment.get_template(template).render(
        figures=figures,
        command=command,
        policy=_policy(scripts),
        scripts=scripts,
        style=_template("page.css"),
        **values,
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _vega() -> str:
    """Vega, Vega-Lite and vega-embed of the release that altair's specifications are for."""
    release = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle: Callable[..., str] = vl_convert.javascript_bundle  # its stub demands a snippet
    if release == vl_convert.get_vegalite_versions()[-1]:
        return bundle()  # made already; that of another release takes seconds
    return bundle(vl_version=release)


def _policy(scripts: list[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    )


def _setting(value: Any) -> str:
    """A value of the configuration; text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _template(name: str) -> str:
    return files("optdsl.report").joinpath("template", name).read_text(encoding="utf-8")
