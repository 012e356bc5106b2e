"""Inferred shapes and dtypes against those that JAX finds by abstract evaluation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from support.programs import EVERYTHING, programs
from support.running import doubles
from support.trees import leaves

from optdsl.backends import jax_lowering, tracer
from optdsl.backends.jax_lowering import apply_program, first_state
from optdsl.backends.optax_transform import optimizer_factory
from optdsl.backends.tracer import is_nothing
from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program, print_program
from optdsl.ops import Kind
from optdsl.passes.fold import default_values
from optdsl.passes.infer import infer
from optdsl.passes.live import remove_dead_state
from optdsl.passes.shapes import DtypeError, Leaf, ValueType, infer_leaves

ALL_FLOATS = ("float32", "bfloat16", "float16", "float64")

any_program = programs(EVERYTHING, state_kinds=tuple(Kind))


def abstract(leaf: Leaf) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(leaf.dtype))


def leaf_of(value: Any) -> Leaf:
    return Leaf(tuple(value.shape), str(value.dtype))


def is_no_array(block: Any) -> bool:
    """Whether a block is a number known from the leaf's shape, or not computed at all."""
    return isinstance(block, float) or is_nothing(block)


def evaluated(
    program: Program, weights: list[Leaf], gradients: list[Leaf], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[ValueType], list[Leaf], dict[str, list[Leaf | None]]]:
    """By `jax.eval_shape`: the types of all results, of the update, and of the new state."""
    results: dict[int, ValueType] = {}
    original = tracer.Tracer.apply

    def recording(self: Any, value: int, op: Any, args: Any, result: Any) -> Any:
        traced = original(self, value, op, args, result)
        blocks = traced.value if isinstance(traced.value, list) else [traced.value]
        pairs = zip(blocks, result.leaves, strict=True)
        leaves = tuple(leaf if is_no_array(block) else leaf_of(block) for block, leaf in pairs)
        results[value] = ValueType(traced.kind, leaves)
        return traced

    def step(w: Any, g: Any, rate: Any, number: Any, values: Any) -> Any:
        return apply_program(program, w, g, first_state(program, w), rate, number, values)

    given = [[abstract(leaf) for leaf in each] for each in (weights, gradients)]
    with monkeypatch.context() as patch:
        patch.setattr(tracer.Tracer, "apply", recording)
        update, state = jax.eval_shape(step, *given, 0.1, jnp.int32(1), default_values(program))
    blocks = {k: v if isinstance(v, list) else [v] for k, v in state.items()}
    new = {
        name: [None if is_nothing(block) else leaf_of(block) for block in found]
        for name, found in blocks.items()
    }
    return [results[value] for value in sorted(results)], [leaf_of(block) for block in update], new


def check(
    program: Program, weights: list[Leaf], gradients: list[Leaf], patch: pytest.MonkeyPatch
) -> None:
    types = infer_leaves(program, weights, gradients)
    results, update, state = evaluated(program, weights, gradients, patch)
    text = print_program(program)
    first = len(program.inputs)
    assert [each.kind for each in types] == infer(program)
    for value, (wanted, found) in enumerate(zip(types[first:], results, strict=True), start=first):
        assert wanted == found, f"{program.name_of(value)} in\n{text}"
    assert update == [Leaf(w.shape, g.dtype) for w, g in zip(weights, gradients, strict=True)], text
    for index in program.states:
        found = state[program.inputs[index].name]
        wanted = [f and leaf for f, leaf in zip(found, types[index].leaves, strict=True)]
        assert wanted == found, text


@settings(max_examples=100)
@given(any_program, leaves(), st.data())
def test_every_value_has_the_inferred_type(
    program: Program, weights: list[Leaf], data: st.DataObject
) -> None:
    dtypes = st.sampled_from(("float32", "bfloat16", "float16"))
    mixed = data.draw(st.booleans())
    gradients = [Leaf(w.shape, data.draw(dtypes)) if mixed else w for w in weights]
    with pytest.MonkeyPatch.context() as patch:
        # float64 is not to be had here: JAX silently stores float32.
        program = without_doubles(program)
        check(program, weights, gradients, patch)


