"""Rounder constants: 0.8999999761581421 becomes 0.9."""

import math
from collections.abc import Iterator
from dataclasses import replace

from optdsl.ir import Program

NEAR = 1.3
"""A power of ten is tried for a constant that differs from it by less than this factor."""

DIGITS = (1, 2, 3)
"""Significant digits, from the roundest on."""


def roundings(program: Program, position: int) -> Iterator[tuple[str, Program]]:
    """Programs with one constant rounder, from the roundest on."""
    old = program.constants[position]
    for new in rounder(old):
        constants = (*program.constants[:position], new, *program.constants[position + 1 :])
        yield f"{old!r} rounded to {new!r}", replace(program, constants=constants)


def rounder(value: float) -> list[float]:
    """Rounder numbers near a number; of one between 0.5 and 1 it is the distance from 1 that is
    rounded, as in 0.998."""
    if 0.5 < value < 1.0:
        return [_clean(1.0 - part) for part in rounder(_clean(1.0 - value))] or _unless(value)
    if value == 0.0:
        return []
    size = abs(value)
    power = 10.0 ** round(math.log10(size))
    near = [power] if max(power / size, size / power) < NEAR else []
    candidates = [*near, *(float(f"{size:.{digits - 1}e}") for digits in DIGITS)]
    different = dict.fromkeys(math.copysign(new, value) for new in candidates)
    # Rounder than it is: those before the number itself.
    result = list(different)
    return result[: result.index(value)] if value in different else result


def _unless(value: float) -> list[float]:
    """0.8999999999 is 0.9 but for rounding: the distance from 1 is round already."""
    clean = _clean(value)
    return [clean] if clean != value else []


def _clean(value: float) -> float:
    """Without the noise that a difference leaves in the last digits."""
    return float(f"{value:.12g}")
