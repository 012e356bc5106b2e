"""Branches of emitted source: `where`s that the shape of a leaf decides, as `if`s of Python.

What only one side of such a `where` needs moves into its branch, so that a leaf computes no more
than it needs, and state variables that are read in one branch only are kept for its leaves only.

    t = m / sqrt(v)                            if g.ndim == 2:
    u = where(rank(w) == 2, m, t)                  u = m
                                               else:
                                                   u = m / jnp.sqrt(v)
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optdsl.ir import Operation, Program, Role
from optdsl.ops import BY_NAME, Kind, Over

Key = tuple[object, ...]
"""What a condition asks; equal for conditions with one answer."""

Literal = tuple[Key, bool]
"""A condition, and whether it holds."""


@dataclass(frozen=True)
class Branch:
    """Some `where`s with one condition, and what is computed on each side of it."""

    choices: tuple[int, ...]
    arms: "tuple[list[Item], list[Item]]"


Item = int | Branch
"""A value to compute, or a branch."""


class Branches:
    """The branches of a program."""

    def __init__(self, program: Program) -> None:
        """Find the values that shapes decide."""
        self.program, self.first = program, len(program.inputs)
        self.of_shape: dict[int, Key] = {}
        """Numbers that depend on the shape of a leaf, on constants and on hyperparameters."""
        self.decided: dict[int, Key] = {}
        """`where`s of blocks that such numbers decide, by their conditions."""
        self.readers: dict[int, list[int]] = {}
        for value, (op, args, _) in enumerate(program.operations, start=self.first):
            for arg in args:
                self.readers.setdefault(arg, []).append(value)
            keys = [self._key(arg) for arg in args]
            if op.over is Over.SHAPE:
                self.of_shape[value] = (op.name,)
            elif op.over is Over.NOTHING and self.of_shape.keys() & {*args} and None not in keys:
                self.of_shape[value] = (op.name, *keys)
            elif op.is_choice and self.of_shape.keys() & {*args[:2]} and None not in keys[:2]:
                self.decided[value] = (op.name, *keys[:2])

    def arranged(self, values: Sequence[int]) -> list[Item]:
        """Values of one stage, in order, with their branches."""
        group = self._last_group(values)
        if not group:
            return list(values)
        side = self._sides(values, group)
        rest = self.arranged([v for v in values if v not in group and v not in side])
        arms = tuple(
            self.arranged([v for v in values if side.get(v) == which]) for which in (True, False)
        )
        branch = Branch(tuple(group), (arms[0], arms[1]))
        return sorted([*rest, branch], key=_position)

    def kept(self, stages: Sequence[list[Item]]) -> dict[int, set[tuple[Literal, ...]]]:
        """Where each state variable is read: the conditions on the way to each of its readers.

        Args:
            stages: all that is computed leaf by leaf.
        """
        found: dict[int, set[tuple[Literal, ...]]] = {state: set() for state in self.program.states}

        def read(arg: int, path: tuple[Literal, ...]) -> None:
            if arg in found:
                found[arg].add(path)

        def walk(items: list[Item], path: tuple[Literal, ...]) -> set[int]:
            seen: set[int] = set()
            for item in items:
                if isinstance(item, int):
                    seen.add(item)
                    op, args, _ = self._operation(item)
                    for arg in args:
                        read(arg, () if op.over is Over.TREE else path)  # all leaves are added up
                    continue
                for which, arm in ((True, item.arms[0]), (False, item.arms[1])):
                    inner = (*path, (self.decided[item.choices[0]], which))
                    for choice in item.choices:
                        arg = self._operation(choice).args[2 if which else 3]
                        if not self._stays(choice, arg):
                            read(arg, inner)
                    seen |= {*item.choices, *walk(arm, inner)}
            return seen

        seen: set[int] = set()
        for items in stages:
            seen |= walk(items, ())
        for value, operation in enumerate(self.program.operations, start=self.first):
            for arg in operation.args if value not in seen and value not in self.of_shape else ():
                read(arg, ())
        new = dict(zip(self.program.states, self.program.outputs[1:], strict=True))
        for state, output in new.items():
            if output != state:
                read(output, ())
            elif not found[state]:
                found[state].add(())
        read(self.program.outputs[0], ())
        return found

    def _stays(self, choice: int, arg: int) -> bool:
        """Whether a `where` does no more than keep a state variable on one side."""
        new = dict(zip(self.program.states, self.program.outputs[1:], strict=True))
        readers = self.readers.get(choice, [])
        if choice in self.program.outputs:
            once = self.program.outputs.count(choice) == 1
            return once and not readers and new.get(arg) == choice
        return len(readers) == 1 and readers[0] in self.decided and self._stays(readers[0], arg)

    def _key(self, operand: int) -> object:
        """What stands for a number that shapes tell; None for other values."""
        if operand < 0:
            return self.program.constants[~operand]
        if operand < self.first:
            is_given = self.program.inputs[operand].role is Role.HYPERPARAMETER
            return (operand,) if is_given else None
        return self.of_shape.get(operand)

    def _operation(self, value: int) -> Operation:
        return self.program.operations[value - self.first]

    def _last_group(self, values: Sequence[int]) -> list[int]:
        """The last `where` that is decided, and those before it that may move down to it."""
        decided = [value for value in values if value in self.decided]
        group = decided[-1:]
        for value in reversed(decided[:-1]):
            if self.decided[value] != self.decided[group[-1]]:
                continue
            depend = {value}
            for later in values:
                if value < later <= group[-1] and depend & {*self._operation(later).args}:
                    depend.add(later)
            if len(depend) == 1:
                group.insert(0, value)
        return group

    def _sides(self, values: Sequence[int], group: list[int]) -> dict[int, bool]:
        """The values that only one side of a group's `where`s needs, each with its side."""
        inside, sides = {*values}, dict[int, bool]()
        outputs = {*self.program.outputs}
        for value in reversed(values):
            readers = self.readers.get(value, [])
            if value in group or value in outputs or not readers:
                continue
            wanted: set[bool | None] = set()
            for reader in readers:
                if reader in group:
                    args = self._operation(reader).args
                    wanted |= {True, False, None} if value in args[:2] else set()
                    wanted |= {which for which in (True, False) if args[3 - which] == value}
                else:
                    wanted.add(sides.get(reader) if reader in inside else None)
            if len(wanted) == 1 and None not in wanted:
                sides[value] = wanted == {True}
        return sides


