"""`OpDef`: all that is known of one function of the language, in one row.

A function's result is an elementwise expression of its arguments and, for reductions, of sums
over them. So `global_norm` is `sqrt(s0)`, where s0 is the sum of `square(x)` over the whole tree.
Every lowering (jitted JAX, emitted source, bytecode) is made from this one expression; the NumPy
reference `ref` is written independently, so that the two can be tested against each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from optdsl.ops.kinds import Kind, Mismatch, Rule, broadcast


class Over(Enum):
    """Which numbers `OpDef.sums` add up."""

    NOTHING = "nothing"
    """No sums: a plain elementwise function."""
    ARRAY = "array"
    """The numbers of one weight array: a sum for each."""
    TREE = "tree"
    """All numbers of the weight tree: one sum."""
    ROW = "row"
    """Along each row of the matrix view."""
    COLUMN = "column"
    """Along each column of the matrix view."""
    MATRIX = "matrix"
    """No sums: a function of the matrix views, such as `matmul`."""
    SHAPE = "shape"
    """No sums: a number that the shape of each weight array tells, such as `rank`."""


class Prop(Enum):
    """Algebraic properties, each tested in every backend.

    COMMUTATIVE and EVEN hold bitwise, NaN payloads aside. The others are properties of the
    mathematical function: they hold bitwise in the reference, the zeros of sums apart, but XLA's
    approximations may break them in the last bits.
    """

    COMMUTATIVE = "commutative"
    """f(x, y) = f(y, x): the structural hash relies on it."""
    ODD = "odd"
    """f(-x) = -f(x); the sign of zero aside for sums, as terms that cancel give 0.0."""
    EVEN = "even"
    """f(-x) = f(x)."""
    MONOTONE = "monotone"
    """x <= y gives f(x) <= f(y) on the function's domain."""


class FunctionSet(Enum):
    """The named sets of functions; the search draws from `paper` unless told otherwise."""

    PAPER = "paper"
    """Exactly the 43 of appendix H."""
    EXTENDED = "extended"
    """For people who write optimizers: not in the paper."""


@dataclass(frozen=True, eq=False)
class OpDef:
    """One function.

    Compared by identity: the table in `table.py` holds the only instance of each row.
    """

    name: str
    """What `.opt` text calls it, or its infix operator."""
    args: tuple[str, ...]
    """Names of the arguments, used in `lower` and `sums`, in documentation and in messages."""
    lower: str
    """The result as a Python expression; `{x}` is argument x, `{s0}` the first sum, `{n}` how many
    numbers were added, `xp` the array module (`jax.numpy`). Over SHAPE, where `ref` serves all
    lowerings, only the emitted source has it, with `matrix(x)` for the matrix view."""
    ref: Callable[..., Any]
    """The same in NumPy, independently: takes blocks, or, over TREE, vectors of all numbers."""
    doc: str
    """One sentence for the language reference."""
    rule: Rule = broadcast
    sums: tuple[str, ...] = ()
    """Elementwise expressions of the arguments, each added up over `over`."""
    over: Over = Over.NOTHING
    props: frozenset[Prop] = frozenset()
    sets: frozenset[FunctionSet] = frozenset({FunctionSet.PAPER})
    aliases: tuple[str, ...] = ()
    syntax: str = ""
    """How a use is written where it is not a call, such as `{x} + {y}`."""
    protected: str = ""
    """The `.opt` expression that replaces it under `--protected`; empty where the domain is all
    numbers."""
    helper: str = ""
    """The source of a Python function of `jnp` that `lower` calls; empty where it needs none."""
    torch: str = ""
    """`lower` for torch; empty where it is `lower` with `xp` for `torch`. A call of a function of
    torch's gets tensors alone, an operator tensors or Python's numbers."""
    torch_helper: str = ""
    """The source of a Python function of `torch` that `torch` calls; empty where it needs none."""
    version: int = 1
    """Part of `hash_id`: raised when the meaning changes, so that old hashes don't match."""
    kinds: dict[tuple[Kind, ...], Kind | Mismatch] = field(
        default_factory=dict[tuple[Kind, ...], Kind | Mismatch], repr=False
    )
    """What `kind` has answered so far."""

    def __reduce__(self) -> tuple[Callable[[str], "OpDef"], tuple[str]]:
        """Pickled as its name: in another process too there is one instance of each row."""
        return row_named, (self.name,)

    @property
    def hash_id(self) -> str:
        """What hashes see of the function: stable over releases."""
        return f"{self.name}/{self.version}"

    @property
    def is_choice(self) -> bool:
        """Whether it takes its third or fourth argument as the first two compare."""
        return self.args == ("a", "b", "x", "y")

    @property
    def commutative(self) -> bool:
        """Whether the two arguments may be exchanged."""
        return Prop.COMMUTATIVE in self.props

    def kind(self, kinds: tuple[Kind, ...]) -> Kind | Mismatch:
        """The result's kind for arguments of these kinds, or why there is none."""
        found = self.kinds.get(kinds)
        if found is None:
            found = self.kinds[kinds] = self.rule(kinds)
        return found

    def written(self, *args: str) -> str:
        """A use of the function in `.opt` text; the arguments are names or numbers."""
        if self.syntax:
            return self.syntax.format(**dict(zip(self.args, args, strict=True)))
        return f"{self.name}({', '.join(args)})"


def row_named(name: str) -> OpDef:
    """The table's row of that name."""
    from optdsl.ops.table import BY_NAME

    return BY_NAME[name]
