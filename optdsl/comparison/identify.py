"""Is it new? Which known optimizer a program is, or which comes nearest, and where they differ.

First by form: the same program, the same by algebra, or the same but for its constants. Then by
what it does on one stream of gradients (`stream.py`): the optimizers of the standard library whose
updates are nearest are given the constants with which they come nearest (`fit.py`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, product

from optdsl.comparison.fit import fit
from optdsl.comparison.stream import Updates, distance, updates
from optdsl.frontend import load, read_source, stdlib
from optdsl.ir import Program, print_operation
from optdsl.passes.algebra import simplify_algebra
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.compare import compare
from optdsl.passes.fold import default_values
from optdsl.passes.pipeline import prepare

FITTED = 3
"""So many of the nearest by rank, and as many by distance alone, are given constants that suit."""

FORM_WEIGHT = 2.0
"""What sharing no function with the program adds to the distance, where nearest is chosen: a mutant
of AdamW may do what another optimizer does with odd constants, and is AdamW's nonetheless."""

SAME = 1e-9
"""Updates at no more than this distance are the same but for rounding and the learning rate."""

MOST_MATCHES = 5_000
"""So many assignments of a program's constants to hyperparameters are tried."""

STRUCTURAL, CANONICAL, CONSTANTS = "structural", "canonical", "canonical, ignoring constants"
"""The levels of equality, from the strictest on."""

LEVELS = ((STRUCTURAL, False), (CANONICAL, False), (CANONICAL, True))
"""As `passes.compare` takes them: the level, and whether constants are ignored."""


@dataclass(frozen=True, eq=False)
class Near:
    """A known optimizer beside the program."""

    name: str
    distance: float
    """The share of the program's updates that its own leave unexplained, from 0 to 1."""
    factor: float
    """Its learning rate is the program's times this."""
    constants: dict[str, float]
    """Hyperparameters with which it comes so near, where they are not the defaults."""
    shared: float
    """The share of their functions that both have, from 0 to 1."""

    @property
    def rank(self) -> float:
        """By what they are sorted: what they do, and their form, where they differ at all."""
        if self.distance < SAME:
            return self.distance
        return self.distance + FORM_WEIGHT * (1 - self.shared)


@dataclass(frozen=True)
class Difference:
    """Where a program and a known optimizer differ: statements, as text."""

    only_program: tuple[str, ...]
    only_known: tuple[str, ...]
    constants: dict[str, tuple[float, float]]
    """The known optimizer's hyperparameters that must change: their defaults, and to what."""


@dataclass(frozen=True)
class Identified:
    """What a program is."""

    equal: str | None
    """The strictest level at which it equals the nearest one, None if at none."""
    nearest: tuple[Near, ...]
    """Known optimizers, the nearest first."""
    difference: Difference
    """To the nearest one."""

    @property
    def name(self) -> str:
        """The one that it is, or that is nearest."""
        return self.nearest[0].name


def identify(program: Program) -> Identified:
    """Find the optimizer of the standard library that a program is, or is nearest to."""
    known = _known()
    equal = _equal(program, known)
    mine = updates(program)
    functions = _functions(program)
    found = [
        Near(name, *distance(mine, _updates(name)), {}, _shared(functions, _functions(one)))
        for name, one in known.items()
    ]
    by_distance = sorted(found, key=lambda near: near.distance)[:FITTED]
    by_rank = sorted(found, key=lambda near: (near.name not in equal, near.rank))[:FITTED]
    nearest = list(dict.fromkeys(by_rank + by_distance))
    if not equal:
        nearest = [_fitted(mine, near) for near in nearest]
    elif CONSTANTS in equal.values():
        nearest = [
            _matched(program, mine, near) if near.name in equal else near for near in nearest
        ]
    nearest.sort(key=lambda near: (near.name not in equal, near.rank))
    best = nearest[0]
    level = equal.get(best.name)
    return Identified(level, tuple(nearest), _difference(program, known[best.name], best, level))


def _equal(program: Program, known: Mapping[str, Program]) -> dict[str, str]:
    """Those that the program equals at the strictest level at which it equals any: their levels."""
    for level, ignore_constants in LEVELS:
        names = [
            n for n, one in known.items() if compare(program, one, level, ignore_constants).equal
        ]
        if names:
            return dict.fromkeys(names, CONSTANTS if ignore_constants else level)
    return {}


@cache
def _known() -> dict[str, Program]:
    """The optimizers of the standard library."""
    return {name: load(read_source(path)) for name, path in stdlib().items()}


@cache
def _updates(name: str) -> Updates:
    return updates(_known()[name])


def _fitted(mine: Updates, near: Near) -> Near:
    """With the constants that come nearest."""
    found = fit(mine, _known()[near.name])
    return Near(near.name, found.distance, found.factor, found.constants, near.shared)


def _matched(program: Program, mine: Updates, near: Near) -> Near:
    """With the program's own constants, where it is the same but for them.

    Its updates may not tell them all (an epsilon of 1e-8 from one of 1e-6), so they are looked for
    among those that the program has. Where its form can't be met so, they are fitted.
    """
    known, wanted = _known()[near.name], canonical_hash(program)
    defaults = default_values(known)
    own = {abs(value) for value in (*program.constants, *default_values(program).values())}
    own |= {1 - value for value in own if value < 1}
    choices = [[default, *sorted(own - {default})] for default in defaults.values()]
    for values in islice(product(*choices), MOST_MATCHES):
        constants = dict(zip(defaults, values, strict=True))
        if canonical_hash(_with_defaults(known, constants)) == wanted:
            changed = {n: v for n, v in constants.items() if v != defaults[n]}
            gap, factor = distance(mine, updates(known, changed))
            return Near(near.name, gap, factor, changed, near.shared)
    return _fitted(mine, near)


def _with_defaults(program: Program, values: Mapping[str, float]) -> Program:
    inputs = tuple(
        replace(entry, default=values.get(entry.name, entry.default)) for entry in program.inputs
    )
    return replace(program, inputs=inputs)


def _functions(program: Program) -> Counter[str]:
    """How often a program uses each function, when it is written in few statements."""
    simple, _ = simplify_algebra(prepare(program, default_values(program)))
    return Counter(operation.op.name for operation in simple.operations)


def _shared(one: Counter[str], other: Counter[str]) -> float:
    """The quotient of what both have and what either has (Jaccard, 1901)."""
    return (one & other).total() / max((one | other).total(), 1)


def _difference(program: Program, known: Program, near: Near, level: str | None) -> Difference:
    defaults = default_values(known)
    constants = {name: (defaults[name], value) for name, value in near.constants.items()}
    if level is not None:
        return Difference((), (), constants)
    comparison = compare(program, known, CANONICAL, ignore_constants=True)
    return Difference(
        _beginnings(program, comparison.only_first),
        _beginnings(known, comparison.only_second),
        constants,
    )


def _beginnings(program: Program, positions: tuple[int, ...]) -> tuple[str, ...]:
    """The statements at which a difference begins; those that only read such ones are left out."""
    first = len(program.inputs)
    differing = {first + position for position in positions}
    begins = [
        position
        for position in positions
        if position < len(program.operations)
        and not differing & set(program.operations[position].args)
    ]
    return tuple(print_operation(program, position) for position in begins)
