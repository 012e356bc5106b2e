"""Patches, and flax modules as tasks."""

import jax
import numpy as np
import pytest
from flax import nnx

from optdsl.tasks import from_nnx
from optdsl.tasks.transformer import Size, VisionTransformer, patches_of


def test_patches_are_squares_row_by_row() -> None:
    images = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    patches = patches_of(images, 2)
    assert patches.shape == (2, 6, 12)
    np.testing.assert_array_equal(patches[1, 0], images[1, :2, :2].ravel())
    np.testing.assert_array_equal(patches[1, 1], images[1, :2, 2:4].ravel())
    np.testing.assert_array_equal(patches[1, 3], images[1, 2:, :2].ravel())


def test_a_patch_is_known_by_its_place() -> None:
    init, apply = from_nnx(lambda rngs: VisionTransformer(Size(8, 1, 2), (4, 3), 5, rngs))
    patches = np.random.RandomState(0).standard_normal((4, 3)).astype(np.float32)
    both = np.stack([patches, patches[::-1]])
    one, other = jax.jit(lambda key: apply(init(key), both))(jax.random.key(0))
    assert one.shape == (5,)
    assert not np.allclose(one, other)


def test_weights_are_a_tree_that_the_key_determines() -> None:
    init, apply = from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    weights = init(jax.random.key(0))
    assert sorted(leaf.shape for leaf in jax.tree.leaves(weights)) == [(2,), (3, 2)]
    kernel = weights["kernel"][...]
    x = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(apply(weights, x), x @ kernel, rtol=1e-6)
    np.testing.assert_array_equal(init(jax.random.key(0))["kernel"][...], kernel)
    assert not np.allclose(init(jax.random.key(1))["kernel"][...], kernel)


def test_state_that_is_not_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"state that is no `nnx\.Param`: `mean`"):
        from_nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs))
