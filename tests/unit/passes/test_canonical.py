"""The canonical hash: which algebra it knows, and which it must not use."""

import pytest

from optdsl.backends.fingerprint import behavioural_hash
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program
from optdsl.passes.canonical import MAX_POWER, MAX_TERMS, canonical_hash
from optdsl.passes.compare import compare
from optdsl.passes.hashing import structural_hash

HEAD = "def train(w, g, m, v, lr, step, wd=0.1):\n"


def program(expression: str) -> Program:
    """With the expression as part of its update (it may be of any kind); m and v are live."""
    return load(Source("<test>", f"{HEAD}    return g + m * v + ({expression}), g, w\n"))


EQUAL = [
    # sums: order and grouping, like terms, subtraction, negation
    ("w + g", "g + w"),
    ("w + g + m", "m + (g + w)"),
    ("(w + g) + (m + v)", "(v + g) + (w + m)"),
    ("w - g", "-1 * g + w"),
    ("w - g", "-(g - w)"),
    ("w - (g - m)", "w - g + m"),
    ("-g", "0 - g"),
    ("--g", "g"),
    ("w + w", "2 * w"),
    ("w + w + w", "3 * w"),
    ("2 * w + 3 * w", "5 * w"),
    ("w + g - w", "g"),
    ("w + 0", "w"),
    ("w - w", "0 * g"),
    ("w * g + g * w", "2 * (w * g)"),
    # products: order and grouping, powers, quotients
    ("w * g * m", "m * (g * w)"),
    ("1 * w", "w"),
    ("w * w", "square(w)"),
    ("w * w", "w ** 2"),
    ("w * w * w", "cube(w)"),
    ("square(w) * w", "w ** 3"),
    ("square(square(w))", "w ** 4"),
    ("(w * g) ** 2", "w * g * w * g"),
    ("(2 * w) ** 3", "8 * cube(w)"),
    ("(-w) ** 2", "square(w)"),
    (f"w ** {MAX_POWER}", " * ".join(["w"] * MAX_POWER)),
    ("w ** 1", "w"),
    ("w / g", "w * reciprocal(g)"),
    ("w / g", "w * g ** -1"),
    ("1 / g", "reciprocal(g)"),
    ("w / g / m", "w / (g * m)"),
    ("w / (g / m)", "w * m / g"),
    ("1 / (1 / w)", "w"),
    ("g ** -2", "1 / square(g)"),
    ("square(w / g)", "square(w) / square(g)"),
    ("g ** 0.5", "sqrt(g)"),
    ("g ** -0.5", "1 / sqrt(g)"),
    # numbers: folded, and moved through products and over sums
    ("2 * 3 * w", "6 * w"),
    ("w * (0.5 + 0.25)", "0.75 * w"),
    ("w * sqrt(4)", "2 * w"),
    ("w * get_pi()", "w * 3.141592653589793"),
    ("w / 2", "0.5 * w"),
    ("2 * (w + g)", "2 * w + 2 * g"),
    ("-(w + g)", "-w - g"),
    ("(w + g) / 4", "0.25 * w + 0.25 * g"),
    ("(2 * w + 4 * g) * m", "2 * ((w + 2 * g) * m)"),
    ("m / (2 * w + 4 * g)", "0.5 * m / (w + 2 * g)"),
    ("(w - g) * m", "-1 * ((g - w) * m)"),
    ("w * (0.1 + 0.2)", "w * 0.3"),  # to ten digits
    ("wd * w", "0.1 * w"),  # a hyperparameter counts as its default
    # interpolate
    ("interp(w, g, 0.25)", "0.75 * w + 0.25 * g"),
    ("interp(w, g, 0)", "w"),
    ("interp(w, g, 1)", "g"),
    ("interp(w, g, 0.5)", "interp(g, w, 0.5)"),
    ("interp(w, w, 0.5)", "w"),
    ("interp(w, g, lr)", "(1 - lr) * w + lr * g"),
    ("interp(w, g, 1 - lr)", "interp(g, w, lr)"),
    # functions: commuting arguments, parity
    ("maximum(w, g)", "maximum(g, w)"),
    ("dot(w, g) * m", "m * dot(g, w)"),
    ("sin(-w)", "-sin(w)"),
    ("sin(w - g)", "-sin(g - w)"),
    ("tanh(-2 * w)", "-1 * tanh(2 * w)"),
    ("cos(-w)", "cos(w)"),
    ("abs(w - g)", "abs(g - w)"),
    ("norm(w - g)", "norm(g - w)"),
    ("sign(-w) * abs(-w)", "-sign(w) * abs(w)"),
    ("sum(-w)", "-sum(w)"),
    ("log(w + w)", "log(2 * w)"),
    ("exp(w) * exp(w)", "square(exp(w))"),
    ("where(w < g, m + v, v)", "where(w < g, v + m, v)"),
]

