"""The novel, its parts, and windows of tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optdsl.tasks import from_nnx, get_task
from optdsl.tasks.text import chapters, characters, language_model
from optdsl.tasks.transformer import LanguageModel, Size

SIZE = Size(width=4, layers=1, heads=2)


def test_the_text_is_complete() -> None:
    found = chapters()
    assert len(found) == 12
    assert found[0].startswith("sir walter elliot, of kellynch hall, in somersetshire, was a man")
    assert found[-1].endswith("he was off.\n(end of volume one.)")
    assert not any("\n\n" in one or "  " in one for one in found)


def test_the_parts_share_an_alphabet_and_nothing_else() -> None:
    parts = characters()
    assert {part: len(tokens) for part, tokens in parts.items()} == {
        "train": len("\n".join(chapters()[:10])),
        "validation": len(chapters()[10]),
        "test": len(chapters()[11]),
    }
    assert set(np.concatenate(list(parts.values()))) == set(range(49))


def test_a_batch_is_windows_of_the_training_part() -> None:
    """With a model that knows nothing the loss is what guessing costs, wherever windows begin."""
    tokens = np.arange(40, dtype=np.int32) % 5
    parts = {"train": tokens, "validation": tokens[:9], "test": tokens}
    task = language_model("mine", "", SIZE, parts, vocabulary=5, context=8, batch_size=64, steps=20)
    plan = np.asarray(task.plan(jax.random.key(0)))
    assert (plan.shape, plan.min(), plan.max()) == ((20, 64), 0, 40 - 8 - 1)

    @jax.jit
    def guessing(batch: jax.Array) -> tuple[jax.Array, jax.Array]:
        weights = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(1)))
        return task.loss(weights, batch), task.score(weights, "validation")

    loss, score = guessing(plan[0])
    assert loss == pytest.approx(np.log(5))
    assert score == pytest.approx(-np.log(5))


def test_the_mlp_sees_what_stands_before_a_character_and_not_that() -> None:
    task = get_task("text_mlp")
    weights = task.init(jax.random.key(0))
    text = "\n".join(chapters()[:10])
    (starts,) = np.asarray(task.plan(jax.random.key(1)))[:1]
    assert starts.shape == (32,)
    assert starts.max() <= len(text) - 4

    def slope(window: np.ndarray) -> np.ndarray:
        return np.abs(jax.grad(task.loss)(weights, window)["features"]).sum(axis=1)

    for start in starts[:3]:
        seen = {sorted(set("\n".join(chapters()))).index(c) for c in text[start : start + 3]}
        assert set(np.flatnonzero(slope(starts[starts == start]))) == seen


def test_a_part_shorter_than_the_context_is_refused() -> None:
    tokens = np.zeros(9, np.int32)
    with pytest.raises(ValueError, match="the test part must have more tokens than the context"):
        language_model(
            "mine", "", SIZE, {"train": tokens, "validation": tokens, "test": tokens[:8]},
            vocabulary=5, context=8, batch_size=1, steps=1,
        )  # fmt: skip


def test_later_tokens_do_not_help() -> None:
    """A model that saw what it is to predict would have a loss of 0."""
    init, apply = from_nnx(lambda rngs: LanguageModel(SIZE, 16, 50, rngs))
    tokens = jnp.arange(16) % 7
    both = jnp.stack([tokens, tokens.at[10:].set(20)])
    one, other = jax.jit(lambda key: apply(init(key), both))(jax.random.key(0))
    np.testing.assert_array_equal(one[:10], other[:10])
    assert not np.allclose(one[10], other[10])
