"""The paper's functional hash (section 2.2, appendix I), made blind to the names of state.

A value's digest combines its function's with its arguments'. Dead statements and dead state are
never reached, and commuting operands are sorted. What an input is stands for it, except that state
variables have no identity but what happens to them: two of them are told apart only by how the
program uses and renews them. This is partition refinement, as for minimising an automaton: all
states of a kind begin alike; digests of their new values split them, until no split is left. States
that are never split hold equal values at every step, so they may share a label.

What a function does to digests is a `Numbering`: structural here, canonical in `canonical.py`.
"""

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeVar

from optdsl.ir import Input, Program, Role
from optdsl.ops import OpDef
from optdsl.passes.live import live_values

DIGEST_BYTES = 16

VERSION = "1"
"""Part of every digest: raised when the same program would get another one."""

T = TypeVar("T")


def combine(*parts: bytes) -> bytes:
    """A digest of some parts, in order."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        hasher.update(len(part).to_bytes(4, "little"))
        hasher.update(part)
    return hasher.digest()


class Numbering(Protocol[T]):
    """What programs are hashed over: the symbolic values T of one level of equality."""

    def constant(self, value: float) -> T:
        """A constant, or a hyperparameter by its default."""
        ...

    def leaf(self, digest: bytes) -> T:
        """An input or a state variable."""
        ...

    def apply(self, op: OpDef, args: list[T]) -> T:
        """A function's result."""
        ...

    def digest(self, value: T) -> bytes:
        """What stands for a value in the program's hash."""
        ...


class Structural:
    """Equal digests: bitwise equal results. Only the order of commuting operands is forgiven.

    Digests of expressions are remembered, since programs of a search share most of theirs.
    """

    REMEMBERED = 1 << 18

    def __init__(self, ignore_constants: bool = False) -> None:
        """`ignore_constants`: all constants are equal, and a constant factor of `lr` is none."""
        self.ignore_constants = ignore_constants
        self.memo: dict[tuple[object, ...], bytes] = {}

    def constant(self, value: float) -> bytes:
        """Distinguishes 0.0 from -0.0, as 1 / x does."""
        if self.ignore_constants:
            return CONSTANT
        key = (value, math.copysign(1.0, value))
        found = self.memo.get(key)
        if found is None:
            found = self._remember(key, combine(b"constant", struct.pack("<d", value)))
        return found

    def leaf(self, digest: bytes) -> bytes:
        """Itself."""
        return digest

    def apply(self, op: OpDef, args: list[bytes]) -> bytes:
        """The digest of the function's and the arguments' digests."""
        if op.commutative and args[0] > args[1]:
            args.reverse()
        key = (op, *args)
        found = self.memo.get(key)
        if found is not None:
            return found
        if self.ignore_constants and (op.name, set(args)) == ("*", {LR, CONSTANT}):
            return LR
        return self._remember(key, combine(op.hash_id.encode(), *args))

    def digest(self, value: bytes) -> bytes:
        """Itself."""
        return value

    def _remember(self, key: tuple[object, ...], digest: bytes) -> bytes:
        if len(self.memo) >= self.REMEMBERED:
            self.memo.clear()
        self.memo[key] = digest
        return digest


@cache
def _input_digest(entry: Input) -> bytes:
    if entry.role is Role.STATE:
        return combine(b"state", str(entry.kind).encode(), (entry.dtype or "").encode())
    return combine(b"input", entry.role.value.encode())


CONSTANT = combine(b"any constant")
LR = combine(b"input", Role.LEARNING_RATE.value.encode())
_STRUCTURAL = Structural()


def structural_hash(program: Program) -> str:
    """The paper's hash: equal for programs whose results are bitwise equal by construction."""
    return hash_program(program, _STRUCTURAL).digest.hex()


@dataclass(frozen=True, slots=True)
class Hashed:
    """A program's digest at one level of equality, and those of its live values."""

    digest: bytes
    value_digest: Callable[[int], bytes]
    """The digest of a live value."""
    live: bytearray


def hash_program(program: Program, numbering: Numbering[T]) -> Hashed:
    """Hash a program at one level of equality."""
    live = live_values(program)
    first = len(program.inputs)
    outputs = program.outputs
    states = [state for state in program.states if live[state]]
    new_value = dict(zip(program.states, outputs[1:], strict=True))
    needed = [i for i in range(len(program.operations)) if live[first + i]]
    fixed: list[T | None] = [None] * (first + len(program.operations))
    base: dict[int, bytes] = {}
    for i, entry in enumerate(program.inputs):
        if entry.default is not None:
            fixed[i] = numbering.constant(entry.default)
        else:
            base[i] = _input_digest(entry)
            fixed[i] = numbering.leaf(base[i])
    constants = [numbering.constant(value) for value in program.constants]

    def run(labels: dict[int, bytes]) -> Callable[[int], bytes]:
        """All values under some labels of the states; the digest of an operand."""
        values = fixed.copy()
        for state, label in labels.items():
            values[state] = numbering.leaf(label)
        apply = numbering.apply
        for i in needed:
            op, args, _ = program.operations[i]
            values[first + i] = apply(
                op,
                [values[arg] if arg >= 0 else constants[~arg] for arg in args],  # pyright: ignore
            )

        def digest(operand: int) -> bytes:
            value = values[operand] if operand >= 0 else constants[~operand]
            assert value is not None
            return numbering.digest(value)

        return digest

    labels = _refine(states, {state: base[state] for state in states}, new_value, run)
    ordered = sorted(set(labels.values()))
    numbered = {
        state: combine(b"label", base[state], ordered.index(labels[state]).to_bytes(2, "little"))
        for state in states
    }
    digest = run(numbered)
    representatives = {numbered[state]: new_value[state] for state in states}
    parts = [digest(representatives[label]) for label in sorted(representatives)]
    return Hashed(combine(VERSION.encode(), digest(outputs[0]), *parts), digest, live)


def _refine(
    states: list[int],
    labels: dict[int, bytes],
    new_value: dict[int, int],
    run: Callable[[dict[int, bytes]], Callable[[int], bytes]],
) -> dict[int, bytes]:
    """Labels that are equal for two states only if these are equal at every step.

    The labels are those of the first round with the final number of classes, so that a program
    and its copy with a doubled state get the same.
    """
    classes = len(set(labels.values()))
    while classes < len(states):
        digest = run(labels)
        finer = {state: combine(labels[state], digest(new_value[state])) for state in states}
        if len(set(finer.values())) == classes:
            break
        labels, classes = finer, len(set(finer.values()))
    return labels