DIFFERENT = [
    # each breaks one condition of a rule
    ("w - g", "g - w"),
    ("w + w", "3 * w"),
    ("w + w", "2 * g"),
    ("w * w", "w * g"),
    ("w ** 2", "w ** 3"),
    ("w ** 2", "2 ** w"),
    ("w ** 0.5", "w ** 0.25"),
    ("w ** 1.5", "w ** 1"),
    ("w / g", "g / w"),
    ("w / (g / m)", "w / g / m"),
    ("w - (g - m)", "w - g - m"),
    ("interp(w, g, 0.25)", "interp(g, w, 0.25)"),
    ("interp(w, g, 0.25)", "0.25 * w + 0.75 * g"),
    ("where(w < g, m, v)", "where(g < w, m, v)"),
    ("where(w < g, m, v)", "where(w < g, v, m)"),
    ("where(w < g, m, v)", "where(w <= g, m, v)"),
    ("w ** g", "g ** w"),
    ("clip(w, lr)", "clip(g, lr)"),
    ("cos(-w)", "-cos(w)"),
    ("sin(-w)", "sin(w)"),
    ("exp(-w)", "exp(w)"),
    ("exp(-w)", "-exp(w)"),
    ("abs(w - g)", "abs(w + g)"),
    ("sign(2 * w)", "2 * sign(w)"),
    ("maximum(w, g)", "minimum(w, g)"),
    ("maximum(-w, -g)", "maximum(w, g)"),
    ("norm(w)", "global_norm(w)"),
    ("0.1 * w", "0.1000001 * w"),
    ("m", "v"),
    ("lr * w", "step * w"),
    # not cancelled, not multiplied out, no root of a power
    ("w / w", "1 + 0 * w"),
    ("w / w", "g / g"),
    ("w * g / g", "w"),
    ("w * (g + m)", "w * g + w * m"),
    ("(w + g) ** 2", "w * w + 2 * w * g + g * g"),
    ("sqrt(w * w)", "abs(w)"),
    ("sqrt(w) * sqrt(w)", "w"),
    (f"w ** {MAX_POWER + 1}", " * ".join(["w"] * (MAX_POWER + 1))),
    ("exp(w) * exp(g)", "exp(w + g)"),
    ("log(exp(w))", "w"),
    ("w ** 0", "1 + 0 * w"),
]


@pytest.mark.parametrize(("one", "two"), EQUAL)
def test_equal(one: str, two: str) -> None:
    a, b = program(one), program(two)
    assert canonical_hash(a) == canonical_hash(b)
    assert behavioural_hash(a) == behavioural_hash(b), "the table itself is wrong"


@pytest.mark.parametrize(("one", "two"), DIFFERENT)
def test_different(one: str, two: str) -> None:
    assert canonical_hash(program(one)) != canonical_hash(program(two))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("global_norm(0 * w + 1)", "global_norm(1)"),
        ("sum(w - w + 2)", "sum(2)"),
        ("norm(norm(w))", "norm(norm(w) + 0 * w)"),
        ("dot(w - w + 1, g - g + 1)", "dot(1, 1)"),
        ("sum(0 * w + step)", "sum(step)"),
        ("global_norm(interp(w, w, 0) * 0 + step)", "global_norm(step)"),
    ],
)
def test_a_sum_over_an_array_is_not_that_over_a_scalar(one: str, two: str) -> None:
    """`0 * w + 1` is as many ones as there are weights; `1` is one. Terms that vanish may leave
    NaN or a zero's sign behind, but not another number."""
    a, b = program(one), program(two)
    assert behavioural_hash(a) != behavioural_hash(b)
    assert canonical_hash(a) != canonical_hash(b)


