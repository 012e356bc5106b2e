"""From normal forms to a program of few statements.

A sum is written in the cheapest of these ways: what its terms share is taken out; it is written
from another sum that is written anyway (0.81 * m + 1.9 * g as 0.9 * (0.9 * m + g) + g); two terms
whose coefficients add up to 1 are an `interp`.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from optdsl.ir import Builder, Program, Role
from optdsl.ops import BY_NAME, Kind, Over, castable
from optdsl.passes.algebra.forms import (
    NOISE,
    Algebra,
    Atom,
    Call,
    Form,
    Group,
    Leaf,
    Monomial,
    as_number,
    scaled,
)
from optdsl.passes.algebra.reading import Forms
from optdsl.passes.live import remove_dead_code

Operand = int | float


class UnwritableForm(ValueError):
    """The forms lost the arrays whose sizes they need, and no input has these."""


def write_program(algebra: Algebra, forms: Forms, doc: str) -> Program:
    """The program that computes the forms; its inputs are the algebra's but for dropped states.

    Raises:
        UnwritableForm: if a value's kind can't be had.
    """
    return _Writer(algebra, forms).program(doc)


class _Writer:
    def __init__(self, algebra: Algebra, forms: Forms) -> None:
        self.algebra, self.forms = algebra, forms
        kept = [
            i
            for i, entry in enumerate(algebra.inputs)
            if entry.role is not Role.STATE or i in forms.new
        ]
        self.inputs: dict[int, int] = {old: new for new, old in enumerate(kept)}
        self.builder = Builder(tuple(algebra.inputs[i] for i in kept))
        self.kinds: list[Kind] = [algebra.inputs[i].kind for i in kept]
        self.known: dict[Form, Operand] = {}
        self.uses: dict[tuple[str, tuple[str, ...]], int] = {}
        self.writing: set[Form] = set()
        self.sums = self._sums()

    def program(self, doc: str) -> Program:
        """All outputs: the update first, so that it reads the states' old values."""
        update = self._of_kind(self.write(self.forms.update), Kind.ARRAY)
        outputs: list[Operand] = [update]
        for state, form in self.forms.new.items():
            value = self.write(form)
            if not castable(self._kind(value), self.algebra.inputs[state].kind):
                raise UnwritableForm
            outputs.append(value)
        return remove_dead_code(self.builder.finish(outputs, doc))

    def write(self, form: Form) -> Operand:
        """A value with that form."""
        value = as_number(form)
        if value is not None:
            return _readable(value)
        if form not in self.known:
            self.writing.add(form)
            self.known[form] = self._product(form) if len(form) == 1 else self._sum(form)
            self.writing.discard(form)
        return self.known[form]

    def _sums(self) -> list[Form]:
        """The sums that are written in any case: of states, as arguments and as factors."""
        roots = [self.forms.update, *self.forms.new.values()]
        found: dict[Form, None] = dict.fromkeys(self.forms.new.values())
        for atom in self.algebra.reachable(roots):
            match atom:
                case Group(form):
                    found[form] = None
                case Call(_, args, _):
                    found.update(dict.fromkeys(args))
                case _:
                    pass
        return [form for form in found if len(form) > 1]

    def _sum(self, form: Form) -> Operand:
        shared = self.algebra.shared(form)
        inner = self.algebra.divided(form, shared) if shared else form
        parts = self._parts(inner)
        scale = self._scale(parts, shared)
        if len(parts) > 1 or shared:
            parts = [
                part._replace(coefficient=_snapped(part.coefficient / scale)) for part in parts
            ]
            total = self._chain(parts)
            return self._multiplied(tuple(sorted(shared.items())), scale, total)
        return self._part(parts[0], parts[0].coefficient)

    def _parts(self, form: Form) -> list["_Part"]:
        """A sum as a sum of products of single terms and other sums, the cheapest found."""
        direct = _cost(form)
        best: tuple[int, _Part, Form] | None = None
        for part in self._factorings(form):
            assert part.sum is not None
            product = self.algebra.times(((part.monomial, part.coefficient),), part.sum)
            rest = self.algebra.add(form, scaled(product, -1.0))
            written = 0 if part.sum in self.sums else _cost(part.sum)
            cost = written + len(part.monomial) + (abs(part.coefficient) != 1.0)
            cost += _cost(rest) + 1 if rest else 0
            if cost < direct and (best is None or cost < best[0]):
                best = cost, part, rest
        if best is None:
            return [_Part(c, m, None) for m, c in self._ordered(form)]
        _, part, rest = best
        return [part, *(self._parts(rest) if rest else ())]

    def _factorings(self, form: Form) -> Iterator["_Part"]:
        """Products of a term and a sum that may stand for some of a sum's terms."""
        for other in self.sums:
            if other in self.writing:
                continue
            seen: set[tuple[Monomial, float]] = set()
            for monomial, coefficient in form:
                for inner, c in other:
                    quotient = _quotient(monomial, inner), coefficient / c
                    if quotient not in seen and len(quotient[0]) <= len(monomial):
                        seen.add(quotient)
                        yield _Part(_snapped(quotient[1]), quotient[0], other)
        for factor in dict.fromkeys(factor for monomial, _ in form for factor in monomial):
            having = tuple(term for term in form if factor in term[0])
            if 1 < len(having) < len(form):
                shared = self.algebra.shared(having)
                inner = self.algebra.divided(having, shared)
                yield _Part(1.0, tuple(sorted(shared.items())), inner)

    def _chain(self, parts: list["_Part"]) -> Operand:
        """Part by part, those with equal coefficients together; what is subtracted last."""
        blend = self._blend(parts)
        if blend is not None:
            return blend
        sizes: dict[float, list[_Part]] = {}
        for part in parts:
            sizes.setdefault(part.coefficient, []).append(part)
        added: list[Operand] = []
        subtracted: list[Operand] = []
        for coefficient, equal in sizes.items():
            size = abs(coefficient)
            together = len(equal) > 1 and size != 1.0
            if together and all(part.monomial or part.sum for part in equal):
                values = [self._scaled(self._added([self._part(p, 1.0) for p in equal]), size)]
            else:
                values = [self._part(part, size) for part in equal]
            (added if coefficient > 0.0 else subtracted).extend(values)
        if not added:
            return self._negative(parts)
        result = self._added(added)
        for value in subtracted:
            result = self._op("-", result, value)
        return result

    def _negative(self, parts: list["_Part"]) -> Operand:
        """A sum of negative parts: one that is multiplied anyway takes the sign."""
        first = next((part for part in parts if part.coefficient != -1.0), None)
        if first is None:
            return self._op("*", -1.0, self._added([self._part(part, 1.0) for part in parts]))
        result = self._part(first, first.coefficient)
        for part in parts:
            if part is not first:
                result = self._op("-", result, self._part(part, -part.coefficient))
        return result

    def _blend(self, parts: list["_Part"]) -> Operand | None:
        """Two parts whose coefficients add up to 1: the old value, or the weightier, comes last."""
        if len(parts) != 2 or any(part.monomial == () and part.sum is None for part in parts):
            return None
        x, y = parts
        if abs(x.coefficient + y.coefficient - 1.0) > NOISE:
            return None
        old = self._is_state(x), self._is_state(y)
        if old[0] if old[0] != old[1] else abs(x.coefficient) > abs(y.coefficient):
            x, y = y, x
        return self._op("interpolate", self._part(x, 1.0), self._part(y, 1.0), y.coefficient)

    def _part(self, part: "_Part", coefficient: float) -> Operand:
        if part.sum is None:
            return self.write(((part.monomial, coefficient),))
        return self._multiplied(part.monomial, coefficient, self.write(part.sum))

    def _added(self, values: list[Operand]) -> Operand:
        result = values[0]
        for value in values[1:]:
            result = self._op("+", result, value)
        return result

    def _ordered(self, form: Form) -> list[tuple[Monomial, float]]:
        """The terms for reading: numbers last, and before them those of the weights."""

        def rank(term: tuple[Monomial, float]) -> tuple[int, Monomial]:
            monomial, _ = term
            direct = [self.algebra.atoms[atom] for atom, _ in monomial]
            of_weights = any(
                isinstance(atom, Leaf) and self._role(atom.value) is Role.WEIGHT for atom in direct
            )
            return (2 if not monomial else int(of_weights)), monomial

        return sorted(form, key=rank)

    def _scale(self, parts: list["_Part"], shared: dict[int, float]) -> float:
        """The constant to take out of a sum whose common factors are taken out."""
        sizes = [part.coefficient for part in parts]
        multiplied = sum(abs(size) != 1.0 for size in sizes)
        total = sum(sizes)
        averages = min(sizes) * max(sizes) > 0.0 and any(map(self._is_state, parts))
        if len(parts) == 2 and averages and (shared or multiplied == 2):
            return total if abs(total - 1.0) > NOISE else 1.0
        if not shared:
            return 1.0
        if len({abs(size) for size in sizes}) == 1:
            return sizes[0]
        rates = [self.algebra.atoms[atom] for atom in shared]
        if not any(
            isinstance(a, Leaf) and self._role(a.value) is Role.LEARNING_RATE for a in rates
        ):
            return 1.0
        first = abs(sizes[0]) if max(sizes) > 0.0 else sizes[0]
        after = sum(abs(_snapped(size / first)) != 1.0 for size in sizes)
        return first if after < multiplied else 1.0

    def _product(self, form: Form) -> Operand:
        ((monomial, coefficient),) = form
        return self._multiplied(monomial, coefficient, None)

    def _multiplied(self, monomial: Monomial, coefficient: float, more: Operand | None) -> Operand:
        """The product of powers, a number, and another value: scalars first, then a quotient."""
        above: list[Operand] = []
        below: list[Operand] = []
        for (name, exponent), bases in self._bases(monomial).items():
            side = above if exponent > 0.0 else below
            if not name and abs(exponent) == 1.0:
                side += bases
                continue
            base = self._op(name, self._all(bases)) if name else self._all(bases)
            side.append(self._power(base, abs(exponent)))
        if more is not None:
            above.append(more)
        above.sort(key=self._kind)
        below.sort(key=self._kind)
        if coefficient != 1.0 and (above or not below):
            above.insert(0, coefficient)
        if not below:
            return self._all(above)
        return self._op("/", self._all(above) if above else coefficient, self._all(below))

    def _bases(self, monomial: Monomial) -> dict[tuple[str, float], list[Operand]]:
        """What is raised to each power; `abs` and `sign` are taken of whole products."""
        found: dict[tuple[str, float], list[Operand]] = {}
        for number_, exponent in monomial:
            atom = self.algebra.atoms[number_]
            if isinstance(atom, Call) and atom.op.name in ("abs", "sign"):
                name, value = atom.op.name, self._argument(atom.op.name, atom.args[0])
            else:
                name, value = "", self._atom(atom)
            found.setdefault((name, exponent), []).append(value)
        return found

    def _argument(self, name: str, form: Form) -> Operand:
        """The argument of `abs` or `sign`; to the latter, what is written anyway and a positive
        multiple of it is as good."""
        if name == "sign" and len(form) > 1:
            for other in self.forms.new.values():
                ratio = dict(other).get(form[0][0], 0.0) / form[0][1]
                if ratio > 0.0 and not self.algebra.add(other, scaled(form, -ratio)):
                    return self.write(other)
            if min(c for _, c in form) > 0.0:
                form = scaled(form, 1.0 / sum(c for _, c in form))
        return self.write(form)

    def _atom(self, atom: Atom) -> Operand:
        match atom:
            case Leaf(value):
                return self.inputs[value]
            case Group(form):
                return self.write(form)
            case Call(op, args, kinds):
                values = [self.write(arg) for arg in args]
                if op.over is not Over.NOTHING:
                    values = [self._of_kind(v, kind) for v, kind in zip(values, kinds, strict=True)]
                return self._op(op.name, *values)

    def _power(self, base: Operand, exponent: float) -> Operand:
        names = {0.5: "sqrt", 2.0: "square", 3.0: "cube"}
        if exponent == 1.0:
            return base
        if exponent in names:
            return self._op(names[exponent], base)
        if exponent == 4.0:
            return self._op("square", self._op("square", base))
        return self._op("power", base, exponent)

    def _all(self, factors: list[Operand]) -> Operand:
        result = factors[0]
        for factor in factors[1:]:
            result = self._op("*", result, factor)
        return result

    def _scaled(self, value: Operand, factor: float) -> Operand:
        return value if abs(factor - 1.0) < NOISE else self._op("*", factor, value)

    def _op(self, name: str, *args: Operand) -> Operand:
        """A use of a function, written once."""
        args = tuple(_readable(arg) if isinstance(arg, float) else arg for arg in args)
        key = (name, tuple(map(repr, args)))
        if key not in self.uses:
            op = BY_NAME[name]
            kind = op.kind(tuple(map(self._kind, args)))
            if not isinstance(kind, Kind):
                raise UnwritableForm
            self.uses[key] = self.builder.add(op, list(args))
            self.kinds.append(kind)
        return self.uses[key]

    def _kind(self, value: Operand) -> Kind:
        return self.kinds[value] if isinstance(value, int) else Kind.SCALAR

    def _of_kind(self, value: Operand, kind: Kind) -> Operand:
        """The value, made as large as it must be by adding zeros of that size."""
        if self._kind(value) == kind:
            return value
        roles = (Role.WEIGHT, Role.GRADIENT, Role.STATE)
        for i, entry in enumerate(self.builder.inputs):
            if entry.kind == kind and entry.role in roles:
                return self._op("+", self._op("*", 0.0, i), value)
        raise UnwritableForm

    def _role(self, value: int) -> Role:
        return self.algebra.inputs[value].role

    def _is_state(self, part: "_Part") -> bool:
        atoms = [self.algebra.atoms[atom] for atom, _ in part.monomial]
        return any(isinstance(a, Leaf) and self._role(a.value) is Role.STATE for a in atoms)


class _Part(NamedTuple):
    """A coefficient times a monomial times a sum, if there is one."""

    coefficient: float
    monomial: Monomial
    sum: Form | None


def _cost(form: Form) -> int:
    """About how many statements a sum takes, written term by term."""
    if len(form) == 2 and abs(form[0][1] + form[1][1] - 1.0) < NOISE and all(m for m, _ in form):
        return 1 + sum(len(monomial) - 1 for monomial, _ in form)
    return len(form) - 1 + sum(max(0, len(m) - 1) + (abs(c) != 1.0 and m != ()) for m, c in form)


def _quotient(monomial: Monomial, by: Monomial) -> Monomial:
    powers = dict(monomial)
    for atom, n in by:
        powers[atom] = powers.get(atom, 0.0) - n
    return tuple((atom, n) for atom, n in sorted(powers.items()) if n)


def _readable(value: float) -> float:
    """0.02 for 0.020000000000000004: without what rounding left in the last digits."""
    short = float(f"{value:.8g}")
    return short if abs(short - value) <= 1e-14 * abs(value) else value


def _snapped(value: float) -> float:
    """1 or -1 where it is that but for rounding."""
    return math.copysign(1.0, value) if abs(abs(value) - 1.0) < NOISE else value
