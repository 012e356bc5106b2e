"""Schedules and all that optax can wrap around an optimizer: as with optax's own."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import optdsl

Make = Callable[..., optax.GradientTransformation]
"""`make(learning_rate)`."""

OPTAX: dict[str, Make] = {
    "adamw": optax.adamw,
    "lion": optax.lion,
    "momentum": partial(optax.sgd, momentum=0.9),
    "novograd": optax.novograd,  # has one number of state for each array
    "dowg": contrib.dowg,  # has scalars in its state
}

SCHEDULES: dict[str, Any] = {
    "constant": optax.constant_schedule(0.02),
    "linear": optax.linear_schedule(0.05, 0.001, 10),
    "exponential": optax.exponential_decay(0.05, 4, 0.5, staircase=True),
    "cosine": optax.cosine_decay_schedule(0.05, 10, alpha=0.1),
    "polynomial": optax.polynomial_schedule(0.05, 0.01, 2.0, 6, transition_begin=2),
    "piecewise": optax.piecewise_constant_schedule(0.05, {3: 0.5, 7: 0.1}),
    "warm-up": optax.warmup_cosine_decay_schedule(0.0, 0.05, 4, 12),
    "one cycle": optax.cosine_onecycle_schedule(12, 0.05),
    "restarts": optax.sgdr_schedule(
        [
            {"init_value": 0.01, "peak_value": 0.05, "decay_steps": 5, "warmup_steps": 2},
            {"init_value": 0.01, "peak_value": 0.03, "decay_steps": 6, "warmup_steps": 1},
        ]
    ),
    "joined": optax.join_schedules([optax.constant_schedule(0.1), lambda n: 0.1 / (n + 1)], [4]),
    "a function": lambda count: 0.05 / jnp.sqrt(count + 1),
    "a function to a Python float": lambda count: 0.02,
}

KERNELS = {"dense": {"kernel": True, "bias": False}, "scale": False}
LABELS = {"dense": {"kernel": "decayed", "bias": "plain"}, "scale": "frozen"}


def is_matrix(weights: Any) -> Any:
    return jax.tree.map(lambda w: jnp.ndim(w) == 2, weights)


def partition(make: Make) -> optax.GradientTransformation:
    rules = {
        "decayed": optax.chain(optax.add_decayed_weights(0.1), make(0.02)),
        "plain": make(optax.linear_schedule(0.05, 0.01, 8)),
        "frozen": optax.set_to_zero(),
    }
    return optax.partition(rules, LABELS)


def labels_by_function(make: Make) -> optax.GradientTransformation:
    return optax.multi_transform(
        {True: make(0.01), False: make(0.05)}, lambda weights: is_matrix(weights)
    )


def several_together(make: Make) -> optax.GradientTransformation:
    inner = optax.partition(
        {"decayed": make(0.01), "plain": make(0.02), "frozen": make(0.0)}, LABELS
    )
    inner = optax.chain(optax.clip_by_global_norm(1.0), inner)
    return optax.apply_if_finite(optax.MultiSteps(inner, 2).gradient_transformation(), 3)


def every(period: int) -> Callable[..., Any]:
    return lambda step, *_, **__: step % period == 0


WRAPPERS: dict[str, Callable[[Make], Any]] = {
    "none": lambda make: make(0.02),
    "chain, clipped": lambda make: optax.chain(optax.clip_by_global_norm(0.5), make(0.02)),
    "chain, decayed": lambda make: optax.chain(optax.add_decayed_weights(0.1), make(0.02)),
    "chain, decayed after": lambda make: optax.chain(make(0.02), optax.add_decayed_weights(-0.01)),
    "chain, clipped by number": lambda make: optax.chain(optax.clip(0.2), make(0.02)),
    "chain, clipped adaptively": lambda make: optax.chain(
        optax.adaptive_grad_clip(0.1), make(0.02)
    ),
    "chain, scaled": lambda make: optax.chain(
        make(1.0), optax.scale_by_schedule(optax.linear_schedule(0.05, 0.0, 10))
    ),
    "chain, averaged": lambda make: optax.chain(make(0.02), optax.ema(0.5)),
    "chain, of two": lambda make: optax.chain(make(0.2), make(0.1)),
    "chain, centralized": lambda make: optax.chain(optax.centralize(), make(0.02)),
    "chain, nonnegative": lambda make: optax.chain(make(0.02), optax.keep_params_nonnegative()),
    "chain, on plateau": lambda make: optax.chain(
        make(0.02), contrib.reduce_on_plateau(patience=1, factor=0.5, cooldown=1)
    ),
    "chain, every second step": lambda make: optax.chain(optax.apply_every(2), make(0.02)),
    "chain, without NaN": lambda make: optax.chain(optax.zero_nans(), make(0.02)),
    "named chain": lambda make: optax.named_chain(
        ("clip", optax.clip_by_global_norm(0.5)), ("inner", make(0.02)), ("scale", optax.scale(2.0))
    ),
    "partition": partition,
    "multi_transform": labels_by_function,
    "masked": lambda make: optax.masked(make(0.02), KERNELS),
    "masked by function": lambda make: optax.masked(make(0.02), is_matrix),
    "selective": lambda make: optax.selective_transform(make(0.02), freeze_mask=KERNELS),
    "frozen": lambda make: optax.chain(make(0.02), optax.freeze(KERNELS)),
    "MultiSteps": lambda make: optax.MultiSteps(make(0.02), 3).gradient_transformation(),
    "MultiSteps, summed": lambda make: optax.MultiSteps(
        make(0.02), lambda step: jnp.where(step < 2, 2, 4), use_grad_mean=False
    ).gradient_transformation(),
    "MultiSteps, skipping": lambda make: optax.MultiSteps(
        make(0.02), 2, should_skip_update_fn=optax.skip_not_finite
    ).gradient_transformation(),
    "apply_if_finite": lambda make: optax.apply_if_finite(make(0.02), 5),
    "conditionally_transform": lambda make: optax.conditionally_transform(make(0.02), every(3)),
    "conditionally_mask": lambda make: optax.conditionally_mask(make(0.02), every(2)),
    "flatten": lambda make: optax.flatten(make(0.02)),
    "with_extra_args_support": lambda make: optax.with_extra_args_support(make(0.02)),
    "several together": several_together,
    "schedule_free": lambda make: contrib.schedule_free(make(0.02), 0.02, b1=0.9),
    "mechanize": lambda make: contrib.mechanize(make(1.0), s_init=0.01),
    "sam": lambda make: contrib.sam(make(0.02), optax.sgd(0.05), sync_period=2),
}

ALL_PROGRAMS = ("none", "partition", "masked", "MultiSteps", "apply_if_finite", "several together")
"""Tried with every program of OPTAX, the others with adamw."""

SPOILED = {"chain, without NaN", "MultiSteps, skipping", "apply_if_finite", "several together"}
"""Run with a NaN in the gradients of some steps."""

TOLERANCE = {"schedule_free": 2e-4, "mechanize": 2e-4}
"""Where differences of weights, rounded to their last bits, are compared."""


def compare(
    train: Any, assert_close: Any, name: str, wrap: Callable[[Make], Any], **options: Any
) -> None:
    rtol = options.pop("rtol", 1e-5)
    ours = train(wrap(optdsl.load(name).optimizer), **options)
    theirs = train(wrap(OPTAX[name]), **options)
    assert_close(ours[:2], theirs[:2], rtol)
    leaves = jax.tree.leaves(ours.weights)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert max(np.ptp(leaf, axis=0).max() for leaf in leaves) > 1e-4, "nothing moved"


@pytest.mark.parametrize(
    ("wrapper", "name"),
    [
        (wrapper, name)
        for wrapper in WRAPPERS
        for name in OPTAX
        if wrapper in ALL_PROGRAMS or name == "adamw"
    ],
)
def test_wrapper(train: Any, assert_close: Any, wrapper: str, name: str) -> None:
    options: dict[str, Any] = {"rtol": TOLERANCE.get(wrapper, 1e-5)}
    if wrapper in SPOILED:
        options["spoiled"] = (2, 3, 7)
    if wrapper == "chain, on plateau":
        options["value"] = True
    compare(train, assert_close, name, WRAPPERS[wrapper], **options)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule(train: Any, assert_close: Any, schedule: str) -> None:
    compare(train, assert_close, "adamw", lambda make: make(SCHEDULES[schedule]))


def test_a_schedule_of_a_hyperparameter(train: Any, assert_close: Any) -> None:
    schedules = {"b1": lambda count: 0.9 - 0.02 * count, "weight_decay": SCHEDULES["linear"]}
    ours = train(optdsl.load("adamw").optimizer(0.02, **schedules))
    injected = train(optax.inject_hyperparams(optax.adamw)(0.02, **schedules))
    assert_close(ours[:2], injected[:2])


def test_a_learning_rate_in_an_array(train: Any, assert_equal: Any) -> None:
    make = optdsl.load("lion").optimizer
    expected = train(make(0.02))
    for rate in (np.float32(0.02), np.asarray(0.02), jnp.asarray(0.02)):
        assert_equal(train(make(rate)), expected)


def test_hyperparameters_in_arrays(train: Any, assert_close: Any) -> None:
    make = optdsl.load("adamw").optimizer
    expected = train(make(0.02, b1=0.8, weight_decay=0.1))
    given = train(make(0.02, b1=jnp.asarray(0.8), weight_decay=np.float64(0.1)))
    assert_close(given, expected)


def test_extra_arguments_are_ignored(weights: Any, gradient: Any, assert_equal: Any) -> None:
    tx = optdsl.load("adamw").optimizer(0.01)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    gradients, state = gradient(weights, 0), tx.init(weights)
    plain = tx.update(gradients, state, weights)
    extra = tx.update(
        gradients, state, weights, value=1.0, grad=None, value_fn=loss_of_nothing, tag=3
    )
    assert_equal(extra, plain)


def loss_of_nothing() -> float:
    return 0.0


def test_lookahead(gradient: Any, weights: Any, assert_close: Any) -> None:
    def run(make: Make) -> Any:
        tx = optax.lookahead(make(0.05), sync_period=3, slow_step_size=0.5)
        both = optax.LookaheadParams.init_synced(weights)
        state = tx.init(both)
        update = jax.jit(tx.update)
        for step in range(8):
            updates, state = update(gradient(both.fast, step), state, both)
            both = optax.apply_updates(both, updates)
        return both

    for name in ("adamw", "lion"):
        assert_close(run(optdsl.load(name).optimizer), run(OPTAX[name]))


def test_split_real_and_imaginary(assert_close: Any) -> None:
    """The way to train complex weights, which a program refuses."""
    start = jnp.asarray([1 + 2j, -0.5j, 3.0], jnp.complex64)

    def run(make: Make) -> Any:
        tx = contrib.split_real_and_imaginary(make(0.05))
        w, state = start, tx.init(start)
        for _ in range(5):
            updates, state = jax.jit(tx.update)((w - (1 - 1j)), state, w)
            w = optax.apply_updates(w, updates)
        return w.real, w.imag

    for name in ("adamw", "momentum"):
        assert_close(run(optdsl.load(name).optimizer), run(OPTAX[name]))


def test_schedule_free_eval_params(train: Any, assert_close: Any) -> None:
    def run(make: Make) -> Any:
        found = train(contrib.schedule_free(make(0.05, b1=0.0), 0.05, b1=0.9))
        last = jax.tree.map(lambda w: jnp.asarray(w[-1]), found.weights)
        return contrib.schedule_free_eval_params(found.state, last)

    assert_close(run(optdsl.load("adamw").optimizer), run(optax.adamw), rtol=1e-4)


def test_the_tools_for_states(weights: Any, gradient: Any) -> None:
    """`optax.tree.get`, `set` and `map_params` find what is in the state."""
    tx = optax.chain(optax.clip(1.0), optdsl.load("dowg").optimizer(0.01))
    _, state = tx.update(gradient(weights, 0), tx.init(weights), weights)
    assert optax.tree.get(state, "count") == 1
    assert optax.tree.get(state, "squares") > 0
    assert optax.tree.get(optax.tree.set(state, squares=4.0), "squares") == 4.0

    doubled = optax.tree.map_params(tx, lambda leaf: 2 * leaf, state)
    before, after = state[1], doubled[1]
    assert after.count == 1
    assert after.state["squares"] == before.state["squares"]
    np.testing.assert_array_equal(after.state["w0"]["scale"], 2 * before.state["w0"]["scale"])
