"""The register machine inside XLA: one compiled loop runs any program, given as data.

The instructions are those of the table, through the same expressions as the other lowerings; a
`switch` chooses among them. A register is a row of shape (seeds, weights), so that one dispatch
serves all seeds of an evaluation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optdsl.backends.bytecode import (
    INSTRUCTIONS,
    Bytecode,
    Machine,
    Row,
)
from optdsl.ops import Kind, OpDef, Over
from optdsl.ops.expression import lower_function, sum_functions

Array = jax.Array
Instruction = Callable[[Array, Array, Array], Array]
"""(registers, operands, kind) -> the result's row."""


@dataclass(frozen=True)
class Layout:
    """How a weight tree lies in a row."""

    starts: tuple[int, ...]
    """Where each array begins, and at last the length of a row."""

    @staticmethod
    def of(shapes: Sequence[tuple[int, ...]]) -> "Layout":
        """The layout of arrays laid end to end."""
        ends = np.cumsum([0, *(prod(shape) for shape in shapes)])
        return Layout(tuple(int(end) for end in ends))

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.starts[-1]

    def masks(self) -> np.ndarray:
        """bool (3, width): which numbers stand for a value of kind scalar, per_array, array."""
        masks = np.zeros((3, self.width), bool)
        masks[0, :1] = True
        masks[1, [start for start in self.starts[:-1] if start < self.width]] = True
        masks[2] = True
        return masks

    def sum_each(self, row: Array) -> Array:
        """The sums over each array's part, each filling that part."""
        parts = zip(self.starts[:-1], self.starts[1:], strict=True)
        sums = [
            jnp.broadcast_to(
                jnp.sum(row[..., begin:end], -1, keepdims=True), (*row.shape[:-1], end - begin)
            )
            for begin, end in parts
        ]
        return jnp.concatenate(sums, axis=-1) if sums else row


MASK_OF_KIND = np.array([0, 1, 2, 2, 2], np.int32)
"""The row of `Layout.masks` for each kind up to `array`."""


def instructions(layout: Layout) -> list[Instruction]:
    """The machine's instructions, by opcode."""
    masks = jnp.asarray(layout.masks())
    return [_instruction(op, layout, masks) for op in INSTRUCTIONS] + [_blend]


def _instruction(op: OpDef, layout: Layout, masks: Array) -> Instruction:
    lower, sums = lower_function(op), sum_functions(op)

    def run(registers: Array, operands: Array, kind: Array) -> Array:
        args = [registers[operands[i]] for i in range(len(op.args))]
        if op.over is Over.NOTHING:
            return lower(jnp, args)
        kind = jnp.maximum(kind, Kind.PER_ARRAY) if op.over is Over.ARRAY else kind
        mask = masks[jnp.asarray(MASK_OF_KIND)[kind]]
        added = [jnp.where(mask, function(jnp, args), 0.0) for function in sums]
        if op.over is Over.ARRAY:
            totals = [layout.sum_each(row) for row in added]
        else:
            totals = [jnp.sum(row, axis=-1, keepdims=True) for row in added]
        count = jnp.sum(mask).astype(jnp.float32)
        return jnp.broadcast_to(lower(jnp, args, totals, count), registers.shape[1:])

    return run


def _blend(registers: Array, operands: Array, kind: Array) -> Array:
    """`interpolate` by a constant; see `bytecode.BLENDED`."""
    del kind
    x, y, a, complement = (registers[operands[i]] for i in range(4))
    return complement * x + a * y


def initial_rows(machine: Machine, weights: Array) -> Array:
    """What a run keeps from step to step, before the first: the weights, then the states, zero.

    Args:
        machine: its sizes.
        weights: (seeds, width).

    Returns:
        (1 + states, seeds, width), float32.
    """
    zeros = jnp.zeros((machine.states, *weights.shape), jnp.float32)
    return jnp.concatenate([weights[None], zeros])


def initial_registers(machine: Machine, constants: Array, weights: Array) -> Array:
    """All registers, (registers, seeds, width) float32, with the constants in theirs."""
    registers = jnp.zeros((machine.registers, *weights.shape), jnp.float32)
    rows = jnp.broadcast_to(constants[:, None, None], (len(constants), *weights.shape))
    return registers.at[machine.first_constant : machine.first_temporary].set(rows)


def run_program(
    table: list[Instruction],
    registers: Array,
    rows: Array,
    program: dict[str, Array],
    gradient: Array,
    learning_rate: Array,
    step: Array,
) -> tuple[Array, Array]:
    """One training step.

    What is kept from step to step is apart from the registers: were it read from them and written
    to them in one step, XLA would copy all registers.

    Args:
        table: from `instructions`.
        registers: as the last step left them.
        rows: the weights and the states, as `initial_rows` or the last step gave them.
        program: from `program_arrays`.
        gradient: (seeds, width).
        learning_rate: the input `lr`, a scalar.
        step: the input `step`, a scalar.

    Returns:
        The registers, and the new rows.
    """
    shape = gradient.shape
    given = [gradient, jnp.broadcast_to(learning_rate, shape), jnp.broadcast_to(step, shape)]
    inputs = jnp.concatenate([jnp.stack(given), rows])
    registers = lax.dynamic_update_slice_in_dim(registers, inputs, Row.GRADIENT, 0)

    def execute(i: Array, registers: Array) -> Array:
        word = program["code"][i]
        result = lax.switch(word[0], table, registers, word[3:], word[2])
        return lax.dynamic_update_index_in_dim(registers, result, word[1], 0)

    registers = lax.fori_loop(0, program["length"], execute, registers)
    outputs = registers[program["outputs"]]
    return registers, outputs.at[0].set(rows[0] - outputs[0])


def program_arrays(bytecode: Bytecode) -> dict[str, Any]:
    """What the compiled loop takes of a program."""
    return {
        "code": bytecode.code,
        "length": np.int32(bytecode.length),
        "constants": bytecode.constants,
        "outputs": bytecode.outputs,
    }
