"""The register machine as a kernel for GPUs: one launch runs a whole step of many programs.

A block of threads is a row, which has a program, weights and registers of its own, and follows that
program's code: where XLA computes every instruction for all rows, in a dozen kernels for each word
of code, here each row does its own. The instructions are the table's, by the same expressions.

Written in Pallas and compiled by Triton. See docs/decisions.md for why, and for what to do where
JAX has it no more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from optdsl.backends.bytecode import ARITY, GRADIENT, INSTRUCTIONS, SPECIAL
from optdsl.backends.register_machine import ARRAY_MASK, Inputs, Layout
from optdsl.ops import Kind, OpDef, Over
from optdsl.ops.expression import lower_function, sum_functions

Array = jax.Array

TILE = 1024
"""So many numbers of a row a block works on at once."""

WARPS = 8
"""Of 32 threads each: four numbers for each thread."""

ELEMENTWISE = tuple(op for op in INSTRUCTIONS if op.over is Over.NOTHING)
SUMMING = INSTRUCTIONS[len(ELEMENTWISE) :]
FIRST_SUMMING = len(SPECIAL) + len(ELEMENTWISE)
"""The opcode of the first of these."""


def _or_nan(function: Callable[[Array, Array], Array]) -> Callable[[Any, Any], Array]:
    """NaN where an operand is NaN, as everywhere else: Triton's own gives the other operand."""

    def either(x: Any, y: Any) -> Array:
        x, y = jnp.broadcast_arrays(x, y)
        return jnp.where((x != x) | (y != y), jnp.nan, function(x, y))

    return either


_XP = SimpleNamespace(**vars(jnp) | {"maximum": _or_nan(lax.max), "minimum": _or_nan(lax.min)})
"""The array module of the table's expressions."""


@dataclass(frozen=True)
class _Row:
    """One row's registers, in tiles."""

    registers: Any
    """The reference, (registers, rows, width)."""
    number: Array

    def read(self, register: Array, begin: Array, end: Array | int) -> Array:
        """(TILE,): the numbers from `begin` on, and zeros from `end` on."""
        return _load(self.registers, (register, self.number), begin, end)

    def write(self, register: Array, begin: Array, end: Array | int, tile: Array) -> None:
        """Store them, up to `end`."""
        place = self.registers.at[register, self.number, pl.ds(begin, TILE)]
        triton.store(place, tile, mask=_inside(begin, end))


def _inside(begin: Array, end: Array | int) -> Array:
    return begin + jnp.arange(TILE) < end


def _load(array: Any, row: tuple[Array, ...], begin: Array, end: Array | int) -> Array:
    place = array.at[(*row, pl.ds(begin, TILE))]
    return triton.load(place, mask=_inside(begin, end), other=0.0)


def _tile(value: Any) -> Array:
    return jnp.broadcast_to(value, (TILE,)).astype(jnp.float32)


def _over_tiles(
    begin: Array | int, end: Array | int, body: Callable[[Array, Any], Any], start: Any = None
) -> Any:
    """`body` takes where a tile begins, and what it gave for the last one."""
    tiles = (end - begin + TILE - 1) // TILE
    return lax.fori_loop(0, tiles, lambda i, last: body(begin + i * TILE, last), start)


def run_rows_by_kernel(
    layout: Layout,
    registers: Array,
    programs: dict[str, Array],
    gradients: Array,
    inputs: Inputs,
    interpret: bool = False,
) -> Array:
    """`register_machine.run_rows` in one kernel, which writes the registers in place.

    Args:
        layout: of a row.
        registers: (registers, rows, width).
        programs: from `stacked_arrays`.
        gradients: (rows, width).
        inputs: this step's scalars.
        interpret: whether to run it by JAX's interpreter, on any device.
    """
    masks = layout.masks().astype(np.float32)
    scalars = jnp.stack([inputs.learning_rate, inputs.step]).astype(jnp.float32)
    compiled = None if interpret else triton.CompilerParams(num_warps=WARPS, num_stages=1)
    operands = (
        programs["code"],
        programs["length"],
        scalars,
        jnp.asarray(layout.starts, jnp.int32),
        jnp.asarray(masks),
        jnp.asarray(masks.sum(axis=1)),
        gradients,
        registers,
    )
    return pl.pallas_call(
        partial(_kernel, layout.width, _no_barrier if interpret else triton.debug_barrier),
        out_shape=jax.ShapeDtypeStruct(registers.shape, registers.dtype),
        grid=(registers.shape[1],),
        input_output_aliases={len(operands) - 1: 0},
        interpret=interpret,
        compiler_params=compiled,
    )(*operands)