@pytest.mark.parametrize("exponent", ["1e200 * 1e200", "-1e200 * 1e200", "(1e308 * 10) * 0",
                                      "1e200 * 1e200 - 1e200 * 1e200"])  # fmt: skip
def test_numbers_beyond_doubles(exponent: str) -> None:
    """They are not folded, and must not be taken for exponents either."""
    for expression in (f"w ** ({exponent})", f"w * ({exponent})", f"w / ({exponent})",
                       f"(w + g * ({exponent})) * m", f"interp(w, g, {exponent})"):  # fmt: skip
        canonical_hash(program(expression))


@pytest.mark.parametrize("number", ["5e-324", "1e-310", "1.7e308"])
def test_numbers_at_the_ends_of_the_range(number: str) -> None:
    for expression in (f"w / ({number} * g)", f"w * {number} * {number}", f"({number} * w) ** 3",
                       f"m / ({number} * w + {number} * g)"):  # fmt: skip
        canonical_hash(program(expression))


def test_division_by_zero_is_no_crash() -> None:
    assert canonical_hash(program("w / 0")) != canonical_hash(program("w"))
    assert canonical_hash(program("w / (g - g)")) == canonical_hash(program("w / 0"))
    canonical_hash(program("1 / 0 * w + log(0)"))


def test_long_sums_become_atoms() -> None:
    terms = [f"{i + 2} * cos(w + {i})" for i in range(MAX_TERMS + 8)]
    one = program(" + ".join(terms))
    assert canonical_hash(one) == canonical_hash(program(" + ".join(terms)))
    fewer = terms[:MAX_TERMS]
    assert canonical_hash(program(" + ".join(fewer))) == canonical_hash(
        program(" + ".join(reversed(fewer)))
    )


def test_deep_products_stay_small() -> None:
    body = "    x = w + g\n" + "    x = x * (x + m)\n" * 40
    text = f"{HEAD}{body}    return x + m * v, g, w\n"
    assert canonical_hash(load(Source("<test>", text)))


def test_states_are_what_becomes_of_them() -> None:
    one = "def train(g, m, v):\n    m = m * m + g\n    v = v + g\n    return m - v, m, v\n"
    two = "def train(g, a, b):\n    a = g + a\n    b = g + square(b)\n    return -1 * a + b, a, b\n"
    a, b = (load(Source("<test>", text)) for text in (one, two))
    assert structural_hash(a) != structural_hash(b)
    assert canonical_hash(a) == canonical_hash(b)
    other = load(Source("<test>", two.replace("square", "cube")))
    assert canonical_hash(a) != canonical_hash(other)


def test_structurally_equal_is_canonically_equal() -> None:
    by_structure: dict[str, set[str]] = {}
    for expressions in EQUAL + DIFFERENT:
        for expression in expressions:
            one = program(expression)
            by_structure.setdefault(structural_hash(one), set()).add(canonical_hash(one))
    assert all(len(hashes) == 1 for hashes in by_structure.values())


def test_the_standard_library_is_told_apart() -> None:
    hashes: dict[str, list[str]] = {}
    for name in stdlib():
        hashes.setdefault(canonical_hash(load(find_source(name))), []).append(name)
    same = [names for names in hashes.values() if len(names) > 1]
    assert same in ([], [["ablation_sign", "signum"]]), "the one is a special case of the other"


# Ignoring constants.


