"""Simplification across training steps: state variables that another one makes superfluous.

Each reduction is proved by induction over the steps, on forms: states start at zero, and what is
assumed of their old values must follow for the new ones.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import permutations

from optdsl.passes.algebra.forms import Algebra, Call, Form, Group, as_number, number, scaled
from optdsl.passes.algebra.reading import Forms

Reduction = Callable[[Algebra, Forms], tuple[Forms, str] | None]
"""Gives the forms with fewer states, and why, or None where it does not apply."""

CLOSE = 1e-9
"""Coefficients that differ by less than this part are equal but for rounding."""


def reduce_states(algebra: Algebra, forms: Forms) -> tuple[Forms, list[str]]:
    """Apply the reductions until none applies; the reasons, in order."""
    reasons: list[str] = []
    forms = live(algebra, forms)
    while True:
        for reduction in REDUCTIONS:
            found = reduction(algebra, forms)
            if found is not None:
                forms = live(algebra, found[0])
                reasons.append(found[1])
                break
        else:
            return forms, reasons


def live(algebra: Algebra, forms: Forms) -> Forms:
    """Without the states that the update does not depend on."""
    wanted, before = algebra.reads(forms.update), -1
    while len(wanted) != before:
        before = len(wanted)
        for state, new in forms.new.items():
            if state in wanted:
                wanted |= algebra.reads(new)
    return Forms(forms.update, {s: new for s, new in forms.new.items() if s in wanted})


def zero_states(algebra: Algebra, forms: Forms) -> tuple[Forms, str] | None:
    """States that never leave zero: the largest set that stays zero if all of it is."""
    zero = set(forms.new)
    while zero:
        assumed: dict[int, Form] = dict.fromkeys(zero, ())
        stay = {s for s in zero if not algebra.substitute(forms.new[s], assumed)}
        if stay == zero:
            names = _names(algebra, zero)
            return _without(algebra, forms, assumed), f"always zero: {names}"
        zero = stay
    return None


def proportional_states(algebra: Algebra, forms: Forms) -> tuple[Forms, str] | None:
    """A state that is a constant multiple of another one at every step."""
    for kept, other in permutations(forms.new, 2):
        if not _alike(algebra, kept, other):
            continue
        for factor in _ratios(forms.new[other], forms.new[kept]):
            assumed = {other: scaled(algebra.leaf(kept), factor)}
            mine = algebra.substitute(forms.new[kept], assumed)
            theirs = algebra.substitute(forms.new[other], assumed)
            if close(scaled(mine, factor), theirs):
                one, two = _names(algebra, [kept]), _names(algebra, [other])
                what = "equal to" if factor == 1.0 else f"{factor:.6g} times"
                return _without(algebra, forms, assumed), f"{two} is {what} {one} at every step"
    return None


def function_states(algebra: Algebra, forms: Forms) -> tuple[Forms, str] | None:
    """A state that is a function of another one's value of the same step, and 0 where that is 0."""
    for kept, other in permutations(forms.new, 2):
        if not _alike(algebra, kept, other):
            continue
        function = _abstracted(algebra, forms.new[other], forms.new[kept], kept)
        if function is None or algebra.reads(function) != {kept}:
            continue
        if algebra.substitute(function, {kept: ()}) == ():
            one, two = _names(algebra, [kept]), _names(algebra, [other])
            reason = f"{two} is a function of {one} at every step"
            return _without(algebra, forms, {other: function}), reason
    return None


def combined_states(algebra: Algebra, forms: Forms) -> tuple[Forms, str] | None:
    """Two states that are only used as one linear combination, which renews itself."""
    for first, second in permutations(forms.new, 2):
        if not _alike(algebra, first, second):
            continue
        others = [new for state, new in forms.new.items() if state not in (first, second)]
        for ratio in _weights(algebra, [forms.update, *others], first, second):
            u = algebra.leaf(first)
            assumed = {first: algebra.add(u, scaled(algebra.leaf(second), -ratio))}
            changed = Forms(
                algebra.substitute(forms.update, assumed),
                {s: algebra.substitute(new, assumed) for s, new in forms.new.items()},
            )
            combination = algebra.add(changed.new[first], scaled(changed.new[second], ratio))
            new = {s: form for s, form in changed.new.items() if s != second}
            new[first] = combination
            if all(second not in algebra.reads(f) for f in (changed.update, *new.values())):
                one, two = _names(algebra, [first]), _names(algebra, [second])
                reason = f"{one} and {two} are only used as {one} + {ratio:.6g} * {two}"
                return Forms(changed.update, new), reason
    return None


