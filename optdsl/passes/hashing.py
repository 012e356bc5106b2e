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
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Protocol, TypeVar

from optdsl.ir import Program, Role
from optdsl.ops import Kind, OpDef
from optdsl.passes.live import live_values

DIGEST_BYTES = 16

REMEMBERED = 1 << 16
"""How many expressions a numbering remembers."""

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

    memo: dict[tuple[object, ...], T]
    """Results of `apply` by function and arguments, since programs of a search share most of
    their expressions. Kept and bounded by `hash_program`."""

    def constant(self, value: float) -> T:
        """A constant, or a hyperparameter by its default."""
        ...

    def leaf(self, digest: bytes, kind: Kind) -> T:
        """An input or a state variable."""
        ...

    def apply(self, op: OpDef, args: list[T]) -> T:
        """A function's result."""
        ...

    def digest(self, value: T) -> bytes:
        """What stands for a value in the program's hash."""
        ...


class Structural:
    """Equal digests: bitwise equal results. Only the order of commuting operands is forgiven."""

    def __init__(self, ignore_constants: bool = False) -> None:
        """`ignore_constants`: all constants are equal, and a constant factor of `lr` is none."""
        self.ignore_constants = ignore_constants
        self.memo: dict[tuple[object, ...], bytes] = {}

    def constant(self, value: float) -> bytes:
        """Distinguishes 0.0 from -0.0, as 1 / x does."""
        return CONSTANT if self.ignore_constants else _constant_digest(struct.pack("<d", value))

    def leaf(self, digest: bytes, kind: Kind) -> bytes:
        """Its digest."""
        del kind
        return digest

    def apply(self, op: OpDef, args: list[bytes]) -> bytes:
        """The digest of the function's and the arguments' digests."""
        if op.commutative and args[0] > args[1]:
            args.reverse()
        if self.ignore_constants and (op.name, set(args)) == ("*", {LR, CONSTANT}):
            return LR
        return combine(op.hash_id.encode(), *args)

    def digest(self, value: bytes) -> bytes:
        """Itself."""
        return value


@lru_cache(maxsize=1 << 16)
def _constant_digest(packed: bytes) -> bytes:
    return combine(b"constant", packed)


@cache
def _input_digest(role: Role, kind: Kind, dtype: str | None) -> bytes:
    if role is Role.STATE:
        return combine(b"state", str(kind).encode(), (dtype or "").encode())
    return combine(b"input", role.value.encode())


@cache
def _label(base: bytes, index: int) -> bytes:
    return combine(b"label", base, index.to_bytes(2, "little"))


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
    needed = [
        (i, operation.op, operation.args)
        for i, operation in enumerate(program.operations, start=first)
        if live[i]
    ]
    fixed: list[T | None] = [None] * (first + len(program.operations))
    base: dict[int, bytes] = {}
    for i, entry in enumerate(program.inputs):
        if entry.default is not None:
            fixed[i] = numbering.constant(entry.default)
        else:
            base[i] = _input_digest(entry.role, entry.kind, entry.dtype)
            fixed[i] = numbering.leaf(base[i], entry.kind)
    # The constants stand at the end, where the operands below 0 find them.
    fixed += [numbering.constant(value) for value in reversed(program.constants)]

    def run(labels: dict[int, bytes]) -> Callable[[int], bytes]:
        """All values under some labels of the states; the digest of an operand."""
        values = fixed.copy()
        for state, label in labels.items():
            values[state] = numbering.leaf(label, program.inputs[state].kind)
        memo = numbering.memo
        for i, op, args in needed:
            if len(args) == 1:  # written out for speed
                key = (op, values[args[0]])
            elif len(args) == 2:
                key = (op, values[args[0]], values[args[1]])
            else:
                key = (op, *[values[arg] for arg in args])
            value = memo.get(key)
            if value is None:
                if len(memo) >= REMEMBERED:
                    memo.clear()
                memo[key] = value = numbering.apply(op, list(key[1:]))  # pyright: ignore
            values[i] = value

        def digest(operand: int) -> bytes:
            value = values[operand]
            assert value is not None
            return numbering.digest(value)

        return digest

    labels = _refine(states, {state: base[state] for state in states}, new_value, run)
    ordered = sorted(set(labels.values()))
    numbered = {state: _label(base[state], ordered.index(labels[state])) for state in states}
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
        finer = {state: labels[state] + digest(new_value[state]) for state in states}
        finer_classes = len(set(finer.values()))
        if finer_classes == classes:
            break
        labels, classes = finer, finer_classes
    return labels
