"""The intermediate representation: straight-line code in SSA form.

    def train(w, g, m, lr, b1=0.9):     inputs      0: w   1: g   2: m   3: lr   4: b1
        c = interpolate(g, m, b1)       operations  5: interpolate 1 2 4
        update = lr * c                             6: * 3 5
        return update, c                outputs     6, 5

An operand is an `int`: n >= 0 is value n (the inputs first, then the operations' results, in
order), n < 0 is the constant `constants[~n]`. Values are numbers and not objects so that the
search can check and hash tens of thousands of programs a second.
"""

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from optdsl.ops import Kind, OpDef


class Role(Enum):
    """What an input is for; the training loop (Program 2 of the paper) supplies it."""

    WEIGHT = "weight"
    GRADIENT = "gradient"
    LEARNING_RATE = "learning rate"
    STEP = "step"
    """The 1-based step count, a scalar."""
    HYPERPARAMETER = "hyperparameter"
    STATE = "state"
    """Starts at zero (see `Input`); from step to step it keeps what the program returns for it."""


INPUT_KINDS: dict[Role, Kind] = {
    Role.WEIGHT: Kind.ARRAY,
    Role.GRADIENT: Kind.ARRAY,
    Role.LEARNING_RATE: Kind.SCALAR,
    Role.STEP: Kind.SCALAR,
    Role.HYPERPARAMETER: Kind.SCALAR,
}
"""The kind of every input but a state variable, which has its own."""


@dataclass(frozen=True)
class Input:
    """A parameter of `train`."""

    name: str
    role: Role
    kind: Kind
    default: float | None = None
    """A hyperparameter's value where the user gives none."""
    dtype: str | None = None
    """The dtype a state variable is stored in; None is the weights' own."""
    begins_as_weights: bool = False
    """Whether a state variable begins as the weights and not as zeros: in programs that are made
    ready for a backend alone, since no text says it. See `passes/finite_weights.py`."""


class Operation(NamedTuple):
    """One statement: a use of a function, its operands, and the name of the result."""

    op: OpDef
    args: tuple[int, ...]
    name: str


@dataclass(frozen=True)
class Program:
    """A checked program. Invariants are those that `verify` checks."""

    inputs: tuple[Input, ...]
    constants: tuple[float, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]
    """The update, then each state variable's new value in the order of the inputs."""
    doc: str = ""

    @cached_property
    def states(self) -> tuple[int, ...]:
        """The values that are state variables, in order; `outputs[1:]` are their new values."""
        return self.with_role(Role.STATE)

    def with_role(self, role: Role) -> tuple[int, ...]:
        """The inputs of one role."""
        return tuple(i for i, entry in enumerate(self.inputs) if entry.role is role)

    def name_of(self, value: int) -> str:
        """The name of an input or a result."""
        if value < len(self.inputs):
            return self.inputs[value].name
        return self.operations[value - len(self.inputs)].name

    def rebuilt(self, keep_inputs: frozenset[int], keep_operations: list[int]) -> "Program":
        """The program without the other inputs and operations, which nothing kept may use.

        Args:
            keep_inputs: values of the inputs to keep. The output of a dropped state goes too.
            keep_operations: positions in `operations`, ascending.
        """
        inputs = [i for i in range(len(self.inputs)) if i in keep_inputs]
        renumbered = {old: new for new, old in enumerate(inputs)}
        for new, position in enumerate(keep_operations, start=len(inputs)):
            renumbered[len(self.inputs) + position] = new
        constants: list[float] = []

        def operand(value: int) -> int:
            if value >= 0:
                return renumbered[value]
            constants.append(self.constants[~value])
            return ~(len(constants) - 1)

        operations = tuple(
            operation._replace(args=tuple(operand(arg) for arg in operation.args))
            for operation in (self.operations[position] for position in keep_operations)
        )
        kept_outputs = [
            output
            for state, output in zip((None, *self.states), self.outputs, strict=True)
            if state is None or state in keep_inputs
        ]
        outputs = tuple(operand(output) for output in kept_outputs)
        return replace(
            self,
            inputs=tuple(self.inputs[i] for i in inputs),
            constants=tuple(constants),
            operations=operations,
            outputs=outputs,
        )
