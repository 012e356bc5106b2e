"""Rules by leaf: what is known, computed and kept on each leaf, and errors that name one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optdsl
from optdsl.backends.emit import emit_source
from optdsl.backends.reference import reference_step
from optdsl.backends.torch_certificate import certify
from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.passes.by_leaf import leaf_plans

WEIGHTS = {"kernel": jnp.ones((2, 2, 3, 4)), "layers": [jnp.ones((3, 4)), jnp.ones(4)]}

TWO = """def train(w, g, m, v, c: scalar, lr):
    c = c + 1
    if rank(w) == 2:
        m = interp(g, m, 0.9)
        update = m / columns(w)
    else:
        v = interp(square(g), v, 0.9)
        update = g / (sqrt(v) + c)
    return lr * update, m, v, c
"""


def shapes(tree: Any) -> Any:
    return jax.tree.map(jnp.shape, tree)


def emitted(text: str) -> Any:
    space: dict[str, Any] = {}
    exec(emit_source(load(Source("<string>", text)), "emitted"), space)
    return space["emitted"](0.1)


def compiled(text: str) -> Any:
    return optdsl.parse(text).optimizer(0.1)


def state_of(make: Any, text: str) -> dict[str, Any]:
    state = make(text).init(WEIGHTS)
    return state.state if make is compiled else state._asdict()


@pytest.mark.parametrize("make", [compiled, emitted])
def test_a_state_has_no_bytes_on_leaves_that_do_not_need_it(make: Any) -> None:
    state, nothing = state_of(make, TWO), optax.MaskedNode()
    assert shapes(state["m"]) == {"kernel": nothing, "layers": [(3, 4), nothing]}
    assert shapes(state["v"]) == {"kernel": (2, 2, 3, 4), "layers": [nothing, (4,)]}
    assert state["c"].shape == ()


@pytest.mark.parametrize("make", [compiled, emitted])
def test_a_state_that_the_whole_tree_is_asked_for_is_kept_on_all_leaves(make: Any) -> None:
    text = TWO.replace("lr * update", "lr * update / (1 + global_norm(m))")
    assert shapes(state_of(make, text)["m"]) == shapes(WEIGHTS)


def test_both_sources_of_updates_agree() -> None:
    gradients = jax.tree.map(
        lambda w: jnp.asarray(np.arange(w.size) - 3.0).reshape(w.shape), WEIGHTS
    )
    found: list[Any] = []
    for make in (compiled, emitted):
        optimizer = make(TWO)
        updates, state = jax.jit(optimizer.update)(gradients, optimizer.init(WEIGHTS), WEIGHTS)
        updates, state = jax.jit(optimizer.update)(gradients, state, WEIGHTS)
        found.append(updates)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), *found)


OF_SHAPES = """def train(w, g, lr):
    a = sum(rank(w)) * mean(2 * rows(w))
    return lr * a * dot(rank(w), norm(g)) * mean(rank(w) * g) * g
"""


def test_sums_of_numbers_that_shapes_tell() -> None:
    leaves = [jnp.ones((2, 3)), jnp.arange(4.0)]
    found = [
        tx.update(leaves, tx.init(leaves), leaves)[0]
        for tx in (compiled(OF_SHAPES), emitted(OF_SHAPES))
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *found)
    program = load(Source("<string>", OF_SHAPES))
    assert certify(program, "of_shapes", steps=5, seeds=(0,)).agreed


CLIPPED = """def train(w, g, m, lr):
    x = where(rank(w) == 2, m, g)
    m = clip_by_global_norm(m + g, 1)
    return lr * x, m
"""


CLIPPED_IN_A_BRANCH = """def train(w, g, m, lr):
    if rank(w) == 2:
        m = clip_by_global_norm(m, 0.5) + g
    else:
        m = 2 * g
    return lr * m, m
"""


@pytest.mark.parametrize("only", ["matrices", "vectors", "both"])
@pytest.mark.parametrize("text", [CLIPPED, CLIPPED_IN_A_BRANCH])
def test_a_clipped_state_that_some_leaves_need_adds_up_all(text: str, only: str) -> None:
    leaves = {"matrices": [(3, 4)], "vectors": [(4,)], "both": [(3, 4), (4,)]}[only]
    weights = [jnp.ones(shape) for shape in leaves]
    gradients = [jnp.arange(4.0) + w for w in weights]
    program = load(Source("<string>", text))
    known: dict[str, Any] | None = None
    txs = [compiled(text), emitted(text)]
    states = [tx.init(weights) for tx in txs]
    for _ in range(3):
        wanted = reference_step(program, weights, gradients, known, 0.1)
        known = wanted.state
        for i, tx in enumerate(txs):
            for update in (tx.update, jax.jit(tx.update)):
                updates, new = update(gradients, states[i], weights)
                for mine, other in zip(updates, wanted.update, strict=True):
                    np.testing.assert_allclose(mine, -other, rtol=1e-6)
            states[i] = new
    assert certify(program, "clipped", steps=5, seeds=(0,)).agreed


def test_numbers_of_shapes_are_known_and_decide() -> None:
    program = load(Source("<string>", TWO))
    matrix, vector = leaf_plans(program, [(3, 4), (4,)])
    assert {program.name_of(value) for value in matrix.chosen} == {"m", "v", "update"}
    assert {*matrix.chosen.values()} == {2}
    assert {*vector.chosen.values()} == {3}
    assert sorted(matrix.known.values()) == [2.0, 4.0]
    m, v = program.states[:2]
    assert m in matrix.live
    assert v not in matrix.live
    assert m not in vector.live


def test_a_condition_that_is_not_known_keeps_both_sides() -> None:
    program = load(Source("<string>", TWO.replace("rank(w) == 2", "norm(w) > 2")))
    (plan,) = leaf_plans(program, [(3, 4)])
    assert not plan.chosen
    assert {*program.states} <= plan.live


LABELLED = """def train(g, m, v, lr, embedding=1):
    if label(g) == embedding:
        m = interp(g, m, 0.9)
        update = m
    else:
        v = interp(square(g), v, 0.9)
        update = g / (sqrt(v) + 1e-8)
    return lr * update, m, v
