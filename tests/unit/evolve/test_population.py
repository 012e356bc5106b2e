"""Regularized evolution: the oldest leaves, the fittest of a few drawn is the parent."""

import math
import random
from collections import Counter

from optdsl.evolve.population import Member, Population


def member(adam, number: int, fitness: float) -> Member:
    return Member(number, adam, (1, fitness))


def test_it_starts_with_copies_of_the_initial_program(adam) -> None:
    initial = member(adam, -1, -1.0)
    population = Population(initial, 5)
    assert list(population.members) == [initial] * 5


def test_the_oldest_leaves(adam) -> None:
    population = Population(member(adam, -1, 9.0), 3)
    for number in range(5):
        population.add(member(adam, number, -float(number)))
        assert len(population.members) == 3
    assert [m.number for m in population.members] == [2, 3, 4]


def filled(adam, fitnesses: list[float]) -> Population:
    population = Population(member(adam, -1, 0.0), len(fitnesses))
    for number, fitness in enumerate(fitnesses):
        population.add(member(adam, number, fitness))
    return population


class Fixed(random.Random):
    """Draws given numbers."""

    def __init__(self, drawn: list[int]) -> None:
        super().__init__()
        self.drawn = iter(drawn)

    def randrange(self, *args: int) -> int:
        return next(self.drawn)


def test_the_fittest_of_those_drawn_wins(adam) -> None:
    population = filled(adam, [3.0, 1.0, 2.0, -math.inf])
    for drawn, winner in (
        ([1], 1),
        ([1, 2], 2),
        ([3, 1], 1),
        ([2, 1, 0, 3], 0),
        ([3, 3], 3),
    ):
        assert population.tournament(Fixed(drawn), len(drawn)).number == winner


def test_the_first_drawn_among_equals(adam) -> None:
    population = filled(adam, [1.0, 1.0, 1.0])
    assert population.tournament(Fixed([2, 0, 1]), 3).number == 2
    failed = filled(adam, [-math.inf, -math.inf])
    assert failed.tournament(Fixed([1, 0]), 2).number == 1


def test_draws_are_uniform_and_pressure_grows_with_the_tournament(adam) -> None:
    population = filled(adam, [float(number) for number in range(10)])
    rng = random.Random(0)
    for size in (1, 2, 5):
        won = Counter(population.tournament(rng, size).number for _ in range(5000))
        for number in range(10):
            share = ((number + 1) / 10) ** size - (number / 10) ** size
            assert abs(won[number] / 5000 - share) < 0.03
