"""Where a sweep looks."""

from collections.abc import Callable

import pytest

from optdsl.comparison.lattice import (
    GRID_SIZE,
    NONE,
    STRIDE,
    Found,
    Place,
    borders,
    grid,
    next_places,
    ranked,
)
from optdsl.tasks.scores import FAILED


def swept(score: Callable[[Place], float], has_decay: bool, count: int) -> dict[Place, Found]:
    """What a sweep of `count` places finds."""
    found: dict[Place, Found] = {}
    places = grid(has_decay)
    while len(found) < count:
        assert places
        assert not set(places) & set(found)
        found |= {place: Found(score(place), stride) for place, stride in places.items()}
        places = next_places(found)
    return found


def around(rate: float, decay: float) -> Callable[[Place], float]:
    """A smooth score with its top there."""

    def score(place: Place) -> float:
        strength = -20.0 if place.decay == NONE else place.decay or 0.0
        return -((place.rate - rate) ** 2) - (strength - decay) ** 2 / 4

    return score


def test_both_grids_have_the_same_size() -> None:
    assert len(grid(True)) == len(grid(False)) == GRID_SIZE == 35
    assert all(place.on_grid for place in grid(True))
    assert sum(place.on_grid for place in grid(False)) == 9


@pytest.mark.parametrize(("rate", "decay"), [(1, 2), (-7, -12), (3, 7)])
def test_the_top_between_the_places_of_the_grid_is_found(rate: int, decay: int) -> None:
    best = ranked(swept(around(rate, decay), True, 55))[0]
    assert abs(best.rate - rate) <= 1
    assert best.decay is not None
    assert abs(best.decay - decay) <= 2


@pytest.mark.parametrize(("rate", "decay"), [(24, 0), (-24, 0), (0, 24), (16, 16)])
def test_a_grid_grows_where_its_best_is_on_the_border(rate: int, decay: int) -> None:
    best = ranked(swept(around(rate, decay), True, 50))[0]
    assert abs(best.rate - rate) <= STRIDE // 2
    assert best.decay is not None
    assert abs(best.decay - decay) <= STRIDE


def test_no_decay_has_no_border() -> None:
    found = swept(around(0, -40), True, 48)
    assert ranked(found)[0] == Place(0, NONE)
    assert borders(found, ranked(found)[0]) == ()
    assert min(p.decay for p in found if p.decay not in (None, NONE)) == -16


def test_a_learning_rate_alone_is_swept_finely_and_grows_too() -> None:
    found = swept(lambda place: -abs(place.rate - 20.0), False, 48)
    assert ranked(found)[0] == Place(20, None)
    assert len({place.rate for place in found}) == len(found)


def test_a_best_on_the_border_is_told() -> None:
    found = swept(lambda place: place.decay or 0.0, True, 48)
    assert borders(found, ranked(found)[0]) == ("largest weight decay",)
    found = swept(lambda place: place.rate, True, 48)
    assert borders(found, ranked(found)[0]) == ("largest learning rate",)
    found = swept(lambda place: -place.rate, False, 40)
    assert borders(found, ranked(found)[0]) == ("smallest learning rate",)


def test_where_all_diverge_smaller_learning_rates_are_tried() -> None:
    found = swept(lambda place: FAILED, False, 48)
    assert min(place.rate for place in found) < min(place.rate for place in grid(False))
    assert max(place.rate for place in found) == max(place.rate for place in grid(False))
