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

ARITY = 4
"""Operands of an instruction; those that it does not need are 0."""


class Row(IntEnum):
    """The registers of the inputs; states follow, then constants, then temporaries."""

    GRADIENT = 0
    LEARNING_RATE = 1
    STEP = 2
    WEIGHT = 3


@dataclass(frozen=True)
class Machine:
    """How much a machine holds; it is compiled for these sizes, so that programs never are."""

    states: int = 8
    constants: int = 48
    temporaries: int = 48
    instructions: int = 128

    @property
    def first_state(self) -> int:
        """The register of the first state variable, right behind the weights."""
        return len(Row)

    @property
    def first_constant(self) -> int:
        """The register of the first constant."""
        return self.first_state + self.states

    @property
    def first_temporary(self) -> int:
        """The first register that instructions write."""
        return self.first_constant + self.constants

    @property
    def registers(self) -> int:
        """How many there are."""
        return self.first_temporary + self.temporaries


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
    """A program for a machine, its arrays padded to the machine's sizes."""

    length: int
    """How many instructions there are."""
    code: np.ndarray
    """int32 (instructions, 3 + ARITY): opcode, result register, kind of what a reduction adds
    up, operand registers."""
    constants: np.ndarray
    """float32 (constants,)."""
    outputs: np.ndarray
    """int32 (1 + states,): the registers that hold the update and the states' new values."""


def encode(program: Program, machine: Machine) -> Bytecode:
    """Encode a program prepared by `passes.pipeline.prepare` with all hyperparameters bound.

    Raises:
        UnsupportedProgram: for matrix functions, stored dtypes, or more registers than there are.
    """
    kinds = infer(program)
    if any(kind > Kind.ARRAY or kind in (Kind.PER_ROW, Kind.PER_COLUMN) for kind in kinds):
        raise UnsupportedProgram("it uses rows, columns or matrices")
    if any(entry.dtype for entry in program.inputs):
        raise UnsupportedProgram("it stores state in a dtype of its own")
    if len(program.states) > machine.states or len(program.operations) > machine.instructions:
        raise UnsupportedProgram("it has too many state variables or statements")
    return _Encoder(program, kinds, machine).encode()


class _Encoder:
    def __init__(self, program: Program, kinds: list[Kind], machine: Machine) -> None:
        self.program, self.kinds, self.machine = program, kinds, machine
        self.constants: dict[tuple[float, bool], int] = {}
        self.registers: dict[int, int] = {}
        for register, state in enumerate(program.states, start=machine.first_state):
            self.registers[state] = register
        for i, entry in enumerate(program.inputs):
            if entry.role in ROLE_ROWS:
                self.registers[i] = ROLE_ROWS[entry.role]
        self.free = list(range(machine.registers - 1, machine.first_temporary - 1, -1))

    def encode(self) -> Bytecode:
        program, machine, first = self.program, self.machine, len(self.program.inputs)
        last_read = dict.fromkeys(range(first + len(program.operations)), -1)
        for value, operation in enumerate(program.operations, start=first):
            last_read.update(dict.fromkeys(operation.args, value))
        last_read.update(dict.fromkeys(program.outputs, first + len(program.operations)))
        code = np.zeros((machine.instructions, 3 + ARITY), np.int32)
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
        outputs = np.arange(len(Row) - 1, machine.first_constant, dtype=np.int32)
        for i, output in enumerate(program.outputs):
            outputs[i] = self._operand(output)
        constants = np.zeros(machine.constants, np.float32)
        with np.errstate(over="ignore"):
            for (value, _), register in self.constants.items():
                constants[register - machine.first_constant] = value
        return Bytecode(len(program.operations), code, constants, outputs)

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
            if len(self.constants) == self.machine.constants:
                raise UnsupportedProgram("it has too many constants")
            self.constants[key] = self.machine.first_constant + len(self.constants)
        return self.constants[key]
