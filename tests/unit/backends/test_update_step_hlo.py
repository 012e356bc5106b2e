"""The compiled step of every stdlib program writes weights and states in place, without copies."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.donated_step import compiled_step

import optdsl
from optdsl.backends.emit import emit_source
from optdsl.backends.jax_lowering import after
from optdsl.frontend import find_source, load, stdlib

SIZE = 70_001
"""Of an array: no other number in the compiled text."""


def transformation(name: str, emitted: bool) -> Any:
    """The optimizer of a stdlib program, from the library or from the source that it emits."""
    factory = optdsl.load(name).optimizer
    if emitted:
        module: dict[str, Any] = {}
        exec(emit_source(load(find_source(name)), name), module)
        factory = module[name]
    return factory(learning_rate=1e-3)


def full_copies(text: str) -> int:
    """The copies of whole arrays in a compiled text, of a vector's columns too."""
    return len(re.findall(rf"= f32\[(?:1,)?{SIZE}\]\S* copy\(", text))


@pytest.mark.parametrize("emitted", [False, True], ids=["library", "emitted"])
@pytest.mark.parametrize("name", stdlib())
def test_donated_arrays_are_not_copied(name: str, emitted: bool) -> None:
    weights = [jnp.ones(SIZE), jnp.ones(SIZE)]
    step = compiled_step(transformation(name, emitted), weights)
    assert full_copies(step.as_text()) == 0
    assert step.memory_analysis().alias_size_in_bytes >= 2 * 4 * SIZE


def test_optax_lion_is_copied_so_that_the_count_means_something() -> None:
    assert full_copies(compiled_step(optax.lion(1e-3), [jnp.ones(SIZE)]).as_text()) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
@pytest.mark.parametrize("shape", [(), (0,), (6,)])
def test_after_is_its_first_argument_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    odd = jnp.array([jnp.nan, -jnp.nan, jnp.inf, -jnp.inf, -0.0, 1e-45])
    new = odd if shape == (6,) else jnp.full(shape, -0.0)
    earlier = jnp.full(shape, -1).astype(dtype) if dtype == "int32" else new.astype(dtype)
    assert np.asarray(jax.jit(after)(new, earlier)).tobytes() == np.asarray(new).tobytes()
