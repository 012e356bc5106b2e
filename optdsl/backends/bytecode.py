"""Programs as data for a register machine: instructions that index the table of functions.

A register is a row of numbers, one for each weight of the whole tree; a scalar fills its row, a
`per_array` value the part of its weight array. Register 0 receives each step's gradient, register
1 holds the weights, the next ones the state variables, then constants; the rest are allocated by
liveness. A step's code ends by writing the weights and the states in place, so that nothing has to
be copied between steps. The machine that runs it: `register_machine.py`.
"""

from dataclasses import dataclass

import numpy as np

from optdsl.ir import Program, Role
from optdsl.ops import BY_LINE, BY_NAME, OPS, Kind, OpDef, Over
from optdsl.passes.infer import infer

ARITY = 4
"""Operands of an instruction; those that it does not need are 0."""

GRADIENT = 0
"""The register that receives the gradient at each step."""

WEIGHTS = 1
"""The register of the weights."""

FIRST_FREE = 2
"""The registers from here on are the program's: its states first."""


@dataclass(frozen=True)
class Machine:
    """How much a machine holds; it is compiled for these sizes, so that programs never are."""

    registers: int
    constants: int
    instructions: int


MACHINES: tuple[Machine, ...] = (Machine(32, 16, 64), Machine(160, 96, 320))
"""The sizes to choose from: a program runs on the first machine that holds it. A small register
file stays in the processor's cache."""

BLENDED = "interpolate by a constant"
"""`interpolate` with 1 - a as fourth operand: a constant's complement is taken in double
precision."""

MOVE = "move"
"""Its operand."""

SUBTRACT = "-"
"""The row of the table that ends each step: `w = w - update`."""

LEARNING_RATE = "learning rate"
STEP = "step"
"""The inputs that are numbers, made rows where a program reads them."""

SPECIAL = (BLENDED, MOVE, LEARNING_RATE, STEP)
"""The instructions that are no row of the table; opcode i is the i-th of them."""

INSTRUCTIONS: tuple[OpDef, ...] = tuple(
    op
    for over in (Over.NOTHING, Over.ARRAY, Over.TREE)
    for op in OPS
    if op.args and op.over is over
)
"""The functions that the machine can do, those with sums at last; their opcodes follow."""

OPCODES: dict[str, int] = {
    name: i for i, name in enumerate((*SPECIAL, *(op.name for op in INSTRUCTIONS)))
}


class UnsupportedProgram(ValueError):
    """A program that the register machine can't run; the jitted lowering can."""


@dataclass(frozen=True, eq=False)
class Bytecode:
    """A program for a machine, its arrays padded to the machine's sizes."""

    code: np.ndarray
    """int32 (instructions, 3 + ARITY): opcode, result register, kind of what a reduction adds
    up, operand registers."""
    length: int
    """How many instructions there are."""
    constants: np.ndarray
    """float32 (constants,)."""
    first_constant: int
    """The register of the first constant."""
    loaded: int
    """How many constants there are."""
    registers: int
    """How many registers the program uses."""


def encode(program: Program, machines: tuple[Machine, ...] = MACHINES) -> tuple[Machine, Bytecode]:
    """Encode a program prepared by `passes.pipeline.prepare` with all hyperparameters bound.

    Returns:
        The first machine that holds the program, and the program for it.

    Raises:
        UnsupportedProgram: for matrix functions, stored dtypes, or a program too large for all.
    """
    kinds = infer(program)
    if any(kind > Kind.ARRAY or kind in BY_LINE for kind in kinds):
        raise UnsupportedProgram("it uses rows, columns or matrices")
    if any(entry.dtype for entry in program.inputs):
        raise UnsupportedProgram("it stores state in a dtype of its own")
    encoder = _Encoder(program, kinds)
    words = encoder.encode()
    for machine in machines:
        if (
            encoder.used <= machine.registers
            and len(encoder.constants) <= machine.constants
            and len(words) <= machine.instructions
        ):
            return machine, encoder.padded(words, machine)
    raise UnsupportedProgram("it has too many statements, constants or values alive at once")


