"""Abstract execution of genomes on shared expressions.

What a child computes, other genomes have mostly computed before. So equal uses of a function on
the same expressions are one object (global value numbering), which knows its kind and the inputs
that it depends on: to check a statement is to look it up, dead state is a matter of a few bits, and
dead code is what the roots don't lead to. Genomes with the same roots are the same program but for
what is dead and for names, so each set of roots is hashed once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from optdsl.evolve.genome import Genome, to_program
from optdsl.ir import Input, Program, Role
from optdsl.ops import Kind, OpDef
from optdsl.passes.infer import castable_kinds

REMEMBERED = 1 << 17
"""How many expressions and keys are remembered before all are forgotten."""

SPACES = 4
"""For how many tuples of inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """An input, a constant, or a function of expressions; compared by identity."""

    kind: Kind
    reads: int
    """The inputs that it depends on: a bit for each."""


Roots = tuple[Expression | None, ...]
"""The update, then each state variable's new value, or None where the state is dead."""


class Expressions:
    """The expressions of all genomes that have the same inputs."""

    def __init__(self, inputs: tuple[Input, ...]) -> None:
        """Only the inputs are known."""
        self.inputs = inputs
        self._variables: dict[object, Expression] = {
            entry.name: Expression(entry.kind, 1 << i) for i, entry in enumerate(inputs)
        }
        rates = [1 << i for i, entry in enumerate(inputs) if entry.role is Role.LEARNING_RATE]
        self._rate = sum(rates)
        states = [(1 << i, entry) for i, entry in enumerate(inputs) if entry.role is Role.STATE]
        self._states = [bit for bit, _ in states]
        self._allowed = [{Kind.ARRAY}, *(castable_kinds(entry.kind) for _, entry in states)]
        self._known: dict[object, Expression] = {}
        """Constants by their values, uses of functions by function and arguments."""
        self._keys: dict[tuple[Callable[[Program], str], Roots], str] = {}

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._known) + len(self._keys)

    def key(
        self, genome: Genome, key: Callable[[Program], str], keep_lr: bool = False
    ) -> str | None:
        """What `key` gives for the genome's program, or None if the genome is no valid program.

        Args:
            genome: what to check.
            key: must be blind to names and to what is dead.
            keep_lr: whether only what depends on the learning rate is valid.
        """
        roots = self.roots(genome)
        if roots is None or (keep_lr and not self._rate & _reads(roots)):
            return None
        found = self._keys.get((key, roots))
        if found is None:
            found = self._keys[key, roots] = key(to_program(genome))
        return found

    def roots(self, genome: Genome) -> Roots | None:
        """What the genome computes, or None if it is no valid program.

        Valid is what `to_program` and `infer` take.
        """
        values = self._variables.copy()
        known, operand, get = self._known, self._operand, values.get
        # The search spends its time here: an argument is a variable, or else a constant, mostly a
        # known one, and functions of one and two arguments are written out.
        for target, op, args in genome.statements:
            if len(args) == 2:
                x, y = args
                use = (
                    op,
                    get(x) or known.get(x) or operand(x),
                    get(y) or known.get(y) or operand(y),
                )
            elif len(args) == 1:
                (x,) = args
                use = (op, get(x) or known.get(x) or operand(x))
            else:
                use = (op, *[get(x) or known.get(x) or operand(x) for x in args])
            expression = known.get(use) or self._new(*use)  # pyright: ignore[reportArgumentType]
            if expression is None:
                return None
            values[target] = expression
        outputs = [get(x) or known.get(x) or operand(x) for x in genome.returned]
        for output, allowed in zip(outputs, self._allowed, strict=True):
            if output is None or output.kind not in allowed:
                return None
        return self._without_dead_state(outputs)  # pyright: ignore[reportArgumentType]

    def _without_dead_state(self, outputs: list[Expression]) -> Roots:
        update, *new = outputs
        reads, before = update.reads, 0
        while reads != before:
            before = reads
            for state, value in zip(self._states, new, strict=True):
                if reads & state:
                    reads |= value.reads
        live = [
            value if reads & state else None for state, value in zip(self._states, new, strict=True)
        ]
        return (update, *live)

    def _operand(self, argument: object) -> Expression | None:
        """A constant; None for a variable, as nothing has assigned it."""
        if argument.__class__ is str:
            return None
        key = argument or str(argument)  # 0.0 equals -0.0, but 1 / x tells them apart
        constant = self._known.get(key)
        if constant is None:
            constant = self._known[key] = Expression(Kind.SCALAR, 0)
        return constant

    def _new(self, op: OpDef, *args: Expression | None) -> Expression | None:
        """A use of a function that is not known yet; None if it is not valid."""
        kinds: list[Kind] = []
        reads = 0
        for arg in args:
            if arg is None:
                return None
            kinds.append(arg.kind)
            reads |= arg.reads
        kind = op.kind(tuple(kinds))
        if not isinstance(kind, Kind):
            return None
        expression = self._known[(op, *args)] = Expression(kind, reads)
        return expression


def _reads(roots: Roots) -> int:
    """The inputs that a program depends on: a bit for each."""
    reads = 0
    for root in roots:
        if root is not None:
            reads |= root.reads
    return reads


_SPACES: dict[int, Expressions] = {}


def expressions(inputs: tuple[Input, ...]) -> Expressions:
    """Those of genomes that have these inputs; to be asked for anew for each genome."""
    # By identity, as all genomes of a search share the tuple; the value keeps it alive.
    space = _SPACES.get(id(inputs))
    if space is None or len(space) >= REMEMBERED:
        if len(_SPACES) >= SPACES:
            _SPACES.clear()
        space = _SPACES[id(inputs)] = Expressions(inputs)
    return space
