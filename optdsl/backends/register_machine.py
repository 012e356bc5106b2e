"""The register machine inside XLA: one compiled loop runs any program, given as data.

The instructions are those of the table, through the same expressions as the other lowerings; a
`switch` chooses among them. A register is a row of shape (seeds, weights), so that one dispatch
serves all seeds of an evaluation.

On an accelerator a dispatch costs more than the work, so many programs go side by side, one in each
row: every instruction is then computed for each of them, and one is chosen (`run_rows`). On a
processor that would cost as many times more as there are instructions; on a GPU one kernel does it
without (`register_kernel.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optdsl.backends.bytecode import (
    GRADIENT,
    INSTRUCTIONS,
    WEIGHTS,
    Bytecode,
    Machine,
)
from optdsl.ops import Kind, OpDef, Over
from optdsl.ops.expression import lower_function, sum_functions

Array = jax.Array


class Inputs(NamedTuple):
    """What an instruction may read beside the registers: scalars of this step."""

    learning_rate: Array
    step: Array


Instruction = Callable[[Array, Array, Array, Inputs], Array]
"""(registers, code, position in the code, scalars) -> the result's row. An instruction takes its
own operands from the code, within the one loop over its row that XLA makes of it."""


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


ARRAY_MASK = 2
"""The last row of `Layout.masks`, for arrays; those of scalars and `per_array` have their kind's
number."""


def instructions(layout: Layout) -> list[Instruction]:
    """The machine's instructions, by opcode."""
    masks = jnp.asarray(layout.masks())
    special: list[Instruction] = [_blend, _move, _learning_rate, _step]
    return special + [_instruction(op, layout, masks) for op in INSTRUCTIONS]


def _operand(registers: Array, code: Array, at: Array, which: int) -> Array:
    return registers[code[at, 3 + which]]


def _instruction(op: OpDef, layout: Layout, masks: Array) -> Instruction:
    lower, sums = lower_function(op), sum_functions(op)

    def run(registers: Array, code: Array, at: Array, inputs: Inputs) -> Array:
        del inputs
        args = [_operand(registers, code, at, i) for i in range(len(op.args))]
        if op.over is Over.NOTHING:
            return lower(jnp, args)
        kind = code[at, 2]
        kind = jnp.maximum(kind, Kind.PER_ARRAY) if op.over is Over.ARRAY else kind
        mask = masks[jnp.minimum(kind, ARRAY_MASK)]
        added = [jnp.where(mask, function(jnp, args), 0.0) for function in sums]
        if op.over is Over.ARRAY:
            totals = [layout.sum_each(row) for row in added]
        else:
            totals = [jnp.sum(row, axis=-1, keepdims=True) for row in added]
        count = jnp.sum(mask).astype(jnp.float32)
        return jnp.broadcast_to(lower(jnp, args, totals, count), registers.shape[1:])

    return run


def _blend(registers: Array, code: Array, at: Array, inputs: Inputs) -> Array:
    """`interpolate` by a constant; see `bytecode.BLENDED`."""
    del inputs
    x, y, a, complement = (_operand(registers, code, at, i) for i in range(4))
    return complement * x + a * y


def _move(registers: Array, code: Array, at: Array, inputs: Inputs) -> Array:
    del inputs
    return _operand(registers, code, at, 0)


def _learning_rate(registers: Array, code: Array, at: Array, inputs: Inputs) -> Array:
    del code, at
    return jnp.broadcast_to(inputs.learning_rate, registers.shape[1:])


def _step(registers: Array, code: Array, at: Array, inputs: Inputs) -> Array:
    del code, at
    return jnp.broadcast_to(inputs.step, registers.shape[1:])


def initial_registers(machine: Machine, program: dict[str, Array], weights: Array) -> Array:
    """The registers before the first step: (registers, seeds, width) float32.

    Args:
        machine: its sizes.
        program: from `program_arrays`.
        weights: (seeds, width).
    """
    registers = jnp.zeros((machine.registers, *weights.shape), jnp.float32)
    registers = registers.at[WEIGHTS].set(weights)

    def load(i: Array, registers: Array) -> Array:
        row = jnp.broadcast_to(program["constants"][i], weights.shape)
        return lax.dynamic_update_index_in_dim(registers, row, program["first_constant"] + i, 0)

    return lax.fori_loop(0, program["loaded"], load, registers)


def run_program(
    table: list[Instruction],
    registers: Array,
    program: dict[str, Array],
    gradient: Array,
    inputs: Inputs,
) -> Array:
    """One training step: the registers after it, the new weights and states among them.

    Args:
        table: from `instructions`.
        registers: as `initial_registers` or the last step gave them.
        program: from `program_arrays`.
        gradient: (seeds, width).
        inputs: this step's scalars.
    """
    registers = lax.dynamic_update_index_in_dim(registers, gradient, GRADIENT, 0)
    code = program["code"]

    def execute(at: Array, registers: Array) -> Array:
        result = lax.switch(code[at, 0], table, registers, code, at, inputs)
        return lax.dynamic_update_index_in_dim(registers, result, code[at, 1], 0)

    return lax.fori_loop(0, program["length"], execute, registers)


def program_arrays(bytecode: Bytecode) -> dict[str, Any]:
    """What the compiled loop takes of a program."""
    return {
        "code": bytecode.code,
        "length": np.int32(bytecode.length),
        "constants": bytecode.constants,
        "first_constant": np.int32(bytecode.first_constant),
        "loaded": np.int32(bytecode.loaded),
    }


BY_PROGRAM = {"code": 0, "length": None, "constants": 0, "first_constant": 0, "loaded": 0}
"""The axis of the programs in `stacked_arrays`, where all run as long as the longest."""


def stacked_arrays(programs: Sequence[Bytecode]) -> dict[str, Any]:
    """`program_arrays` of several programs for one machine, each with a first axis of programs."""
    arrays = [program_arrays(program) for program in programs]
    return {name: np.stack([one[name] for one in arrays]) for name in BY_PROGRAM}


def initial_rows(machine: Machine, programs: dict[str, Array], weights: Array) -> Array:
    """`initial_registers` of a program for each row of weights: (registers, rows, width)."""
    each = jax.vmap(partial(initial_registers, machine), in_axes=(BY_PROGRAM, 0), out_axes=1)
    return each(programs, weights)


def run_rows(
    layout: Layout,
    registers: Array,
    programs: dict[str, Array],
    gradients: Array,
    inputs: Inputs,
) -> Array:
    """`run_program` for a program in each row, every instruction computed for all rows.

    After its end a program computes something into the register of the gradient, which the next
    step overwrites.

    Args:
        layout: of a row.
        registers: (registers, rows, width).
        programs: from `stacked_arrays`.
        gradients: (rows, width).
        inputs: this step's scalars.
    """
    programs = {**programs, "length": jnp.max(programs["length"])}
    run = partial(run_program, instructions(layout))
    each = jax.vmap(run, in_axes=(1, BY_PROGRAM, 0, None), out_axes=1)
    return each(registers, programs, gradients, inputs)
