"""Decoupled weight decay (Loshchilov & Hutter, 2019): which hyperparameter it is, and adding it."""

import numpy as np

from optdsl.backends.reference import reference_step
from optdsl.ir import INPUT_KINDS, Builder, Input, Program, Role, verify
from optdsl.ops import BY_NAME
from optdsl.passes.fold import default_values
from optdsl.passes.live import live_values

NAMES = ("weight_decay", "λ", "wd")
"""What the standard library, the paper and most others call it."""

SHAPES = ((4, 3), (5,))
STEPS = 3
"""The weights and the training steps that show what a hyperparameter does."""

CHANGE = 0.5
"""How much larger it is made for that."""


def decay_name(program: Program) -> str | None:
    """The hyperparameter that is the weight decay, None if there is none that the update needs.

    By its name, or else by what it does: when it is larger, what the update has more of is a
    positive multiple of the weights, at every step.
    """
    live = live_values(program)
    names = [
        entry.name
        for value, entry in enumerate(program.inputs)
        if entry.role is Role.HYPERPARAMETER and live[value]
    ]
    by_name = (name for name in NAMES if name in names)
    return next(by_name, None) or next((n for n in names if _is_decay(program, n)), None)


def with_decay(program: Program) -> Program:
    """The program with `lr * weight_decay * w` added to its update, if it has no weight decay.

    The default of `weight_decay` is 0.

    Raises:
        ValueError: for a program that does not take `lr`, or has another use for the name.
    """
    if decay_name(program) is not None:
        return program
    if not program.with_role(Role.LEARNING_RATE):
        raise ValueError("a program that takes no `lr` gets no weight decay")
    if any(entry.name == NAMES[0] for entry in program.inputs):
        raise ValueError(f"the program's `{NAMES[0]}` is something else")
    added = [Input(NAMES[0], Role.HYPERPARAMETER, INPUT_KINDS[Role.HYPERPARAMETER], 0.0)]
    if not program.with_role(Role.WEIGHT):
        added.insert(0, Input("w", Role.WEIGHT, INPUT_KINDS[Role.WEIGHT]))
    builder = Builder((*program.inputs, *added))
    values: list[int | float] = list(range(len(program.inputs)))

    def operand(value: int) -> int | float:
        return values[value] if value >= 0 else program.constants[~value]

    for op, args, name in program.operations:
        values.append(builder.add(op, [operand(arg) for arg in args], name))
    (rate,) = program.with_role(Role.LEARNING_RATE)
    weights = next(i for i, entry in enumerate(builder.inputs) if entry.role is Role.WEIGHT)
    decay = builder.add(BY_NAME["*"], [len(builder.inputs) - 1, weights], "decay")
    decay = builder.add(BY_NAME["*"], [rate, decay], "decay")
    update, *states = (operand(output) for output in program.outputs)
    update = builder.add(BY_NAME["+"], [update, decay], "update")
    return verify(builder.finish([update, *states], program.doc))


@np.errstate(all="ignore")
def _is_decay(program: Program, name: str) -> bool:
    """Whether the update grows by a multiple of the weights with this hyperparameter."""
    random = np.random.RandomState(0)
    larger = {name: default_values(program)[name] + CHANGE}
    plain_state, more_state = None, None
    for number in range(1, STEPS + 1):
        weights, gradients = ([random.standard_normal(s) for s in SHAPES] for _ in range(2))
        plain = reference_step(program, weights, gradients, plain_state, 0.1, number)
        more = reference_step(program, weights, gradients, more_state, 0.1, number, larger)
        plain_state, more_state = plain.state, more.state
        gain = _flat(more.update) - _flat(plain.update)
        ratio = gain / _flat(weights)
        if not (ratio[0] > 0 and np.allclose(ratio, ratio[0], rtol=1e-6)):
            return False
    return True


def _flat(blocks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(block) for block in blocks])
