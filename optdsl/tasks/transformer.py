"""Transformers (Vaswani et al., 2017) with their layer norms first, as GPT-2 and ViT have them.

Two models share the blocks: one that predicts the next token (Radford et al., 2019), and one that
classifies images (ViT, Dosovitskiy et al., 2021) by the mean of its tokens instead of a class token
(Beyer et al., 2022). The feed-forward layer is four times as wide as the model.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

POSITION = jax.nn.initializers.normal(0.02)


@dataclass(frozen=True)
class Size:
    """What a Transformer's blocks are made of."""

    width: int
    """A multiple of `heads`."""
    layers: int
    heads: int


class Block(nnx.Module):
    """Attention, then a feed-forward layer, each added to what it reads."""

    def __init__(self, size: Size, rngs: nnx.Rngs) -> None:
        self.norm_1 = nnx.LayerNorm(size.width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(size.heads, size.width, decode=False, rngs=rngs)
        self.norm_2 = nnx.LayerNorm(size.width, rngs=rngs)
        self.up = nnx.Linear(size.width, 4 * size.width, rngs=rngs)
        self.down = nnx.Linear(4 * size.width, size.width, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Shape (n, tokens, width) gives that shape."""
        x = x + self.attention(self.norm_1(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm_2(x))))


class Blocks(nnx.Module):
    """Learned positions, the blocks, and a last layer norm."""

    def __init__(self, size: Size, tokens: int, rngs: nnx.Rngs) -> None:
        self.position = nnx.Param(POSITION(rngs.params(), (tokens, size.width)))
        self.blocks = nnx.List([Block(size, rngs) for _ in range(size.layers)])
        self.norm = nnx.LayerNorm(size.width, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Shape (n, tokens, width) gives that shape."""
        x = x + self.position[...]
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


class LanguageModel(nnx.Module):
    """Each token's successor, from the tokens up to it."""

    def __init__(self, size: Size, context: int, vocabulary: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Embed(vocabulary, size.width, rngs=rngs)
        self.blocks = Blocks(size, context, rngs)
        self.head = nnx.Linear(size.width, vocabulary, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Integers of shape (n, context) give logits of shape (n, context, vocabulary)."""
        hidden = self.blocks(self.embedding(tokens), nnx.make_causal_mask(tokens))
        return self.head(hidden)


class VisionTransformer(nnx.Module):
    """An image's class, from its patches."""

    def __init__(self, size: Size, patches: tuple[int, int], classes: int, rngs: nnx.Rngs) -> None:
        tokens, numbers = patches
        self.embedding = nnx.Linear(numbers, size.width, rngs=rngs)
        self.blocks = Blocks(size, tokens, rngs)
        self.head = nnx.Linear(size.width, classes, rngs=rngs)

    def __call__(self, patches: jax.Array) -> jax.Array:
        """Floats of shape (n, *patches) give logits of shape (n, classes)."""
        return self.head(jnp.mean(self.blocks(self.embedding(patches)), axis=1))


def patches_of(images: Any, side: int) -> Any:
    """Cut images into square patches.

    Args:
        images: shape (n, height, width, channels); NumPy or JAX.
        side: of a patch; divides height and width.

    Returns:
        Shape (n, patches, side * side * channels), row by row.
    """
    n, height, width, channels = images.shape
    cut = images.reshape(n, height // side, side, width // side, side, channels)
    return cut.swapaxes(2, 3).reshape(n, -1, side * side * channels)