def _no_barrier() -> None:
    """The interpreter's rows have one thread."""


def _kernel(
    width: int,
    barrier: Callable[[], None],
    code: Any,
    length: Any,
    scalars: Any,
    starts: Any,
    masks: Any,
    counts: Any,
    gradients: Any,
    aliased: Any,
    registers: Any,
) -> None:
    """One row's step: the body of `run_rows_by_kernel`.

    A thread sees what others of its block wrote after a barrier.
    """
    del aliased
    number = pl.program_id(0)
    row = _Row(registers, number)

    def take_gradient(begin: Array, _: None) -> None:
        row.write(jnp.int32(GRADIENT), begin, width, _load(gradients, (number,), begin, width))

    def elementwise(opcode: Array, target: Array, operands: Sequence[Array]) -> None:
        def one_tile(begin: Array, _: None) -> None:
            args = [row.read(operand, begin, width) for operand in operands]
            table = [_blend, _move, *(_constantly(scalars[i]) for i in range(2))]
            table += map(_of_the_table, ELEMENTWISE)
            row.write(target, begin, width, lax.switch(opcode, table, *args))

        _over_tiles(0, width, one_tile)

    def add_up(op: OpDef, kind: Array, target: Array, operands: Sequence[Array]) -> None:
        lower, sums = lower_function(op), sum_functions(op)

        def over(begin: Array | int, end: Array | int, mask: Array, count: Array | float) -> None:
            def add(place: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
                args = [row.read(operand, place, end) for operand in operands]
                counts_here = _load(masks, (mask,), place, end) > 0
                added = [jnp.where(counts_here, function(_XP, args), 0.0) for function in sums]
                return tuple(total + jnp.sum(one) for total, one in zip(totals, added, strict=True))

            def put(place: Array, _: None) -> None:
                args = [row.read(operand, place, end) for operand in operands]
                row.write(target, place, end, _tile(lower(_XP, args, list(totals), count)))

            totals = _over_tiles(begin, end, add, (jnp.float32(0),) * len(sums))
            barrier()
            _over_tiles(begin, end, put)
            barrier()

        def of_array(i: Array, _: None) -> None:
            over(starts[i], starts[i + 1], jnp.maximum(kind, Kind.PER_ARRAY), 1.0)

        if op.over is Over.TREE:
            over(0, width, kind, counts[kind])
        else:
            lax.fori_loop(0, starts.shape[0] - 1, of_array, None)

    def execute(at: Array, _: None) -> None:
        opcode, target = code[number, at, 0], code[number, at, 1]
        kind = jnp.minimum(code[number, at, 2], ARRAY_MASK)
        operands = [code[number, at, 3 + i] for i in range(ARITY)]

        def summing() -> None:
            table = [partial(add_up, op, kind, target, operands[: len(op.args)]) for op in SUMMING]
            lax.switch(opcode - FIRST_SUMMING, table)

        alone = partial(elementwise, opcode, target, operands)
        lax.cond(opcode < FIRST_SUMMING, alone, summing)
        barrier()

    _over_tiles(0, width, take_gradient)
    barrier()
    lax.fori_loop(0, length[number], execute, None)


def _blend(x: Array, y: Array, a: Array, complement: Array) -> Array:
    return complement * x + a * y


def _move(x: Array, *others: Array) -> Array:
    del others
    return x


def _constantly(number: Array) -> Callable[..., Array]:
    return lambda *args: _tile(number)


def _of_the_table(op: OpDef) -> Callable[..., Array]:
    lower = lower_function(op)
    return lambda *args: _tile(lower(_XP, list(args[: len(op.args)])))
