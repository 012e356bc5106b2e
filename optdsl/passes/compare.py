"""Whether two programs are the same, and where they differ."""

from dataclasses import dataclass
from typing import Any

from optdsl.ir import Program
from optdsl.passes.canonical import Canonical
from optdsl.passes.hashing import Hashed, Numbering, Structural, hash_program

LEVELS = ("structural", "canonical", "behavioural")
"""From the strictest to the loosest notion of equality."""

FORMAL = (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 4.0)
"""Constants that algebra writes: `-1 * x` is `-x`, `x ** 2` is `x * x`, `1 / x` a reciprocal."""


@dataclass(frozen=True)
class Comparison:
    """The verdict, and the statements of each program that the other has no equal of.

    These are positions of live operations. Where every one of them has its equal, programs differ
    in what they return, and the positions are those of the two `return`s, after the operations.
    """

    equal: bool
    only_first: tuple[int, ...] = ()
    only_second: tuple[int, ...] = ()


def compare(a: Program, b: Program, level: str, ignore_constants: bool = False) -> Comparison:
    """Compare at the level `structural` or `canonical`.

    What is equal at a stricter level, or with the constants, is equal.
    """
    hashed = [
        (hash_program(a, numbering), hash_program(b, numbering))
        for numbering in _numberings(level, ignore_constants)
    ]
    if any(first.digest == second.digest for first, second in hashed):
        return Comparison(True)
    first, second = hashed[-1]
    return _difference((a, first), (b, second))


def _numberings(level: str, ignore_constants: bool) -> list[Numbering[Any]]:
    """Those that may find programs equal; the one that forgives most is the last.

    It alone would not do: a constant that is ignored can't take part in algebra. Where `0.1 * x`
    is not `x` but all constants are equal, `1 * x` is not `x` either.
    """
    numberings: list[Numbering[Any]] = [Structural()]
    if level == "canonical":
        numberings.append(Canonical())
    if ignore_constants:
        numberings.append(Structural(ignore_constants=True))
    if ignore_constants and level == "canonical":
        numberings += [Canonical(ignore_constants=True, known=FORMAL), Canonical(True)]
    return numberings


def _difference(first: tuple[Program, Hashed], second: tuple[Program, Hashed]) -> Comparison:
    one, other = _digests(*first), _digests(*second)
    only_first = tuple(i for i, digest in one.items() if digest not in other.values())
    only_second = tuple(i for i, digest in other.items() if digest not in one.values())
    if not only_first and not only_second:
        return Comparison(False, (len(first[0].operations),), (len(second[0].operations),))
    return Comparison(False, only_first, only_second)


def _digests(program: Program, hashed: Hashed) -> dict[int, bytes]:
    """The digests of the live operations, by position."""
    first = len(program.inputs)
    return {
        i: hashed.value_digest(first + i)
        for i in range(len(program.operations))
        if hashed.live[first + i]
    }