class _Encoder:
    """Allocates registers and writes instructions."""

    def __init__(self, program: Program, kinds: list[Kind]) -> None:
        self.program, self.kinds = program, kinds
        self.first = len(program.inputs)
        self.end = self.first + len(program.operations)
        self.words: list[list[int]] = []
        self.constants: dict[tuple[float, bool], int] = {}
        self.homes = {state: FIRST_FREE + i for i, state in enumerate(program.states)}
        """Each state variable's register."""
        self.registers = dict(self.homes)
        for i, entry in enumerate(program.inputs):
            if entry.role is Role.GRADIENT:
                self.registers[i] = GRADIENT
            elif entry.role is Role.WEIGHT:
                self.registers[i] = WEIGHTS
        self.last_read = self._last_reads()
        self.first_constant = FIRST_FREE + len(program.states)
        self._collect_constants()
        self.free: list[int] = []
        self.used = self.first_constant + len(self.constants)

    def encode(self) -> list[list[int]]:
        """The instructions of one step."""
        program = self.program
        for i, entry in enumerate(program.inputs):
            opcode = {Role.LEARNING_RATE: LEARNING_RATE, Role.STEP: STEP}.get(entry.role)
            if opcode and self.last_read[i] >= 0:
                self.registers[i] = self._allocate()
                self._emit(OPCODES[opcode], self.registers[i])
        heirs = self._heirs()
        for value, operation in enumerate(program.operations, start=self.first):
            opcode, operands, kind = self._instruction(operation.op, operation.args)
            for arg in set(operation.args):
                if arg >= 0 and self.last_read[arg] == value and self._is_temporary(arg):
                    self.free.append(self.registers[arg])
            home = self.homes.get(heirs.get(value, -1))
            self.registers[value] = self._allocate() if home is None else home
            self._emit(opcode, self.registers[value], kind, *operands)
        self._write_outputs()
        return self.words

    def padded(self, words: list[list[int]], machine: Machine) -> Bytecode:
        """The program for a machine that holds it."""
        code = np.zeros((machine.instructions, 3 + ARITY), np.int32)
        code[: len(words)] = words
        constants = np.zeros(machine.constants, np.float32)
        with np.errstate(over="ignore"):
            constants[: len(self.constants)] = [value for value, _ in self.constants]
        return Bytecode(
            code, len(words), constants, self.first_constant, len(self.constants), self.used
        )

    def _last_reads(self) -> dict[int, int]:
        """Who reads each value last: an operation's value, the end of the step, or -1."""
        last = dict.fromkeys(range(self.end), -1)
        for value, operation in enumerate(self.program.operations, start=self.first):
            last.update(dict.fromkeys(operation.args, value))
        last.update(dict.fromkeys(self.program.outputs, self.end))
        return last

    def _heirs(self) -> dict[int, int]:
        """The values that may be written to a state's register at once: its new values, once
        nothing reads the old one any more."""
        heirs: dict[int, int] = {}
        pairs = zip(self.program.states, self.program.outputs[1:], strict=True)
        for state, value in pairs:
            if value >= self.first and value not in heirs and self.last_read[state] <= value:
                heirs[value] = state
        return heirs

    def _is_temporary(self, value: int) -> bool:
        """Whether the value's register is nobody else's."""
        return self.registers[value] >= self.first_constant + len(self.constants)

    def _write_outputs(self) -> None:
        """Subtract the update from the weights and move the states' new values to their homes,
        reading everything before it is overwritten."""
        update, *new = (self._operand(output) for output in self.program.outputs)
        moves = {
            self.homes[state]: source
            for state, source in zip(self.program.states, new, strict=True)
            if self.homes[state] != source
        }
        weights = WEIGHTS
        if WEIGHTS in moves.values():
            weights = self._allocate()
            moves[WEIGHTS] = weights
        self._emit(OPCODES[SUBTRACT], weights, Kind.SCALAR, WEIGHTS, update)
        while moves:
            unread = [target for target in moves if target not in moves.values()]
            if unread:
                self._emit(OPCODES[MOVE], unread[0], Kind.SCALAR, moves.pop(unread[0]))
                continue
            # Only cycles are left: one target's old value goes elsewhere first.
            target, spare = next(iter(moves)), self._allocate()
            self._emit(OPCODES[MOVE], spare, Kind.SCALAR, target)
            moves = {t: spare if source == target else source for t, source in moves.items()}

    def _instruction(self, op: OpDef, args: tuple[int, ...]) -> tuple[int, list[int], Kind]:
        """Opcode, operands, and the kind of the value that a reduction adds up."""
        operands = [self._operand(arg) for arg in args]
        if op is BY_NAME["interpolate"] and args[2] < 0:
            complement = self.constants[_key(1 - self.program.constants[~args[2]])]
            return OPCODES[BLENDED], [*operands, complement], Kind.SCALAR
        if op.name not in OPCODES:
            raise UnsupportedProgram(f"the machine has no `{op.name}`")
        added = [self.kinds[arg] for arg in args if arg >= 0] or [Kind.SCALAR]
        kind = added[0] if op.args[-1] == "bound" else max(added)
        return OPCODES[op.name], operands, kind if op.over is not Over.NOTHING else Kind.SCALAR

    def _collect_constants(self) -> None:
        constants = self.program.constants
        found: list[float] = []
        for operation in self.program.operations:
            found += [constants[~arg] for arg in operation.args if arg < 0]
            if operation.op is BY_NAME["interpolate"] and operation.args[2] < 0:
                found.append(1 - constants[~operation.args[2]])
        found += [constants[~output] for output in self.program.outputs if output < 0]
        for value in found:
            self.constants.setdefault(_key(value), self.first_constant + len(self.constants))

    def _operand(self, value: int) -> int:
        if value >= 0:
            return self.registers[value]
        return self.constants[_key(self.program.constants[~value])]

    def _allocate(self) -> int:
        if self.free:
            return self.free.pop()
        self.used += 1
        return self.used - 1

    def _emit(self, opcode: int, result: int, kind: Kind = Kind.SCALAR, *operands: int) -> None:
        padding = [0] * (ARITY - len(operands))
        self.words.append([opcode, result, int(kind), *operands, *padding])


def _key(value: float) -> tuple[float, bool]:
    """Tells 0.0 from -0.0."""
    return value, bool(np.signbit(value))
