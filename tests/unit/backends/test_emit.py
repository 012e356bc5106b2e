"""Emitted source does what the jitted lowering does, and no text can steer it elsewhere."""

import ast
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.stages import MATRICES, STAGES

from optdsl.backends.emit import emit_source, safe_identifier
from optdsl.backends.optax_transform import optimizer_factory
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program

ROOT = Path(__file__).parents[3]
PAPER = {p.stem: str(p) for p in sorted((ROOT / "examples" / "paper").glob("*.opt"))}
STEPS = 4


def text(source: str) -> Program:
    return load(Source("<test>", source))


def emitted(program: Program, name: str = "emitted") -> Any:
    """The factory that the emitted source defines."""
    module: dict[str, Any] = {"__name__": "emitted_module"}
    exec(emit_source(program, name), module)  # what is tested
    return module[name]


def tree(seed: int, dtypes: tuple[Any, ...] = (jnp.float32,)) -> Any:
    """A nested tree with leaves of 0 to 4 dimensions."""
    shapes = [(), (3,), (2, 4), (2, 1, 3), (2, 2, 1, 3)]
    random = np.random.RandomState(seed)
    leaves = [
        jnp.asarray(random.standard_normal(shape), dtypes[i % len(dtypes)])
        for i, shape in enumerate(shapes)
    ]
    return {"a": leaves[0], "b": [leaves[1], (leaves[2],)], "c": {"d": leaves[3], "e": leaves[4]}}


def trajectory(tx: Any, weights: Any, dtypes: tuple[Any, ...]) -> list[Any]:
    """The updates and the live state of some steps, under jit."""
    state, update, found = tx.init(weights), jax.jit(tx.update), []
    for step in range(STEPS):
        updates, state = update(tree(100 + step, dtypes), state, weights)
        weights = optax.apply_updates(weights, updates)
        found.append(updates)
    assert update._cache_size() == 1
    return found


def assert_same(a: list[Any], b: list[Any], tolerance: float) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        scale = float(np.max(np.abs(np.nan_to_num(np.asarray(x, np.float64))), initial=0.0))
        np.testing.assert_allclose(
            np.asarray(x, np.float64), np.asarray(y, np.float64), tolerance, tolerance * scale
        )


@pytest.mark.parametrize("name", [*stdlib(), *PAPER])
def test_float32_updates_agree(name: str) -> None:
    program = load(find_source(PAPER.get(name, name)))
    ours, theirs = optimizer_factory(program)(0.01), emitted(program)(0.01)
    f32 = (jnp.float32,)
    # Fusion differs by an ulp here and there, which differences of weights amplify.
    assert_same(trajectory(ours, tree(0), f32), trajectory(theirs, tree(0), f32), 2e-4)


@pytest.mark.parametrize("source", [MATRICES, STAGES])
@pytest.mark.parametrize(
    "dtypes", [(jnp.float32,), (jnp.bfloat16,), (jnp.float32, jnp.bfloat16, jnp.float16)]
)
def test_matrices_and_stages_agree_in_all_dtypes(source: str, dtypes: tuple[Any, ...]) -> None:
    program = text(source)
    ours, theirs = optimizer_factory(program)(0.01), emitted(program)(0.01)
    weights = tree(1, dtypes)
    tolerance = 1e-5 if dtypes == (jnp.float32,) else 0.05
    assert_same(trajectory(ours, weights, dtypes), trajectory(theirs, weights, dtypes), tolerance)


def test_stored_dtypes_and_kinds_of_state() -> None:
    program = text("def train(g, m: bfloat16, c: per_array[float16], lr):\n"
                   "    m = m + g * c\n    return lr * m, m, norm(g)\n")  # fmt: skip
    state = emitted(program)(0.1).init(tree(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(state.m)} == {jnp.dtype(jnp.bfloat16)}
    assert {(x.shape, x.dtype.name) for x in jax.tree.leaves(state.c)} == {((), "float16")}
    ours, theirs = optimizer_factory(program)(0.1), emitted(program)(0.1)
    f32 = (jnp.float32,)
    assert_same(trajectory(ours, tree(0), f32), trajectory(theirs, tree(0), f32), 1e-6)


def test_state_has_no_weak_types_and_only_live_fields() -> None:
    program = load(find_source(PAPER["program_8"]))
    tx = emitted(program)(0.1)
    _, state = tx.update(tree(1), tx.init(tree(0)), tree(0))
    assert state._fields == ("count", "v")
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))
    assert state.count.dtype == jnp.int32


def test_an_empty_tree() -> None:
    program = text(STAGES)
    tx = emitted(program)(0.1)
    updates, _ = tx.update({}, tx.init({}), {})
    assert updates == {}


def test_schedules_and_injected_hyperparameters() -> None:
    program = load(find_source("adamw"))
    schedule = optax.linear_schedule(0.1, 0.0, 10)
    f32 = (jnp.float32,)
    ours, theirs = optimizer_factory(program)(schedule), emitted(program)(schedule)
    assert_same(trajectory(ours, tree(0), f32), trajectory(theirs, tree(0), f32), 1e-5)
    ours = optax.inject_hyperparams(optimizer_factory(program))(0.1, b1=0.5)
    theirs = optax.inject_hyperparams(emitted(program))(0.1, b1=0.5)
    assert_same(trajectory(ours, tree(0), f32), trajectory(theirs, tree(0), f32), 1e-5)


def test_weights_are_asked_for() -> None:
    tx = emitted(load(find_source("lion")))(0.1)
    with pytest.raises(ValueError, match="pass them as `params`"):
        tx.update(tree(1), tx.init(tree(0)))


