"""Where blocks lie on meshes with explicit axes: there a block's sharding is part of its type.

On other meshes, and without one, XLA chooses, and nothing here does anything.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import core
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def are_placed_alike(a: Any, b: Any) -> bool:
    """Whether two arrays of one shape are sharded alike, as far as their types say."""
    one, other = jax.typeof(a).sharding, jax.typeof(b).sharding
    return one == other or not (_is_explicit(one) or _is_explicit(other))


def placed_like(new: Any, old: Any) -> Any:
    """An array, sharded as another of its shape."""
    sharding = jax.typeof(old).sharding
    if jax.typeof(new).sharding == sharding or not _is_explicit(sharding):
        return new
    return jax.sharding.reshard(new, sharding)


def zeros(shape: tuple[int, ...], dtype: str, beside: Sequence[Any]) -> Any:
    """Zeros, whole on each device of the mesh that other arrays are on."""
    made = jnp.zeros(shape, dtype)
    for array in beside:
        if _is_explicit(jax.typeof(array).sharding) and not isinstance(array, core.Tracer):
            return jax.device_put(made, NamedSharding(array.sharding.mesh, PartitionSpec()))
    return made


def reshaped(block: Any, shape: tuple[int, ...]) -> Any:
    """An array in another shape: whole on each device, unless the shape is its own."""
    return block if block.shape == shape else whole(block).reshape(shape)


def whole(block: Any) -> Any:
    """An array as a function of whole matrices needs it, on each device."""
    sharding = jax.typeof(block).sharding
    if not _is_explicit(sharding) or not any(sharding.spec):
        return block
    return jax.sharding.reshard(block, NamedSharding(sharding.mesh, PartitionSpec()))


def _is_explicit(sharding: Any) -> bool:
    return AxisType.Explicit in sharding.mesh.axis_types
