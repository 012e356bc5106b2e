"""The behavioural hash: what a program does, rounded."""

import pytest

from optdsl.backends.fingerprint import DIGITS, SCALE, SHAPES, STEPS, _inputs, behavioural_hash
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program

HEAD = "def train(w, g, m, v, lr, step, b=0.9):\n"


def parse(body: str) -> Program:
    return load(Source("<test>", HEAD + body))


def update(expression: str) -> str:
    """The hash of a program with this update, m and v being averages of g and its square."""
    body = "    m = interp(g, m, b)\n    v = interp(square(g), v, 0.99)\n"
    return behavioural_hash(parse(f"{body}    return {expression}, m, v\n"))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("lr * g", "g * lr"),
        ("g * g + w", "w + square(g)"),
        ("lr * (g + w)", "lr * g + lr * w"),  # what no normal form of ours sees
        ("g ** 2 / g", "g"),
        ("m / (sqrt(v) + 1e-12)", "m / sqrt(v)"),  # less than can be seen
        ("exp(log(v)) * lr", "lr * v"),
        ("sin(g) * sin(g)", "1 - cos(g) * cos(g)"),
        ("log(-abs(g))", "sqrt(-1 - abs(g))"),  # NaN in every place
        ("0 * g", "-0.0 * abs(g)"),
        ("interp(g, m, b)", "interp(g, m, 0.9)"),
        ("where(step > 12, g, w)", "w"),  # differs too late
        ("(1 + 1e-11) * g", "g"),
    ],
)
def test_equal_where_the_outputs_are(one: str, two: str) -> None:
    assert update(one) == update(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("lr * g", "lr * w"),
        ("lr * g", "lr * 1.001 * g"),
        ("interp(g, m, 0.9)", "interp(g, m, 0.91)"),
        ("g", "-g"),
        ("sign(g)", "g"),
        ("sin(g)", "tan(g)"),
        ("norm(g) * g", "global_norm(g) * g"),
        ("m", "g"),
        ("m", "interp(g, m, b)"),
        ("where(step > 11, g, w)", "w"),
        ("where(step == 1, g, w)", "w"),
        ("g / (w - w)", "log(-abs(g))"),  # infinities are no NaN
        ("g / (w - w)", "-g / (w - w)"),
        ("(1 + 1e-3) * g", "g"),
    ],
)
def test_different_where_the_outputs_are(one: str, two: str) -> None:
    assert update(one) != update(two)


def test_a_learning_rate_is_no_constant() -> None:
    """`lr` follows a schedule: programs that need it differ from those that don't."""
    assert update("lr * g") != update(f"{SCALE} * g")
    assert update(f"lr * g / {SCALE}") != update("g")


def test_names_layout_and_what_is_dead_do_not_matter() -> None:
    text = (
        '"""Doc."""\n\ndef train(lr, gradient, unused, β=0.9, z=3.0):\n'
        "    unused = unused + z\n    return lr * gradient * β, unused\n"
    )
    other = load(Source("<test>", text))
    assert behavioural_hash(other) == update("b * (lr * g)")


def test_hyperparameters_count_by_their_defaults() -> None:
    one, two = (load(Source("<t>", f"def train(g, c={c}):\n    return c * g\n")) for c in (1, 2))
    assert behavioural_hash(one) != behavioural_hash(two)


def test_states_are_carried_from_step_to_step() -> None:
    late = "    return {}, m + 1, v\n"
    one, two = parse(late.format("g * m")), parse(late.format("g * (step - 1)"))
    assert behavioural_hash(one) == behavioural_hash(two)


def test_scalar_and_per_array_states() -> None:
    text = "def train(g, n: {}, c: scalar):\n    n = norm(g) + n\n    return g / n + c, n, c + 1\n"
    one, two = (load(Source("<t>", text.format(kind))) for kind in ("per_array", "array"))
    assert behavioural_hash(one) == behavioural_hash(two)


def test_stable() -> None:
    """The same in every process and release; a change here is a change of every such hash."""
    assert behavioural_hash(load(find_source("sgd"))) == "6bb3033e211b22ceca81410166f89a9e"


def test_the_standard_library_is_told_apart() -> None:
    hashes = {name: behavioural_hash(load(find_source(name))) for name in stdlib()}
    by_hash: dict[str, list[str]] = {}
    for name, digest in hashes.items():
        by_hash.setdefault(digest, []).append(name)
    same = sorted(names for names in by_hash.values() if len(names) > 1)
    # By their defaults these are the same program, or their weight decays are too small to show.
    for names in same:
        assert set(names) in ({"ablation_sign", "signum"},), names


def test_the_inputs() -> None:
    weights, gradients = _inputs()
    assert [w.shape for w in weights] == list(SHAPES)
    assert len(gradients) == STEPS
    assert all(str(w.dtype) == "float64" for w in weights)
    assert DIGITS == 5
