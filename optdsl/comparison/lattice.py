"""Where a sweep looks: a grid of settings, then the neighbours of the best ones.

Learning rates and weight decays lie on a lattice, an eighth of a decade apart. The sweep begins
with a coarse grid. Then the neighbours of the best setting are tried, first as far apart as those
of the grid, so that a grid whose best is on its border grows there, then at half the distance, and
so on; when all are known, those of the second best, until the budget is spent.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

STEPS_OF_A_DECADE = 8

STRIDE = 4
"""Half a decade lies between the grid's learning rates, a whole one between its weight decays."""

GRID_RATES = tuple(STRIDE * i for i in range(-3, 4))
"""The grid's learning rates, in steps from the middle."""

NONE = -math.inf
"""The place of no weight decay: ten to this power is 0."""

GRID_DECAYS = (NONE, *(2 * STRIDE * i for i in range(-2, 2)))
"""The grid's weight decays, in steps from the middle."""

GRID_SIZE = len(GRID_RATES) * len(GRID_DECAYS)


class Place(NamedTuple):
    """A setting, in steps from the middle of the lattice."""

    rate: int
    decay: float | None
    """None for a program without weight decay."""

    @property
    def on_grid(self) -> bool:
        """Whether it lies on the coarse grid, or on what that grows by."""
        on_row = self.decay in (None, NONE) or self.decay % (2 * STRIDE) == 0
        return on_row and self.rate % STRIDE == 0


class Found(NamedTuple):
    """What is known of a place."""

    score: float
    stride: int
    """How far apart places were when it was tried."""


def grid(has_decay: bool) -> dict[Place, int]:
    """The first places and their strides: GRID_SIZE of them, of learning rates alone if need be."""
    if has_decay:
        return {Place(rate, decay): STRIDE for rate in GRID_RATES for decay in GRID_DECAYS}
    middle = GRID_SIZE // 2
    return {Place(rate - middle, None): 1 for rate in range(GRID_SIZE)}


def next_places(found: Mapping[Place, Found]) -> dict[Place, int]:
    """What to try next and at which stride, given the scores of what was tried; at least one."""
    for place in ranked(found):
        stride = found[place].stride
        while stride:
            new = [p for p in neighbours(place, stride) if p not in found]
            if new:
                return dict.fromkeys(new, stride)
            stride //= 2
    raise AssertionError("the lattice has no end")


def ranked(found: Mapping[Place, Found]) -> list[Place]:
    """The places from the best to the worst; of equals, the smaller learning rate first, since a
    larger one diverges."""
    return sorted(found, key=lambda place: (-found[place].score, place))


def neighbours(place: Place, stride: int) -> Iterator[Place]:
    """Those next to a place; weight decays end at the least one of the grid, besides 0."""
    for rate in (place.rate - stride, place.rate + stride):
        yield place._replace(rate=rate)
    if place.decay is None:
        return
    for decay in (place.decay - 2 * stride, place.decay + 2 * stride):
        if decay >= GRID_DECAYS[1]:
            yield place._replace(decay=decay)


def borders(found: Mapping[Place, Found], place: Place) -> tuple[str, ...]:
    """At which ends of all that was tried a place lies: beyond them may be better."""
    rates = [p.rate for p in found]
    decays = [p.decay for p in found if p.decay is not None]
    ends = {
        "smallest learning rate": place.rate == min(rates),
        "largest learning rate": place.rate == max(rates),
        "largest weight decay": bool(decays) and place.decay == max(decays),
    }
    return tuple(name for name, is_there in ends.items() if is_there)
