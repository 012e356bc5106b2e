"""Each invariant of a program: one change that breaks it alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Operation, Program, Role, verify
from optdsl.ir.verify import VerificationError
from optdsl.ops import BY_NAME, Kind

SOUND = load(Source("<string>", "def train(w, g, m, lr, b=0.9):\n    m = interp(g, m, b)\n"
                    "    return lr * m + 2 * w, m\n"))  # fmt: skip


def with_input(program: Program, i: int, **changes: object) -> Program:
    inputs = list(program.inputs)
    inputs[i] = replace(inputs[i], **changes)  # type: ignore[arg-type]
    return replace(program, inputs=tuple(inputs))


def with_operation(program: Program, name: str, *args: int) -> Program:
    added = Operation(BY_NAME[name], args, "added")
    return replace(program, operations=(*program.operations, added))


BROKEN: dict[str, Callable[[], Program]] = {
    "inputs have different names": lambda: with_input(SOUND, 0, name="g"),
    "`lr` has the kind of its role": lambda: with_input(SOUND, 3, kind=Kind.ARRAY),
    "hyperparameters have defaults": lambda: with_input(SOUND, 4, default=None),
    "there is at most one weight": lambda: with_input(SOUND, 3, role=Role.WEIGHT, kind=Kind.ARRAY),
    "constants are finite": lambda: replace(SOUND, constants=(float("nan"),)),
    "constant 7 exists": lambda: with_operation(SOUND, "sqrt", ~7),
    "value 99 is defined before it is used": lambda: with_operation(SOUND, "sqrt", 99),
    "`m` still names value 2 where it is read": lambda: with_operation(SOUND, "sqrt", 2),
    "the number of arguments fits": lambda: with_operation(SOUND, "sqrt", 0, 0),
    "`interpolate` takes arguments of these kinds": lambda: with_operation(
        SOUND, "interpolate", 0, 0, 0
    ),
    "one output for each state": lambda: replace(SOUND, outputs=SOUND.outputs[:1]),
    "the update is an array": lambda: replace(SOUND, outputs=(3, SOUND.outputs[1])),
    "states keep their kind": lambda: with_input(SOUND, 2, kind=Kind.SCALAR),
}


def test_a_sound_program() -> None:
    assert verify(SOUND) is SOUND


@pytest.mark.parametrize("invariant", BROKEN)
def test_a_broken_one(invariant: str) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(BROKEN[invariant]())
    assert invariant in str(caught.value)
