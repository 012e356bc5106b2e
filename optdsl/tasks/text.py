"""`text_mlp` and `text_lm`: an MLP and a Transformer that predict the next character of a novel.

The text is a file of the package, the first volume of Jane Austen's *Persuasion*;
`data/README.md` names its source. Ten chapters are for training, the eleventh for validation, the
twelfth for the test.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from optdsl.tasks.digits import apply, mlp
from optdsl.tasks.nnx_model import from_nnx
from optdsl.tasks.task import (
    TEST,
    VALIDATION,
    PlanStep,
    Task,
    Weights,
    held_out,
    log_likelihood,
)
from optdsl.tasks.transformer import LanguageModel, Size

BATCH = 8
WINDOWS = 128
"""A held-out part is scored on so many windows, evenly spaced."""

MLP_BATCH, MLP_WINDOWS = 32, 1024
"""The same for `text_mlp`, whose windows have one character to predict."""

FEATURES = 8
"""Of a character, learned."""

Tokens: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]


@cache
def chapters() -> list[str]:
    """The twelve chapters, lower case, each paragraph a line; headings left out."""
    text = (files("optdsl.tasks") / "data" / "persuasion.txt").read_text(encoding="ascii")
    _, *found = re.split(r"Chapter \d+\n", text)
    return [
        "\n".join(" ".join(paragraph.split()) for paragraph in chapter.strip().split("\n\n"))
        for chapter in (chapter.lower() for chapter in found)
    ]


@cache
def characters() -> dict[str, Tokens]:
    """The parts as places in the text's alphabet of 49 characters."""
    parts = {"train": "\n".join(chapters()[:10]), VALIDATION: chapters()[10], TEST: chapters()[11]}
    alphabet = {character: i for i, character in enumerate(sorted(set("".join(parts.values()))))}
    return {
        part: np.asarray([alphabet[character] for character in text], np.int32)
        for part, text in parts.items()
    }


def text_mlp(name: str, doc: str, hidden: int, window: int, steps: int) -> Task:
    """The task, with the name, line and size of the table: a neural probabilistic language model
    (Bengio et al., 2003), which sees `window` characters through features learned with it."""
    parts = characters()
    train = jnp.asarray(parts["train"])
    windows = {part: _windows(parts[part], window, MLP_WINDOWS) for part in (VALIDATION, TEST)}
    vocabulary = _vocabulary(parts)

    def init(key: jax.Array) -> Weights:
        first, second = jax.random.split(key)
        features = jax.random.normal(first, (vocabulary, FEATURES))
        return {"features": features, **mlp(second, window * FEATURES, hidden, vocabulary)}

    def likelihood(weights: Weights, tokens: jax.Array) -> jax.Array:
        seen = weights["features"][tokens[:, :-1]].reshape(len(tokens), -1)
        return log_likelihood(apply(weights, seen), tokens[:, -1])

    return _next_token(name, doc, init, likelihood, train, windows, MLP_BATCH, steps, 0.01)


def _vocabulary(parts: Mapping[str, Tokens]) -> int:
    return int(max(tokens.max() for tokens in parts.values())) + 1


def text_lm(
    name: str, doc: str, width: int, layers: int, heads: int, context: int, steps: int
) -> Task:
    """The task, with the name, line and size of the table."""
    parts = characters()
    return language_model(
        name,
        doc,
        Size(width, layers, heads),
        parts,
        vocabulary=_vocabulary(parts),
        context=context,
        batch_size=BATCH,
        steps=steps,
    )


def language_model(
    name: str,
    doc: str,
    size: Size,
    parts: Mapping[str, Tokens],
    *,
    vocabulary: int,
    context: int,
    batch_size: int,
    steps: int,
    learning_rate: float = 0.01,
) -> Task:
    """Next-token prediction by a Transformer.

    The parts are `train`, `validation` and `test`, each tokens in their order, int32 of one
    dimension with values below `vocabulary`. A plan is the batch's first places in the training
    part, int32 of shape (steps, batch_size). The loss is the mean cross entropy of a batch in nats,
    the score the mean log-likelihood of the windows of a part.

    Raises `ValueError` for a part that is not longer than `context`.
    """
    for part, tokens in parts.items():
        if len(tokens) <= context:
            raise ValueError(
                f"the {part} part must have more tokens than the context of {context}: it has "
                f"{len(tokens)}"
            )
    train = jnp.asarray(parts["train"])
    windows = {part: _windows(parts[part], context, WINDOWS) for part in (VALIDATION, TEST)}
    init, logits = from_nnx(lambda rngs: LanguageModel(size, context, vocabulary, rngs))

    def likelihood(weights: Weights, window: jax.Array) -> jax.Array:
        return log_likelihood(logits(weights, window[:, :-1]), window[:, 1:])

    return _next_token(
        name, doc, init, likelihood, train, windows, batch_size, steps, learning_rate
    )


def _next_token(
    name: str,
    doc: str,
    init: Callable[[jax.Array], Weights],
    likelihood: Callable[[Weights, jax.Array], jax.Array],
    train: jax.Array,
    windows: Mapping[str, jax.Array],
    batch_size: int,
    steps: int,
    learning_rate: float,
) -> Task:
    """A task on windows of tokens, int32 of shape (n, context + 1); see `language_model`."""
    length = windows[VALIDATION].shape[1]

    def plan(key: jax.Array) -> jax.Array:
        last = len(train) - length + 1
        return jax.random.randint(key, (steps, batch_size), 0, last, jnp.int32)

    def loss(weights: Weights, starts: PlanStep) -> jax.Array:
        return -likelihood(weights, train[starts[:, None] + jnp.arange(length)])

    def score(weights: Weights, part: str) -> jax.Array:
        return likelihood(weights, held_out(windows, part))

    return Task(name, doc, steps, init, plan, loss, score, learning_rate)


def _windows(tokens: Tokens, context: int, most: int) -> jax.Array:
    """Evenly spaced: shape (n, context + 1), n at most `most`."""
    places = len(tokens) - context
    starts = np.unique(np.linspace(0, places - 1, most).astype(int))
    return jnp.asarray(tokens[starts[:, None] + np.arange(context + 1)])
