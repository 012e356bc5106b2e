"""The rewrite rules beyond arithmetic: one table, one line for each rule, in `.opt` syntax.

A rule's left side is a product of factors; it is found in any product that has these factors, in
whatever order and among whatever others. `x` and `y` stand for anything, `a` and `b` for scalars,
`p` and `q` for positive ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program
from optdsl.ops import OPS, Kind, Prop
from optdsl.passes.algebra.forms import Algebra, Call, Form, Leaf, Monomial, number
from optdsl.passes.algebra.reading import read_values

NAMES = ("x", "y", "a", "b", "p", "q")
POSITIVE = ("p", "q")
VARIABLES = "x, y, a: scalar, b: scalar, p: scalar, q: scalar"


class Level(IntEnum):
    """How far a rewritten program may differ from what it was."""

    EXACT = 0
    """In nothing: bitwise equal."""
    FINITE = 1
    """In rounding, the sign of zero, and where one of the two is not finite."""
    APPROX = 2
    """Also where numbers leave a float's range on the way, or what is inverted loses digits."""

    def __str__(self) -> str:
        return self.name.lower()


Bindings = dict[int, Form]
"""What the variables stand for."""


@dataclass(frozen=True)
class Rule:
    """`left => right`."""

    left: str
    right: str
    level: Level

    @property
    def text(self) -> str:
        """The rule as it is shown."""
        return f"{self.left} => {self.right}"

    def rewrite(self, algebra: Algebra, powers: Mapping[int, float]) -> Form | None:
        """The product rewritten, or None where the rule does not fit it."""
        pattern, monomial = self._pattern
        if not self._ops <= _called(algebra, powers):
            return None
        for bindings, left in _match_product(pattern, list(monomial), algebra, dict(powers), {}):
            rest = [algebra.power(algebra.factor(atom), n) for atom, n in left.items() if n]
            return algebra.times(self._replacement(algebra, bindings), *rest)
        return None

    def _side(self, text: str) -> Program:
        """One side, as the new value of the last state."""
        names = ", ".join(NAMES)
        source = f"def train({VARIABLES}, side):\n    return x, {names}, {text}\n"
        return load(Source(f"<rule {self.text}>", source))

    @cached_property
    def _right(self) -> Program:
        return self._side(self.right)

    @cached_property
    def _pattern(self) -> tuple[Algebra, Monomial]:
        """The left side: functions before variables, so that these are bound by arguments."""
        left = self._side(self.left)
        algebra = Algebra(left.inputs, (), frozenset())
        form = read_values(algebra, left)[left.outputs[-1]][1]
        ((monomial, coefficient),) = form
        assert coefficient == 1.0, self.text
        ordered = sorted(monomial, key=lambda factor: isinstance(algebra.atoms[factor[0]], Leaf))
        return algebra, tuple(ordered)

    @cached_property
    def _ops(self) -> frozenset[str]:
        """The functions that a product must have as factors."""
        algebra, monomial = self._pattern
        return _called(algebra, dict(monomial))

    def _replacement(self, algebra: Algebra, bindings: Bindings) -> Form:
        """The right side of what the variables stand for."""
        nothing: Form = ()
        forms = [bindings.get(i, nothing) for i in range(len(self._right.inputs))]
        inputs = [(algebra.kind(form), form) for form in forms]
        values = read_values(algebra, self._right, inputs)
        result = self._right.outputs[-1]
        return values[result][1] if result >= 0 else number(self._right.constants[~result])


def _called(algebra: Algebra, powers: Mapping[int, float]) -> frozenset[str]:
    found = (algebra.atoms[atom] for atom in powers)
    return frozenset(atom.op.name for atom in found if isinstance(atom, Call))


def _match_product(
    pattern: Algebra,
    factors: list[tuple[int, float]],
    algebra: Algebra,
    powers: dict[int, float],
    bound: Bindings,
) -> Iterator[tuple[Bindings, dict[int, float]]]:
    """Ways to find some factors in a product: the bindings, and what is left of the product."""
    if not factors:
        yield bound, powers
        return
    (wanted, exponent), *others = factors
    for atom, n in powers.items():
        if n * exponent <= 0.0 or abs(n) < abs(exponent):
            continue
        if n != exponent and not (n.is_integer() and exponent.is_integer()):
            continue
        for found in _match_atom(pattern, wanted, algebra, atom, bound):
            left = {**powers, atom: n - exponent}
            yield from _match_product(pattern, others, algebra, left, found)


def _match_atom(
    pattern: Algebra, wanted: int, algebra: Algebra, atom: int, bound: Bindings
) -> Iterator[Bindings]:
    shape = pattern.atoms[wanted]
    if isinstance(shape, Leaf):
        yield from _bind(pattern, shape, algebra, algebra.inner(atom), bound)
        return
    found = algebra.atoms[atom]
    if not isinstance(shape, Call) or not isinstance(found, Call) or shape.op is not found.op:
        return
    orders = [found.args, found.args[::-1]] if shape.op.commutative else [found.args]
    for args in orders:
        states = [bound]
        for form, arg in zip(shape.args, args, strict=True):
            states = [
                new for old in states for new in _match_form(pattern, form, algebra, arg, old)
            ]
        yield from states