"""


def by_path(tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: int("kernel" in jax.tree_util.keystr(path)), tree
    )


def labelled(make: Any, labels: Any) -> Any:
    if make is compiled:
        return optdsl.parse(LABELLED).optimizer(0.1, labels=labels)
    space: dict[str, Any] = {}
    exec(emit_source(load(Source("<string>", LABELLED)), "emitted"), space)
    return space["emitted"](0.1, labels=labels)


@pytest.mark.parametrize("labels", [{"kernel": 1, "layers": 0}, {"kernel": 1.0, "layers": [0, 0]},
                                    by_path], ids=["prefix", "tree", "function"])  # fmt: skip
@pytest.mark.parametrize("make", [compiled, emitted])
def test_labels_choose_what_a_leaf_gets(make: Any, labels: Any) -> None:
    tx = labelled(make, labels)
    state = tx.init(WEIGHTS)
    found = state.state if make is compiled else state._asdict()
    assert [leaf.shape for leaf in jax.tree.leaves(found["m"])] == [(2, 2, 3, 4)]
    assert [leaf.shape for leaf in jax.tree.leaves(found["v"])] == [(3, 4), (4,)]
    weights = list(jax.tree.leaves(WEIGHTS))
    program = load(Source("<string>", LABELLED))
    wanted = reference_step(program, weights, weights, None, 0.1, labels=[1, 0, 0]).update
    for update in (tx.update, jax.jit(tx.update)):
        updates, _ = update(WEIGHTS, state)
        for mine, other in zip(jax.tree.leaves(updates), wanted, strict=True):
            np.testing.assert_allclose(mine, -other, rtol=1e-6)


@pytest.mark.parametrize("make", [compiled, emitted])
def test_without_labels_all_are_zero(make: Any) -> None:
    state = state_of(make, LABELLED)
    assert not jax.tree.leaves(state["m"])
    assert len(jax.tree.leaves(state["v"])) == 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"kernel": "first", "layers": 0}, "labels must be numbers, not 'first'"),
        ({"kernel": 1}, "labels must be like the weights or a prefix"),
        ({"kernel": 1, "layers": [0, 0, 0]}, "labels must be like the weights or a prefix"),
    ],
)
def test_other_labels_are_refused(labels: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        labelled(compiled, labels).init(WEIGHTS)


def test_only_a_program_that_asks_for_labels_takes_them() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'labels'"):
        optdsl.load("lion").optimizer(0.1, labels=1)


def test_torch_has_labels_in_its_groups() -> None:
    program = load(Source("<string>", LABELLED))
    assert certify(program, "labelled", steps=20, seeds=(0,)).agreed


def changed(tree: Any, leaf: Any) -> Any:
    return {**tree, "layers": [leaf, tree["layers"][1]]}


def test_a_gradient_of_another_shape_is_named_with_both_shapes() -> None:
    optimizer = compiled(TWO)
    state = optimizer.init(WEIGHTS)
    for other in (jnp.ones((4, 3)), jnp.ones(12), jnp.ones((1, 3, 4))):
        with pytest.raises(ValueError, match=r"`layers/0` has the shape .*, but .* \(3, 4\)") as at:
            optimizer.update(changed(WEIGHTS, other), state, WEIGHTS)
        assert str(other.shape) in str(at.value)


def test_a_state_of_other_weights_is_named_with_both_shapes() -> None:
    optimizer = optdsl.load("shampoo").optimizer(0.1)
    other = changed(WEIGHTS, jnp.ones((5, 4)))
    with pytest.raises(
        ValueError, match=r"`l` of `layers/0` .* \(5, 5\), .*\(3, 4\) need \(3, 3\)"
    ):
        optimizer.update(WEIGHTS, optimizer.init(other), WEIGHTS)


def test_a_missing_state_is_named() -> None:
    optimizer = compiled(TWO)
    other = changed(WEIGHTS, jnp.ones(12))
    with pytest.raises(ValueError, match=r"`m` is missing for `layers/0`.*\(3, 4\)"):
        optimizer.update(WEIGHTS, optimizer.init(other), WEIGHTS)


def test_the_only_leaf_has_no_name() -> None:
    optimizer = compiled(TWO)
    with pytest.raises(ValueError, match="the gradient of the only leaf"):
        optimizer.update(jnp.ones(3), optimizer.init(jnp.ones(2)), jnp.ones(2))


NAMED_RANK = """def train(w, g, v, lr, h=0.3):
    update = where(rank(w) == 2, g, v)
    return lr * update, where(rank(w) == 2, interp(g, v, 0.7), where(h < lr, w, g))
"""


def test_torch_compares_a_rank_that_has_a_name_of_its_own() -> None:
    program = load(Source("<string>", NAMED_RANK))
    assert certify(program, "named_rank", steps=5, seeds=(0,)).agreed