def test_arithmetic_of_hyperparameters_alone_does_not_raise() -> None:
    program = text("def train(g, lr, a=0.0, b=1e300):\n"
                   "    return lr * g * (1 / a) + reciprocal(a) * b ** b * (b * b)\n")  # fmt: skip
    tx = emitted(program)(0.1)
    tx.update(tree(1), tx.init(tree(0)))


HOSTILE_NAMES = (
    "jnp", "jax", "optax", "state", "updates", "params", "count", "structure", "scalar", "cast",
    "leaf", "steps", "list", "zip", "sum", "print", "exec", "old", "new", "rate", "self", "x",
    "NamedTuple", "init_fn", "update_fn", "extra_args", "match", "_", "_private", "λ", "terms",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("role", ["state", "variable", "hyperparameter"])
def test_names_never_collide_with_the_sources_own(name: str, role: str) -> None:
    source = {
        "state": f"def train(w, g, {name}, lr):\n    {name} = {name} + clip(g, 1)\n"
        f"    return lr * {name} + w, {name}\n",
        "variable": f"def train(w, g, lr):\n    {name} = dot(w, g)\n    return lr * g * {name}\n",
        "hyperparameter": f"def train(w, g, lr, {name}=0.5):\n    return lr * g * {name} + w\n",
    }[role]
    program = text(source)
    f32 = (jnp.float32,)
    ours, theirs = optimizer_factory(program)(0.1), emitted(program)(0.1)
    assert_same(trajectory(ours, tree(0), f32), trajectory(theirs, tree(0), f32), 1e-5)


@pytest.mark.parametrize(
    "doc",
    [
        "plain",
        "it's \\ ''' \\n \\u0041 trouble",
        'ends with a quote"',
        "ends with a backslash\\",
        "\nimport os\nos.abort()\n",
        "{braces} %s %(x)s {0}",
        "x" * 500,
        '"""\nraise SystemExit\n"""\x00\u202e',
        'ends with three quotes"""',
        'a quote, then a space" ',
        *("x" * length + "\\N{DASH}\\x4" for length in range(85, 95)),
        *("x" * length + '"' * 9 for length in range(80, 96, 5)),
    ],
)
def test_docstrings_stay_docstrings(doc: str) -> None:
    plain = text("def train(g, lr):\n    return lr * g\n")
    hostile = Program(**{**vars_of(plain), "doc": doc})
    assert skeleton(emit_source(hostile, "a")) == skeleton(emit_source(plain, "a"))


def vars_of(program: Program) -> dict[str, Any]:
    names = ("inputs", "constants", "operations", "outputs", "doc")
    return {name: getattr(program, name) for name in names}


def skeleton(source: str) -> str:
    """The syntax tree without its docstrings' texts."""
    module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(module)


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("lion", "lion"),
        ("my-lion 2", "my_lion_2"),
        ("2fast", "optimizer_2fast"),
        ("class", "class_"),
        ("jnp", "jnp_"),
        ("", "optimizer"),
        ("; import os", "import_os"),
        ("__init__", "init__"),
        ("𝐣𝐧𝐩", "jnp_"),
        ("ﬁrst", "first"),
    ],
)
def test_module_names_become_identifiers(name: str, identifier: str) -> None:
    assert safe_identifier(name) == identifier
    ast.parse(emit_source(text("def train(g, lr):\n    return lr * g\n"), name))


def test_arrays_without_numbers_have_rows_and_columns_too() -> None:
    body = "    r = interp(row_mean(square(g)), r, 0.9)\n    return lr * g / r, r\n"
    weights = {"a": jnp.ones((3, 0)), "b": jnp.ones(0), "c": jnp.ones((0, 3)), "d": jnp.ones(())}
    tx = emitted(text(f"def train(g, r: per_row, lr):\n{body}"))(0.1)
    updates, state = tx.update(weights, tx.init(weights))
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, weights)
    assert [leaf.shape for leaf in jax.tree.leaves(state.r)] == [(3, 1), (1, 1), (0, 1), (1, 1)]


DECAYS = """def train(w, g, m, lr, decay=0.0, other=0.0):
    g = w * decay + g
    m = interp(g, m, 0.9)
    return lr * (sign(m) + other * w), m
"""


@pytest.mark.parametrize("decay", [0, 0.5, jnp.float32(0.5), lambda count: 0.5])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_weight_decay_of_zero_reads_no_weights(decay: Any, dtype: Any) -> None:
    weights, gradients = [jnp.asarray([1.0, -3.0])], [jnp.asarray([0.1, 0.3], dtype)]
    if callable(decay):  # a schedule
        make = optax.inject_hyperparams(emitted(text(DECAYS)))
        twin = optimizer_factory(text(DECAYS))
    else:
        make, twin = emitted(text(DECAYS)), optimizer_factory(text(DECAYS))
    found: list[Any] = []
    for tx in (make(0.1, decay=decay), twin(0.1, decay=decay)):
        state = tx.init(weights)
        for _ in range(2):
            updates, state = jax.jit(tx.update)(gradients, state, weights)
        found.append(updates)
    assert_same(found[0], found[1], 1e-6)


@pytest.mark.parametrize(("decay", "arrays"), [(0, 5), (0.5, 6)])
def test_the_arrays_that_a_weight_decay_costs(decay: float, arrays: int) -> None:
    """Read for the new momentum, and written; that one read for the update, which is written."""
    tx, x = emitted(text(DECAYS))(0.1, decay=decay), jnp.ones(1 << 16)

    def step(state: Any, gradient: Any, weights: Any) -> Any:
        return tx.update(gradient, state, weights)

    cost = jax.jit(step).lower(tx.init(x), x, x).compile().cost_analysis()
    assert cost["bytes accessed"] == pytest.approx(arrays * x.nbytes, rel=0.01)
