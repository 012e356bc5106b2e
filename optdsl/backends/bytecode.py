"""Programs as data for a register machine: instructions that index the table of functions.

A register is a row of numbers, one for each weight of the whole tree; a scalar fills its row, a
`per_array` value the part of its weight array. The first registers hold the inputs, the next ones
constants, the rest are allocated by liveness. Machine and instructions: `register_machine.py`.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from optdsl.ir import Program, Role
from optdsl.ops import BY_NAME, OPS, Kind, OpDef, Over
from optdsl.passes.infer import infer

MAX_INSTRUCTIONS = 128
MAX_STATES = 8
MAX_CONSTANTS = 48
MAX_REGISTERS = 96
ARITY = 4
"""Operands of an instruction; those that it does not need are 0."""


class Row(IntEnum):
    """The registers of the inputs; states follow, then constants, then temporaries."""

    WEIGHT = 0
    GRADIENT = 1
    LEARNING_RATE = 2
    STEP = 3


FIRST_STATE = len(Row)
FIRST_CONSTANT = FIRST_STATE + MAX_STATES
FIRST_TEMPORARY = FIRST_CONSTANT + MAX_CONSTANTS

BLENDED = "interpolate by a constant"
"""The one instruction that is no row of the table: `interpolate` with 1 - a as fourth operand,
because a constant's complement is taken in double precision."""

INSTRUCTIONS: tuple[OpDef, ...] = tuple(
    op for op in OPS if op.args and op.over in (Over.NOTHING, Over.ARRAY, Over.TREE)
)
"""What the machine can do; opcode i is row i, and the one after the last is BLENDED."""

OPCODES: dict[str, int] = {op.name: i for i, op in enumerate(INSTRUCTIONS)} | {
    BLENDED: len(INSTRUCTIONS)
}

ROLE_ROWS: dict[Role, Row] = {
    Role.WEIGHT: Row.WEIGHT,
    Role.GRADIENT: Row.GRADIENT,
    Role.LEARNING_RATE: Row.LEARNING_RATE,
    Role.STEP: Row.STEP,
}


class UnsupportedProgram(ValueError):
    """A program that the register machine can't run; the jitted lowering can."""


@dataclass(frozen=True, eq=False)
class Bytecode:
    """A program for the machine; arrays are padded to fixed sizes, so that nothing recompiles."""

    length: int
    """How many instructions there are."""
    code: np.ndarray
    """int32 (MAX_INSTRUCTIONS, 3 + ARITY): opcode, result register, kind of what a reduction adds
    up, operand registers."""
    constants: np.ndarray
    """float32 (MAX_CONSTANTS,)."""
    update: int
    """The register that holds the update at the end."""
    new_states: np.ndarray
    """int32 (MAX_STATES,): the register with each state's new value."""


def encode(program: Program) -> Bytecode:
    """Encode a program prepared by `passes.pipeline.prepare` with all hyperparameters bound.

    Raises:
        UnsupportedProgram: for matrix functions, stored dtypes, or more registers than there are.
    """
    kinds = infer(program)
    if any(kind > Kind.ARRAY or kind in (Kind.PER_ROW, Kind.PER_COLUMN) for kind in kinds):
        raise UnsupportedProgram("it uses rows, columns or matrices")
    if any(entry.dtype for entry in program.inputs) or len(program.states) > MAX_STATES:
        raise UnsupportedProgram("it stores state in a dtype of its own, or too many states")
    return _Encoder(program, kinds).encode()


class _Encoder:
    def __init__(self, program: Program, kinds: list[Kind]) -> None:
        self.program = program
        self.kinds = kinds
        self.constants: dict[tuple[float, bool], int] = {}
        self.registers: dict[int, int] = {}
        for state, register in zip(
            program.states, range(FIRST_STATE, FIRST_CONSTANT), strict=False
        ):
            self.registers[state] = register
        for i, entry in enumerate(program.inputs):
            if entry.role in ROLE_ROWS:
                self.registers[i] = ROLE_ROWS[entry.role]
        self.free = list(range(MAX_REGISTERS - 1, FIRST_TEMPORARY - 1, -1))

    def encode(self) -> Bytecode:
        program, first = self.program, len(self.program.inputs)
        if len(program.operations) > MAX_INSTRUCTIONS:
            raise UnsupportedProgram("it has too many statements")
        last_read = dict.fromkeys(range(first + len(program.operations)), -1)
        for value, operation in enumerate(program.operations, start=first):
            last_read.update(dict.fromkeys(operation.args, value))
        last_read.update(dict.fromkeys(program.outputs, first + len(program.operations)))
        code = np.zeros((MAX_INSTRUCTIONS, 3 + ARITY), np.int32)
        for position, operation in enumerate(program.operations):
            value = first + position
            opcode, operands, kind = self._instruction(operation.op, operation.args)
            for arg in set(operation.args):
                if arg >= first and last_read[arg] == value:
                    self.free.append(self.registers[arg])
            if not self.free:
                raise UnsupportedProgram("it needs too many registers")
            self.registers[value] = self.free.pop()
            code[position, : 3 + len(operands)] = [opcode, self.registers[value], kind, *operands]
        new_states = np.arange(FIRST_STATE, FIRST_CONSTANT, dtype=np.int32)
        for i, output in enumerate(program.outputs[1:]):
            new_states[i] = self._operand(output)
        constants = np.zeros(MAX_CONSTANTS, np.float32)
        with np.errstate(over="ignore"):
            for (value, _), register in self.constants.items():
                constants[register - FIRST_CONSTANT] = value
        return Bytecode(
            len(program.operations), code, constants, self._operand(program.outputs[0]), new_states
        )

    def _instruction(self, op: OpDef, args: tuple[int, ...]) -> tuple[int, list[int], Kind]:
        """Opcode, operands, and the kind of the value that a reduction adds up."""
        operands = [self._operand(arg) for arg in args]
        if op is BY_NAME["interpolate"] and args[2] < 0:
            complement = self._constant(1 - self.program.constants[~args[2]])
            return OPCODES[BLENDED], [*operands, complement], Kind.SCALAR
        if op.name not in OPCODES:
            raise UnsupportedProgram(f"the machine has no `{op.name}`")
        added = [self.kinds[arg] for arg in args if arg >= 0] or [Kind.SCALAR]
        kind = added[0] if op.args[-1] == "bound" else max(added)
        return OPCODES[op.name], operands, kind if op.over is not Over.NOTHING else Kind.SCALAR

    def _operand(self, value: int) -> int:
        return (
            self.registers[value] if value >= 0 else self._constant(self.program.constants[~value])
        )

    def _constant(self, value: float) -> int:
        key = (value, bool(np.signbit(value)))
        if key not in self.constants:
            if len(self.constants) == MAX_CONSTANTS:
                raise UnsupportedProgram("it has too many constants")
            self.constants[key] = FIRST_CONSTANT + len(self.constants)
        return self.constants[key]
