"""Checks of options that several commands take."""

import math

import click


def positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A finite number above 0, or no number; `click.FloatRange` lets NaN through."""
    if value is not None and not 0 < value < math.inf:
        raise click.BadParameter(f"{value} is not a finite number above 0", ctx, param)
    return value