def without_doubles(program: Program) -> Program:
    text = print_program(program).replace("float64", "float32")
    return load(Source("<string>", text))


@settings(max_examples=40)
@given(any_program, leaves(ALL_FLOATS))
def test_every_value_has_the_inferred_type_with_doubles(
    program: Program, weights: list[Leaf]
) -> None:
    with doubles(), pytest.MonkeyPatch.context() as patch:
        check(program, weights, weights, patch)


MIXED = "def train(w, g, m, v: per_row, c: scalar, lr, k=0.5):\n" + "".join(
    f"    {line}\n"
    for line in (
        "m = interp(g, m, k)",
        "v = interp(row_mean(square(g)), v, k)",
        "c = c + global_norm(g)",
        "return lr * m / (sqrt(v) + c) + norm(w) * w, m, v, c",
    )
)


class Network(nnx.Module):
    """All sorts of parameters: 1 to 4 dimensions, bfloat16 among them."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(2, 3, (3, 3), rngs=rngs)
        self.norm = nnx.LayerNorm(3, rngs=rngs)
        self.dense = nnx.Linear(3, 4, param_dtype=jnp.bfloat16, rngs=rngs)
        self.scale = nnx.Param(jnp.zeros(()))


class LinenNetwork(linen.Module):
    """The same in the older of flax's two interfaces."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.LayerNorm()(linen.Conv(3, (3, 3))(x))
        return linen.Dense(4, param_dtype=jnp.bfloat16)(x)


def parameters(which: str) -> Any:
    if which == "nnx":
        return nnx.state(nnx.eval_shape(lambda: Network(nnx.Rngs(0))), nnx.Param)
    image = jnp.zeros((1, 5, 5, 2))
    return jax.eval_shape(LinenNetwork().init, jax.random.key(0), image)["params"]


@pytest.mark.parametrize("which", ["nnx", "linen"])
@pytest.mark.parametrize("text", [MIXED, "lion", "adamw"])
def test_the_state_of_flax_models(which: str, text: str) -> None:
    from optdsl.frontend import find_source

    program = load(Source("<string>", text) if "\n" in text else find_source(text))
    tree = parameters(which)
    transformation = optimizer_factory(program)(0.1)
    state = jax.eval_shape(transformation.init, tree)
    updates, after = jax.eval_shape(transformation.update, tree, state, tree)
    assert jax.tree.structure(updates) == jax.tree.structure(tree)
    assert jax.tree.leaves(updates) == jax.tree.leaves(tree)
    assert jax.tree.leaves(after) == jax.tree.leaves(state)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    weights = [leaf_of(leaf) for leaf in jax.tree.leaves(tree)]
    assert len({len(leaf.shape) for leaf in weights}) >= 3
    wanted = remove_dead_state(program)
    types = infer_leaves(wanted, weights)
    for index in wanted.states:
        found = jax.tree.leaves(state.state[wanted.inputs[index].name])
        assert [leaf_of(leaf) for leaf in found] == list(types[index].leaves)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "bool", "float8_e4m3fn"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    program = load(Source("<string>", "def train(w, g):\n    return g\n"))
    with pytest.raises(DtypeError, match=dtype):
        infer_leaves(program, [Leaf((2,), dtype)])
    with pytest.raises(DtypeError, match=dtype):
        infer_leaves(program, [Leaf((2,), "float32")], [Leaf((2,), dtype)])


def test_python_and_numpy_weights_have_types_too() -> None:
    types = jax_lowering.leaf_types([np.zeros((2, 3), np.float32), jnp.zeros((), jnp.bfloat16)])
    assert types == [Leaf((2, 3), "float32"), Leaf((), "bfloat16")]
