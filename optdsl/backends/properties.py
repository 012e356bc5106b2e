"""The property sheet: how a program behaves, as far as that is proved or shown by an example."""

import math
from dataclasses import dataclass
from fractions import Fraction

from optdsl.backends.fuzz import (
    Moment,
    examples,
    first_update_ratio,
    keeps_nan,
    zero_gradient_behaviour,
)
from optdsl.frontend import Elaborated
from optdsl.ir import Program, Role
from optdsl.passes.decay import weight_decay
from optdsl.passes.fold import default_values
from optdsl.passes.homogeneity import Degree, update_degree
from optdsl.passes.intervals import INPUTS, intervals, risks
from optdsl.passes.pipeline import prepare

WITHOUT_WEIGHTS = INPUTS | {Role.WEIGHT: (0.0, 0.0), Role.LEARNING_RATE: (1.0, 1.0)}


@dataclass(frozen=True)
class Hazard:
    """An operation that may divide by zero or leave its function's domain."""

    line: int
    code: str
    """The warning that `check` gives if there is an example: W201 or W202."""
    function: str
    example: str | None
    """When it spoils the update or a state: an example found by running the program. None where
    intervals alone say so, and no run shows it."""


@dataclass(frozen=True)
class Properties:
    """Of the update, with the hyperparameters' defaults; field names are those of the JSON."""

    gradient_degree: float | None
    """d if gradients times c give updates times c ** d, exactly: 0 is scale invariance. None where
    that cannot be proved."""
    gradient_degree_without_epsilon: float | None
    """The same, taking small constants that are added to be zero."""
    update_bound: float | None
    """The largest size of the update, for lr = 1 and weights of zero, if it can be proved."""
    weight_decay: str
    """none, decoupled, coupled, or other."""
    zero_gradient: str
    """The update where all gradients are zero: zero, decay, moves, or NaN."""
    first_update_ratio: float | None
    """The first update over the 300th with the same gradient: 1 needs no bias correction."""
    keeps_nan: bool
    """Whether one NaN in a gradient leaves NaN in the states."""


def properties(program: Program) -> Properties:
    """The properties of a valid program."""
    prepared = prepare(program, default_values(program))
    low, high = _update_interval(prepared)
    bound = max(abs(low), abs(high))
    return Properties(
        gradient_degree=_number(update_degree(prepared)),
        gradient_degree_without_epsilon=_number(update_degree(prepared, without_small=True)),
        update_bound=bound if math.isfinite(bound) else None,
        weight_decay=weight_decay(program).value,
        zero_gradient=zero_gradient_behaviour(prepared),
        first_update_ratio=first_update_ratio(prepared),
        keeps_nan=keeps_nan(prepared),
    )


def hazards(elaborated: Elaborated) -> list[Hazard]:
    """The hazards of a program without errors, in the order of its lines."""
    program = elaborated.program
    assert program is not None
    lines = {
        position: trace.line
        for trace in (*elaborated.returned, *elaborated.statements)
        for position in trace.operations
    }
    risky = risks(program, intervals(program))
    shown = examples(program, risky)
    found = [
        Hazard(
            lines[risk.operation],
            "W201" if risk.by_zero else "W202",
            program.operations[risk.operation].op.name,
            _story(shown[risk]) if risk in shown else None,
        )
        for risk in dict.fromkeys(risky)
    ]
    return sorted(found, key=lambda hazard: (hazard.line, hazard.code))


def _story(moment: Moment) -> str:
    return f"with {moment.stream}, at step {moment.step}"


def _update_interval(program: Program) -> tuple[float, float]:
    update = program.outputs[0]
    assert update >= 0, "an update is an array, and constants are not"
    return intervals(program, WITHOUT_WEIGHTS)[update]


def _number(degree: Degree) -> float | None:
    return float(degree) if isinstance(degree, Fraction) else None
