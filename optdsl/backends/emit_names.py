"""Names in emitted source, and the facts about a program's values that decide them."""

import re
from collections.abc import Mapping

from optdsl.ir import Program, Role
from optdsl.ir.builder import TEMPORARY
from optdsl.ops import Kind, Over

NEVER = 1 << 60
"""After all statements."""

_SHAPED = (Over.ROW, Over.COLUMN, Over.MATRIX, Over.SHAPE)

_TEMPORARY = re.compile(rf"{TEMPORARY}(_\d+)?")


def stages_of(program: Program, kinds: list[Kind], order: Mapping[int, list[int]]) -> list[int]:
    """The stage in which each value is computed: a sum over the tree begins the next one.

    `order` is what `made_after` gives: a value is in no earlier stage than one it is made after.
    """
    stages = [0] * len(program.inputs)
    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        earlier = [arg for arg in order.get(value, ()) if arg < value]
        args = [arg for arg in (*operation.args, *earlier) if arg >= 0]
        stage = max((stages[arg] for arg in args), default=0)
        over_tree = operation.op.over is Over.TREE
        stages.append(stage + (over_tree and any(kinds[arg] != Kind.SCALAR for arg in args)))
    _delay(program, kinds, stages)
    return stages


def _delay(program: Program, kinds: list[Kind], stages: list[int]) -> None:
    """Move what is computed leaf by leaf to the stage that first needs it."""
    first, last = len(program.inputs), max(stages, default=0)
    needed = {output: last for output in program.outputs if output >= 0}
    for position in reversed(range(len(program.operations))):
        value, operation = first + position, program.operations[position]
        args = [arg for arg in operation.args if arg >= 0]
        sums = operation.op.over is Over.TREE and any(kinds[a] != Kind.SCALAR for a in args)
        if kinds[value] != Kind.SCALAR and not sums:
            stages[value] = needed.get(value, stages[value])
        for arg in args:
            needed[arg] = min(needed.get(arg, last), stages[value] - sums)


def static_values(program: Program) -> list[bool]:
    """Which values depend on constants and hyperparameters alone."""
    static = [entry.role is Role.HYPERPARAMETER for entry in program.inputs]
    for operation in program.operations:
        static.append(all(arg < 0 or static[arg] for arg in operation.args))
    return static


def is_nameless(name: str) -> bool:
    """Whether a result's name was made up by the compiler."""
    return _TEMPORARY.fullmatch(name) is not None


def _last_reads(program: Program, place: dict[int, int]) -> dict[int, int]:
    """The place of the last statement that reads each value.

    A nameless result that is read once may be written where it is read, so its arguments are taken
    to be read there too.
    """
    first = len(program.inputs)
    readers: dict[int, list[int]] = {}
    last_read = dict.fromkeys(range(first + len(program.operations)), -1)
    for value, operation in enumerate(program.operations, start=first):
        for arg in operation.args:
            readers.setdefault(arg, []).append(place[value])
    for output in program.outputs:
        readers.setdefault(output, []).append(NEVER)
    for value in sorted(place, key=lambda v: place[v], reverse=True):
        operation = program.operations[value - first]
        last_read[value] = max([last_read[value], *readers.get(value, [])])
        moves = is_nameless(operation.name) and len(readers.get(value, [])) == 1
        read_at = last_read[value] if moves else place[value]
        for arg in operation.args:
            if arg >= 0:
                last_read[arg] = max(last_read[arg], read_at)
    for value in range(first):
        last_read[value] = max([last_read[value], *readers.get(value, [])])
    return last_read


class Names:
    """An identifier for every value.

    Values that are scalars live in `update_fn` itself and have names of their own. Values with
    blocks live in the inner functions, where a name may be assigned again once nothing reads what
    it held; between stages they are lists, and lists of inputs are never assigned again.
    """

    def __init__(
        self,
        program: Program,
        kinds: list[Kind],
        stages: list[int],
        reserved: frozenset[str],
        order: list[int],
    ) -> None:
        """Choose all names; none of them is in `reserved`, and `order` is that of the text."""
        first = len(program.inputs)
        self._names: dict[int, str] = {}
        self._taken = set(reserved)
        place = {value: i for i, value in enumerate(order)}
        last_read = _last_reads(program, place)
        staged = max(stages, default=0) > 0
        for value in sorted(range(first), key=lambda v: kinds[v] == Kind.SCALAR):
            self._names[value] = self._fresh(program.inputs[value].name)
            if staged:
                last_read[value] = NEVER
        gradients = program.with_role(Role.GRADIENT)
        self.gradient = self._names[gradients[0]] if gradients else self._fresh("g")
        if gradients and any(op.over in _SHAPED for op, _, _ in program.operations):
            last_read[gradients[0]] = NEVER  # its shape is asked for
        held = {self._names[v]: v for v in range(first) if kinds[v] != Kind.SCALAR}
        for value in order:
            wanted = identifier(program.name_of(value))
            holder = held.get(wanted)
            free = holder is not None and last_read[holder] <= place[value]
            if kinds[value] == Kind.SCALAR or not free:
                wanted = self._fresh(wanted)
            self._names[value] = wanted
            if kinds[value] != Kind.SCALAR:
                held[wanted] = value

    def of(self, value: int) -> str:
        """The value's name."""
        return self._names[value]

    def rename(self, value: int, name: str) -> None:
        """Give a value the name of another, which the caller has made sure of."""
        self._names[value] = name

    def fresh(self, wanted: str) -> str:
        """A further name."""
        return self._fresh(wanted)

    def _fresh(self, wanted: str) -> str:
        name, number = identifier(wanted), 1
        base = name
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name


def identifier(name: str) -> str:
    """A program's name as a Python identifier without leading underscores."""
    bare = name.lstrip("_")
    return bare if bare.isidentifier() else f"v_{bare}" if bare else "v"