def _match_form(
    pattern: Algebra, wanted: Form, algebra: Algebra, form: Form, bound: Bindings
) -> Iterator[Bindings]:
    match wanted:
        case [([(atom, 1.0)], 1.0)] if isinstance(leaf := pattern.atoms[atom], Leaf):
            yield from _bind(pattern, leaf, algebra, form, bound)
        case [(monomial, 1.0)] if len(form) == 1 and form[0][1] == 1.0:
            powers = dict(form[0][0])
            for found, left in _match_product(pattern, list(monomial), algebra, powers, bound):
                if not any(left.values()):
                    yield found
        case _:
            if wanted == form == ():
                yield bound


def _bind(
    pattern: Algebra, leaf: Leaf, algebra: Algebra, form: Form, bound: Bindings
) -> Iterator[Bindings]:
    if leaf.value in bound:
        if bound[leaf.value] == form:
            yield bound
        return
    variable = pattern.inputs[leaf.value]
    if variable.kind == Kind.SCALAR and algebra.kind(form) != Kind.SCALAR:
        return
    if variable.name not in POSITIVE or algebra.is_positive(form):
        yield {**bound, leaf.value: form}


E, F, A = Level.EXACT, Level.FINITE, Level.APPROX

_INVERSES = (
    ("log", "exp"), ("log2", "exp2"), ("log10", "exp10"), ("log1p", "expm1"), ("exp", "log"),
    ("exp2", "log2"), ("exp10", "log10"), ("expm1", "log1p"), ("sin", "arcsin"),
    ("cos", "arccos"), ("tan", "arctan"), ("sinh", "arcsinh"), ("arcsinh", "sinh"),
    ("tanh", "arctanh"), ("arctanh", "tanh"), ("cosh", "arccosh"),
)  # fmt: skip
"""f(g(x)) = x wherever g(x) is finite."""

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("x / abs(x)", "sign(x)", F),
    Rule("abs(x) / x", "sign(x)", F),
    Rule("sign(x) * abs(x)", "x", F),
    Rule("x * sign(x)", "abs(x)", F),
    Rule("abs(x) / sign(x)", "x", F),
    Rule("x / sign(x)", "abs(x)", F),
    Rule("cube(sign(x))", "sign(x)", E),
    Rule("sign(x) * abs(sign(x))", "sign(x)", E),
    Rule("1 / sign(x)", "sign(x)", F),
    Rule("square(abs(x))", "square(x)", E),
    Rule("1 / square(abs(x))", "1 / square(x)", E),
    Rule("square(square(sign(x)))", "square(sign(x))", E),
    Rule("sign(sign(x))", "sign(x)", E),
    *(Rule(f"sign({op.name}(x))", "sign(x)", F)
      for op in OPS if op.props >= {Prop.ODD, Prop.MONOTONE} and op.name not in ("sign", "cube")),
    Rule("sign(clip_by_global_norm(x, p))", "sign(x)", F),
    *(Rule(f"{outer}({inner}(x))", "x", A) for outer, inner in _INVERSES),
    Rule("cbrt(cube(x))", "x", F),
    Rule("cube(cbrt(x))", "x", F),
    Rule("arccosh(cosh(x))", "abs(x)", A),
    Rule("exp(x) * exp(y)", "exp(x + y)", A),
    Rule("exp2(x) * exp2(y)", "exp2(x + y)", A),
    Rule("exp10(x) * exp10(y)", "exp10(x + y)", A),
    Rule("exp(x) / exp(y)", "exp(x - y)", A),
    Rule("sin(x) / cos(x)", "tan(x)", F),
    Rule("sinh(x) / cosh(x)", "tanh(x)", A),
    Rule("maximum(x, x)", "x", E),
    Rule("minimum(x, x)", "x", E),
    Rule("maximum(x, minimum(x, y))", "x", F),
    Rule("minimum(x, maximum(x, y))", "x", F),
    Rule("maximum(x, maximum(x, y))", "maximum(x, y)", E),
    Rule("minimum(x, minimum(x, y))", "minimum(x, y)", E),
    Rule("interpolate(x, x, a)", "x", F),
    Rule("interpolate(x, interpolate(x, y, a), b)", "interpolate(x, y, a * b)", F),
    Rule("interpolate(interpolate(x, y, a), y, b)", "interpolate(x, y, a + b - a * b)", F),
    Rule("square(global_norm(x))", "dot(x, x)", A),
    Rule("sqrt(dot(x, x))", "global_norm(x)", F),
    Rule("cosine_sim(x, x)", "1", F),
    Rule("clip_by_global_norm(clip_by_global_norm(x, p), q)",
         "clip_by_global_norm(x, minimum(p, q))", F),
    Rule("clip_by_global_norm(x, p) / global_norm(clip_by_global_norm(x, p))",
         "x / global_norm(x)", F),
    Rule("where(a < b, x, x)", "x", E),
    Rule("where(a <= b, x, x)", "x", E),
    Rule("where(a == b, x, x)", "x", E),
)
# fmt: on


def rules_up_to(level: Level) -> tuple[Rule, ...]:
    """The rules of a level and those that are stricter."""
    return tuple(rule for rule in RULES if rule.level <= level)
