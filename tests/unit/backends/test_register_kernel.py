"""The kernel for GPUs does what the register machine does, instruction by instruction."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optdsl.backends import register_kernel
from optdsl.backends.bytecode import (
    ARITY,
    FIRST_FREE,
    GRADIENT,
    INSTRUCTIONS,
    OPCODES,
    Bytecode,
)
from optdsl.backends.register_kernel import TILE, run_rows_by_kernel
from optdsl.backends.register_machine import Inputs, Layout, run_rows, stacked_arrays
from optdsl.frontend import find_source, load
from optdsl.ops import Kind
from optdsl.tasks import get_task
from optdsl.tasks.evaluation import encoded
from optdsl.tasks.side_by_side import SideBySideEvaluator, _training_loop

SHAPES = ((3,), (), (0,), (2, 4))
LAYOUT = Layout.of(SHAPES)
KINDS = (Kind.SCALAR, Kind.PER_ARRAY, Kind.ARRAY)
REGISTERS = 12
INPUTS = Inputs(jnp.float32(0.25), jnp.float32(7.0))
SPECIAL_NUMBERS = (0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 3e38)

interpreted = partial(run_rows_by_kernel, interpret=True)
needs_a_gpu = pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU")
warned_of = pytest.mark.filterwarnings("ignore:The Pallas Triton backend")


def word(opcode: int, kind: Kind) -> Bytecode:
    """A program of one instruction, twice: the second reads what the first wrote."""
    first, second = FIRST_FREE + ARITY, FIRST_FREE + ARITY + 1
    operands = [FIRST_FREE + i for i in range(ARITY)]
    code = np.zeros((4, 3 + ARITY), np.int32)
    code[:2] = [opcode, first, kind, *operands], [opcode, second, kind, first, *operands[1:]]
    return Bytecode(code, 2, np.zeros(1, np.float32), REGISTERS - 1, 0, REGISTERS)


def rows_of(layout: Layout) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Every instruction on values of every kind, and one row that does nothing; registers with
    numbers of all sizes; gradients."""
    words = [word(opcode, kind) for opcode in OPCODES.values() for kind in KINDS]
    programs = stacked_arrays([*words, words[0]])
    programs["length"][-1] = 0
    programs["code"][-1] = 0
    rng = np.random.default_rng(0)
    shape = (REGISTERS, len(words) + 1, layout.width)
    registers = (rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 1, shape)).astype(np.float32)
    odd = rng.random(shape) < 0.1
    registers[odd] = rng.choice(SPECIAL_NUMBERS, odd.sum())
    return programs, registers, rng.normal(size=shape[1:]).astype(np.float32)


def agree(run: Callable[..., jax.Array], layout: Layout, tolerance: float) -> None:
    """The kernel's results are those of `run_rows`, and idle rows are left alone."""
    programs, registers, gradients = rows_of(layout)
    rest = (layout, jnp.asarray(registers), programs, jnp.asarray(gradients), INPUTS)
    expected, found = (np.asarray(one(*rest)) for one in (run_rows, run))
    names = [f"{name} of {kind.name}" for name in OPCODES for kind in KINDS]
    for result in (FIRST_FREE + ARITY, FIRST_FREE + ARITY + 1):
        for i, name in enumerate(names):
            np.testing.assert_allclose(
                found[result, i], expected[result, i], tolerance, tolerance, err_msg=name
            )
    np.testing.assert_array_equal(found[1:, -1], registers[1:, -1])
    np.testing.assert_array_equal(found[GRADIENT], gradients)


def test_every_instruction_on_every_kind() -> None:
    agree(interpreted, LAYOUT, 1e-6)


def test_rows_longer_than_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = 128  # a smaller one, since each number is interpreted
    monkeypatch.setattr(register_kernel, "TILE", tile)
    agree(interpreted, Layout.of(((tile - 3,), (5,), (2 * tile + 7,))), 1e-4)


def test_trainings_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of programs of different lengths, with idle rows."""
    names = ("lion", "adamw", "sgd", "lamb", "dowg")
    codes = [encoded(load(find_source(name))) for name in names]
    task, seeds = get_task("quadratic"), [(0, 1)] * len(codes)
    monkeypatch.setattr("optdsl.tasks.side_by_side.ROWS", 12)
    expected = SideBySideEvaluator(task, (0, 1)).train(codes, seeds, 0.01)
    monkeypatch.setattr("optdsl.tasks.side_by_side.rows_runner", lambda: interpreted)
    _training_loop.cache_clear()
    found = SideBySideEvaluator(task, (0, 1)).train(codes, seeds, 0.01)
    _training_loop.cache_clear()
    assert found == expected


@pytest.mark.skipif(
    jax.__version_info__ >= (0, 11) and jax.default_backend() != "gpu",
    reason="needs a GPU: this JAX lowers for one only where there is one",
)
@warned_of
def test_a_step_is_one_kernel() -> None:
    programs, registers, gradients = rows_of(LAYOUT)
    step = jax.jit(partial(run_rows_by_kernel, LAYOUT))
    traced = step.trace(registers, programs, gradients, INPUTS)
    lowered = traced.lower(lowering_platforms=("cuda",))
    assert lowered.as_text().count("__gpu$xla.gpu.triton") == 1


@needs_a_gpu
@warned_of
@pytest.mark.parametrize("shapes", [SHAPES, ((TILE - 3,), (5,), (2 * TILE + 7,))])
def test_compiled_for_a_gpu(shapes: tuple[tuple[int, ...], ...]) -> None:
    agree(run_rows_by_kernel, Layout.of(shapes), 1e-3)


def test_instructions_with_sums_are_the_last() -> None:
    """The kernel tells them by their opcodes."""
    sums = [bool(op.sums) for op in INSTRUCTIONS]
    assert sums == sorted(sums)
    assert list(OPCODES)[-len(INSTRUCTIONS) :] == [op.name for op in INSTRUCTIONS]
