"""A genome to mutate, and the function sets that mutations draw from."""

from collections.abc import Callable

import pytest

from optdsl.diagnostics import Source
from optdsl.evolve.genome import Genome, from_program
from optdsl.frontend import load
from optdsl.ops import FunctionSet, OpDef, functions

ADAM = """
def train(w, g, m, v, lr):
    g2 = square(g)
    m = interp(g, m, 0.9)
    v = interp(g2, v, 0.99)
    root = sqrt(v)
    pi = get_pi()
    update = m / root
    lr = lr * 0.03
    update = update * lr
    return update, m, v
"""


@pytest.fixture(scope="session")
def genome_of() -> Callable[[str], Genome]:
    """The genome of a text."""
    return lambda text: from_program(load(Source("<test>", text)))


@pytest.fixture(scope="session")
def adam(genome_of: Callable[[str], Genome]) -> Genome:
    """Eight statements with four constants, one of them of no arguments and dead."""
    return genome_of(ADAM)


@pytest.fixture(scope="session")
def paper_functions() -> tuple[OpDef, ...]:
    return functions(FunctionSet.PAPER)