def same(one: str, two: str, level: str = "canonical") -> bool:
    return compare(program(one), program(two), level, ignore_constants=True).equal


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("0.1 * w", "0.2 * w"),
        ("0.1 * w", "wd * w"),
        ("wd * w", "2 * (3 * w)"),
        ("w / 2", "0.3 * w"),
        ("interp(w, g, 0.1)", "interp(w, g, 0.9)"),
        ("interp(w, g, 0.1)", "0.7 * g + 0.2 * w"),
        ("interp(w, g, wd)", "interp(w, g, 1 - wd)"),
        ("cos(w + 1)", "cos(w + 2)"),
        ("w ** 0.3", "w ** wd"),
        ("w + w", "0.5 * w"),
        ("lr * w", "0.001 * lr * w"),
        ("lr * w", "lr * (0.001 * w)"),
        ("sqrt(v) + 1e-8", "1e-3 + sqrt(v)"),
        ("sqrt(v) + 1e-8", "sqrt(v) + get_eps()"),
    ],
)
def test_equal_but_for_constants(one: str, two: str) -> None:
    assert same(one, two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("0.1 * w", "0.1 * g"),
        ("0.1 * w", "w"),
        ("w + 0.1", "w"),
        ("lr * w", "w"),
        ("lr * w", "step * w"),
        ("interp(w, g, 0.1)", "w"),
        ("interp(w, g, lr)", "interp(w, g, 0.1)"),
        ("w * w", "w * g"),
        ("w / g", "g / w"),
        ("cos(w + 1)", "sin(w + 1)"),
        ("sqrt(v)", "sqrt(v) + 1e-8"),
    ],
)
def test_different_even_so(one: str, two: str) -> None:
    assert not same(one, two)


def test_zero_is_a_constant_like_any_other() -> None:
    """A weight decay of 0 by default, as in many programs, is a weight decay."""
    for level in ("structural", "canonical"):
        assert same("0.0 * w", "0.1 * w", level), level
        assert same("w + 0.0", "w + 1e-8", level), level
        assert same("interp(w, g, 0.0)", "interp(w, g, 0.5)", level), level


def test_what_is_equal_stays_so_without_constants() -> None:
    """`--ignore-constants` forgives more, never less."""
    assert [pair for pair in EQUAL if not same(*pair)] == []


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("g ** 2 + 0.1 * w", "g * g + 0.2 * w"),
        ("w - g + 0.1", "-1 * g + w + 0.2"),
        ("1 / g + 0.1 * w", "reciprocal(g) + wd * w"),
        ("sin(-w) * 0.1", "0.2 * -sin(w)"),
        ("(1 - wd) * g ** 2 + wd * v", "interp(square(g), v, 0.9)"),
        ("lr * (w + g)", "lr * (0.5 * (w + g))"),
        ("lr * (w + 0.1 * g)", "0.01 * lr * (w + 0.2 * g)"),
    ],
)
def test_algebra_holds_beside_other_constants(one: str, two: str) -> None:
    assert same(one, two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        # one constant for a sum is not one for each of its terms, nor do unknown ones cancel
        ("0.9 * (0.9 * m + g) + g", "0.9 * m + g"),
        ("0.1 * w - 0.2 * w", "w - w"),
        ("lr * w - 0.1 * lr * w", "w - w"),
        ("w - g", "w + g"),
    ],
)
def test_constants_do_not_hide_how_terms_are_built(one: str, two: str) -> None:
    assert not same(one, two)


def test_the_papers_lion() -> None:
    ours = load(find_source("lion"))
    theirs = load(Source("<paper>", (
        "def train(weight, gradient, momentum, lr):\n"
        "    update = interp(gradient, momentum, 0.9)\n    update = sign(update)\n"
        "    momentum = interp(gradient, momentum, 0.99)\n    weight_decay = weight * 0.7\n"
        "    update = update + weight_decay\n    update = update * lr\n"
        "    return update, momentum\n"
    )))  # fmt: skip
    assert compare(ours, theirs, "canonical", ignore_constants=True).equal
    assert not compare(ours, theirs, "canonical").equal


# Hashes of behaviour, beside those of form.


def test_behaviour_separates_what_differs_only_in_numbers() -> None:
    for factor in (0.1, 0.11, 0.2, -0.1, 1e-3):
        one, two = program("0.15 * w"), program(f"{factor} * w")
        assert compare(one, two, "canonical", ignore_constants=True).equal
        assert behavioural_hash(one) != behavioural_hash(two)


def test_behaviour_merges_what_is_equal_by_more_algebra() -> None:
    for one, two in (
        ("w * (g + m)", "w * g + w * m"),
        ("sqrt(w * w)", "abs(w)"),
        ("exp(w) * exp(g)", "exp(w + g)"),
        ("log(exp(w))", "w"),
    ):
        a, b = program(one), program(two)
        assert canonical_hash(a) != canonical_hash(b)
        assert behavioural_hash(a) == behavioural_hash(b)
