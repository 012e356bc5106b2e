"""Whether two programs are the same, and where they differ."""

from dataclasses import dataclass

from optdsl.ir import Program
from optdsl.passes.canonical import Canonical
from optdsl.passes.hashing import Hashed, Structural, hash_program

LEVELS = ("structural", "canonical", "behavioural")
"""From the strictest to the loosest notion of equality."""


@dataclass(frozen=True)
class Comparison:
    """The verdict, and the live operations of each program that the other has no equal of."""

    equal: bool
    only_first: tuple[int, ...] = ()
    only_second: tuple[int, ...] = ()


def compare(a: Program, b: Program, level: str, ignore_constants: bool = False) -> Comparison:
    """Compare at the level `structural` or `canonical`."""
    if level == "structural":
        one = Structural(ignore_constants)
        hashed = hash_program(a, one), hash_program(b, one)
    else:
        other = Canonical(ignore_constants)
        hashed = hash_program(a, other), hash_program(b, other)
    if hashed[0].digest == hashed[1].digest:
        return Comparison(True)
    first, second = (_digests(p, h) for p, h in zip((a, b), hashed, strict=True))
    return Comparison(
        False,
        tuple(i for i, digest in first.items() if digest not in second.values()),
        tuple(i for i, digest in second.items() if digest not in first.values()),
    )


def _digests(program: Program, hashed: Hashed) -> dict[int, bytes]:
    """The digests of the live operations, by position."""
    first = len(program.inputs)
    return {
        i: hashed.value_digest(first + i)
        for i in range(len(program.operations))
        if hashed.live[first + i]
    }
