"""Checks of options that several commands take."""

import math
from collections.abc import Callable
from typing import Any

import click

from optdsl.cli.output import fail
from optdsl.diagnostics import did_you_mean, nearest
from optdsl.ir import Program
from optdsl.passes.fold import default_values

tuning_seeds = click.option(
    "--seeds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="On how many each setting is tried while tuning.",
)
"""Of commands that tune."""


def positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A finite number above 0, or no number; `click.FloatRange` lets NaN through."""
    if value is not None and not 0 < value < math.inf:
        raise click.BadParameter(f"{value} is not a finite number above 0", ctx, param)
    return value


def numbers(kind: type[int] | type[float]) -> Callable[..., tuple[Any, ...] | None]:
    """A check of an option that takes numbers with commas between them."""

    def parsed(
        ctx: click.Context, param: click.Parameter, value: str | None
    ) -> tuple[Any, ...] | None:
        if value is None:
            return None
        try:
            return tuple(kind(part) for part in value.split(","))
        except ValueError:
            what = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"`{value}` is not {what}, as in 1,3", ctx, param) from None

    return parsed


def parse_settings(program: Program, settings: tuple[str, ...]) -> dict[str, float]:
    """What --set gives, by hyperparameter; a wrong one is a usage error."""
    defaults = default_values(program)
    values: dict[str, float] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            fail(f"--set takes name=value, not `{setting}`")
        if name not in defaults:
            help = did_you_mean(nearest(name, defaults))
            known = f"it has {', '.join(defaults)}" if defaults else "it has none"
            fail(f"the program has no hyperparameter `{name}`; {help or known}")
        if name in values:
            fail(f"--set gives `{name}` twice")
        try:
            values[name] = float(text)
        except ValueError:
            fail(f"--set {name}: `{text}` is not a number")
        if not math.isfinite(values[name]):
            fail(f"--set {name}: `{text}` is not finite")
    return values