def flattened(items: Sequence[Item]) -> list[int]:
    """All values in the order of the text."""
    found: list[int] = []
    for item in items:
        if isinstance(item, int):
            found.append(item)
        else:
            found += [*flattened(item.arms[0]), *flattened(item.arms[1]), *item.choices]
    return found


def leaf_values(program: Program, kinds: list[Kind], stages: list[int]) -> list[list[int]]:
    """The results with blocks, stage by stage."""
    first = len(program.inputs)
    found: list[list[int]] = [[] for _ in range(max(stages, default=0) + 1)]
    for value in range(first, first + len(program.operations)):
        if kinds[value] != Kind.SCALAR:
            found[stages[value]].append(value)
    return found


def number_text(key: object, array: str, given: Callable[[int], str]) -> str:
    """A number that shapes tell, in Python: one of Python's own, for it to have no dtype.

    Args:
        key: of the number, as in `Branches.of_shape`.
        array: the name of an array of the leaf's shape.
        given: the name of a hyperparameter.
    """
    text = bare_text(key, array, given)
    return f"float({text})" if "np." in text else text


def condition_text(sign: str, first: str, second: str) -> str:
    """A comparison of two numbers, a literal on the right."""
    first, second = first.removesuffix(".0"), second.removesuffix(".0")  # lengths are whole
    if first[:1].isdigit():
        first, second, sign = second, first, _MIRRORED[sign]
    return ast.unparse(ast.parse(f"({first}) {sign} ({second})", mode="eval"))


def sign_of(key: Key) -> str:
    """How a condition compares."""
    return str(key[0]).removeprefix("where")


OPPOSITE = {"==": "!=", "<": ">=", "<=": ">"}
"""The sign of the condition that holds where another does not: shapes are never NaN."""

_BUILTIN = {"minimum": "min", "maximum": "max"}

_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def bare_text(key: object, array: str, given: Callable[[int], str]) -> str:
    """As `number_text`, but one of NumPy's if that is shorter."""
    if not isinstance(key, tuple):
        return repr(key)
    name, *args = key
    if isinstance(name, int):
        return given(name)
    op = BY_NAME[name]
    if op.over is Over.SHAPE:
        return op.lower.format(x=array)
    texts = [bare_text(arg, array, given) for arg in args]
    if op.is_choice:
        return f"{texts[2]} if {condition_text(sign_of(key), *texts[:2])} else {texts[3]}"
    if name in _BUILTIN:
        return f"{_BUILTIN[name]}({', '.join(texts)})"
    places = dict(zip(op.args, (f"({text})" for text in texts), strict=True))
    return op.lower.format(**places).replace("xp.", "np.")


def _position(item: Item) -> int:
    return item if isinstance(item, int) else item.choices[-1]
