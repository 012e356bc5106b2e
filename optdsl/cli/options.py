"""Checks of options that several commands take."""

import math
from collections.abc import Callable
from typing import Any

import click


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