REDUCTIONS: tuple[Reduction, ...] = (
    zero_states,
    proportional_states,
    function_states,
    combined_states,
)


def nonnegative_states(
    forms: Forms, algebra: Callable[[frozenset[int]], tuple[Algebra, Forms]]
) -> frozenset[int]:
    """The states that stay at 0 or above, as they start at 0.

    Args:
        forms: any forms of the program.
        algebra: reads the program under the assumption that some states are never negative.
    """
    assumed = frozenset(forms.new)
    while assumed:
        reader, read = algebra(assumed)
        hold = frozenset(s for s in assumed if reader.is_nonnegative(read.new[s]))
        if hold == assumed:
            break
        assumed = hold
    return assumed


def close(x: Form, y: Form) -> bool:
    """Whether two forms differ by no more than rounding of their coefficients."""
    return len(x) == len(y) and all(
        m == n and abs(c - d) <= CLOSE * max(abs(c), abs(d))
        for (m, c), (n, d) in zip(x, y, strict=True)
    )


def _without(algebra: Algebra, forms: Forms, replaced: Mapping[int, Form]) -> Forms:
    """The forms with some states replaced by others' forms and dropped."""
    return Forms(
        algebra.substitute(forms.update, replaced),
        {s: algebra.substitute(n, replaced) for s, n in forms.new.items() if s not in replaced},
    )


def _alike(algebra: Algebra, one: int, other: int) -> bool:
    """Whether one state can hold what the other does."""
    a, b = algebra.inputs[one], algebra.inputs[other]
    return (a.kind, a.dtype) == (b.kind, b.dtype)


def _names(algebra: Algebra, states: set[int] | list[int]) -> str:
    return ", ".join(f"`{algebra.inputs[state].name}`" for state in sorted(states))


def _ratios(x: Form, y: Form) -> list[float]:
    """Constant factors that x may be of y: ratios of coefficients of like terms, and 1."""
    denominators = dict(y)
    ratios = [c / denominators[m] for m, c in x if m in denominators]
    return list(dict.fromkeys([1.0, *(1.0 if abs(r - 1) < CLOSE else r for r in ratios)]))


def _weights(algebra: Algebra, outside: list[Form], first: int, second: int) -> Iterator[float]:
    """Ratios of the coefficients of two states where they stand beside each other in a sum."""
    ((one, _),), ((two, _),) = algebra.leaf(first), algebra.leaf(second)
    sums = list(outside)
    for atom in algebra.reachable(outside):
        match atom:
            case Group(form):
                sums.append(form)
            case Call(_, args, _):
                sums += args
            case _:
                pass
    seen: set[float] = set()
    for form in sums:
        coefficients = dict(form)
        for monomial, coefficient in form:
            if one[0] in monomial:
                twin = tuple(sorted([*(f for f in monomial if f != one[0]), two[0]]))
                if twin in coefficients:
                    ratio = coefficients[twin] / coefficient
                    if ratio not in seen:
                        seen.add(ratio)
                        yield ratio


def _abstracted(algebra: Algebra, form: Form, part: Form, leaf: int) -> Form | None:
    """The form as a function of a part of it, which `leaf` then stands for; None if it is none."""
    if as_number(part) is not None:
        return None
    factors, scale = algebra.as_factor(part)
    variable = scaled(algebra.leaf(leaf), 1 / scale)

    def of_form(inner: Form) -> Form | None:
        known = as_number(inner)
        if known is not None:
            return number(known)
        if close(inner, part):
            return algebra.leaf(leaf)
        monomial, coefficient = algebra.as_factor(inner)
        if len(factors) == 1 and len(monomial) == 1 and monomial[0][0] == factors[0][0]:
            power = monomial[0][1] / factors[0][1]
            return scaled(algebra.power(variable, power), coefficient)
        terms: list[Form] = []
        for term in inner if len(inner) > 1 else ():
            found = of_form((term,))
            if found is None:
                return None
            terms.append(found)
        if terms:
            return algebra.add(*terms)
        result = number(coefficient)
        for atom, n in monomial:
            call = algebra.atoms[atom]
            if isinstance(call, Group):
                base = of_form(call.form) if call.form != inner else None
            elif isinstance(call, Call) and not call.kinds:
                args = [of_form(arg) for arg in call.args]
                found = [arg for arg in args if arg is not None]
                kinds = tuple(algebra.kind(arg) for arg in found)
                base = algebra.apply(call.op, found, kinds) if len(found) == len(args) else None
            else:
                base = None
            if base is None:
                return None
            result = algebra.times(result, algebra.power(base, n))
        return result

    return of_form(form)
