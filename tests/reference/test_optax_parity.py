"""Each program of the standard library that optax has, against optax: 100 steps in float32.

The defaults run on the whole nested tree, other hyperparameters on two arrays of it, to save time.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from optax import contrib
from support.donated_step import compiled_step

import optdsl
from optdsl.frontend import stdlib

Options = dict[str, float]


@dataclass(frozen=True)
class Row:
    """A program, what it is in optax, and how to run the two."""

    name: str
    optax: Callable[..., Any]
    rate: float
    first: Options = field(default_factory=dict)
    """Hyperparameters other than the defaults, named as in the program."""
    second: Options = field(default_factory=dict)
    """Others, run with a schedule."""
    renamed: Callable[..., dict[str, Any]] = lambda **options: options
    """From the program's hyperparameters to optax's."""
    schedule: bool = True
    """Whether optax takes a schedule."""
    amplification: float = 1.0
    """By how much more than others it amplifies rounding errors: Newton-Schulz multiplies small
    singular values by 3.4 in each of five iterations. `test_matrix_optimizers.py` compares in
    double precision."""
    updates_of_weights: bool = False
    """Whether optax's update is a difference of weights, so exact to a last bit of the weights:
    optax.contrib.schedule_free_adamw, jitted and not, differs from itself by 2.4e-7, in updates of
    0.01."""

    @property
    def tolerance(self) -> dict[str, Any]:
        """What `assert_same` takes."""
        names = ("updates_of_weights", "amplification")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        return self.name


@functools.wraps(optax.rprop)
def prompt_rprop(*args: Any, **kwargs: Any) -> optax.GradientTransformation:
    """optax.rprop without its delay: it keeps the update that it should give for the next step.

    https://github.com/google-deepmind/optax/pull/1725
    """
    inner = optax.rprop(*args, **kwargs)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        _, state = inner.update(updates, state, params)
        return jax.tree.map(lambda moved: -moved, state[0].prev_updates), state

    return optax.GradientTransformation(inner.init, update)


def heuristic(init_step: float = 1e-6, **options: float) -> dict[str, Any]:
    return {"init_step": ("heuristic", init_step), **options}


def betas(b1: float = 0.9, b2: float = 0.999, **options: float) -> dict[str, Any]:
    return {"betas": (b1, b2), **options}


ADAM = {"b1": 0.8, "b2": 0.95, "eps": 2e-3}
ADAM_2 = {"b1": 0.95, "b2": 0.9, "eps": 2e-6}
DECAY, DECAY_2 = {"weight_decay": 0.1}, {"weight_decay": 0.01}

# fmt: off
TABLE = (
    Row("acprop", contrib.acprop, 0.01,
        {"b1": 0.8, "b2": 0.95, "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1},
        {"b1": 0.95, "b2": 0.9, "eps": 1e-8, "eps_root": 1e-8, "weight_decay": 0.01}),
    Row("adabelief", optax.adabelief, 0.01, ADAM | {"eps_root": 1e-4}, ADAM_2 | {"eps_root": 1e-8}),
    Row("adadelta", optax.adadelta, 1.0,
        {"rho": 0.8, "eps": 1e-4, "weight_decay": 0.1},
        {"rho": 0.95, "eps": 1e-5, "weight_decay": 0.01}),
    Row("adafactor", optax.adafactor, 0.01,
        {"min_dim_size_to_factor": 2, "decay_rate": 0.7, "clipping_threshold": 0.5, "eps": 1e-6},
        {"min_dim_size_to_factor": 3, "decay_rate": 0.9, "clipping_threshold": 2.0, "eps": 1e-3}),
    Row("adagrad", optax.adagrad, 0.1,
        {"initial_accumulator_value": 1.0, "eps": 1e-3},
        {"initial_accumulator_value": 0.0, "eps": 1e-5}),
    Row("adam", optax.adam, 0.01, ADAM, ADAM_2),
    Row("adamax", optax.adamax, 0.01, ADAM, ADAM_2),
    Row("adamaxw", optax.adamaxw, 0.01, ADAM | DECAY, ADAM_2 | DECAY_2),
    Row("adamw", optax.adamw, 0.01, ADAM | DECAY, ADAM_2 | DECAY_2),
    Row("adan", optax.adan, 0.01,
        {"b1": 0.9, "b2": 0.8, "b3": 0.95, "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1},
        {"b1": 0.95, "b2": 0.9, "b3": 0.9, "eps": 1e-6, "eps_root": 1e-6, "weight_decay": 0.01}),
    Row("ademamix", contrib.ademamix, 0.01,
        ADAM | DECAY | {"b3": 0.99, "alpha": 2.0}, ADAM_2 | DECAY_2 | {"b3": 0.999, "alpha": 8.0}),
    Row("adopt", contrib.adopt, 0.01, ADAM, ADAM_2),
    Row("amsgrad", optax.amsgrad, 0.01, ADAM, ADAM_2),
    Row("cocob", contrib.cocob, 1.0,
        {"alpha": 20.0, "eps": 1e-3, "weight_decay": 0.1},
        {"alpha": 200.0, "eps": 1e-6, "weight_decay": 0.01}),
    Row("dadapt_adamw", contrib.dadapt_adamw, 0.5,
        ADAM | DECAY | {"estim_lr0": 1e-3}, ADAM_2 | DECAY_2 | {"estim_lr0": 1e-4}, renamed=betas),
    Row("dog", contrib.dog, 1.0,
        {"init_step": 1e-3, "eps": 1e-3}, {"init_step": 1e-4, "eps": 1e-6}, renamed=heuristic),
    Row("dowg", contrib.dowg, 1.0,
        {"init_estim_sq_dist": 1e-3, "eps": 1e-3}, {"init_estim_sq_dist": 1e-2, "eps": 1e-6}),
    Row("fromage", optax.fromage, 0.1, {"min_norm": 0.5}, {"min_norm": 1e-3}),
    Row("lamb", optax.lamb, 0.01, ADAM | DECAY, ADAM_2 | DECAY_2),
    Row("lars", optax.lars, 1.0,
        {"weight_decay": 0.1, "trust_coefficient": 0.002, "eps": 1e-3, "momentum": 0.8},
        {"weight_decay": 0.01, "trust_coefficient": 0.003, "eps": 1e-6, "momentum": 0.5}),
    Row("lion", optax.lion, 0.01,
        {"b1": 0.95, "b2": 0.98, "weight_decay": 0.1},
        {"b1": 0.8, "b2": 0.9, "weight_decay": 0.01}),
    Row("madgrad", contrib.madgrad, 0.01,
        {"momentum": 0.8, "weight_decay": 0.1, "eps": 1e-3},
        {"momentum": 0.5, "weight_decay": 0.01, "eps": 1e-5}),
    Row("momentum", functools.partial(optax.sgd, momentum=0.9), 0.1,
        {"momentum": 0.8}, {"momentum": 0.5}),
    Row("muon", contrib.muon, 0.01,
        DECAY | {"beta": 0.9, "eps": 1e-3, "adam_b1": 0.8, "adam_b2": 0.95},
        DECAY_2 | {"beta": 0.8, "eps": 1e-6, "adam_b1": 0.95, "adam_b2": 0.9}, amplification=20),
    Row("nadam", optax.nadam, 0.01, ADAM, ADAM_2),
    Row("nadamw", optax.nadamw, 0.01, ADAM | DECAY, ADAM_2 | DECAY_2),
    Row("nesterov", functools.partial(optax.sgd, momentum=0.9, nesterov=True), 0.1,
        {"momentum": 0.8}, {"momentum": 0.5}),
    Row("novograd", optax.novograd, 0.01, ADAM | DECAY, ADAM_2 | DECAY_2),
    Row("optimistic_adam", optax.optimistic_adam_v2, 0.01,
        ADAM | {"alpha": 0.8, "beta": 0.5}, ADAM_2 | {"alpha": 1.2, "beta": 0.2}),
    Row("optimistic_gradient_descent", optax.optimistic_gradient_descent, 0.1,
        {"alpha": 0.8, "beta": 0.5}, {"alpha": 1.2, "beta": 0.2}),
    Row("prodigy", contrib.prodigy, 1.0,
        ADAM | DECAY | {"estim_lr0": 1e-3, "estim_lr_coef": 0.5},
        ADAM_2 | DECAY_2 | {"estim_lr0": 1e-4, "estim_lr_coef": 0.8}, renamed=betas),
    Row("radam", optax.radam, 0.01, ADAM | {"threshold": 4.5}, ADAM_2 | {"threshold": 6.0}),
    Row("rmsprop", optax.rmsprop, 0.01, {"decay": 0.8, "eps": 1e-3}, {"decay": 0.95, "eps": 1e-5}),
    Row("rmsprop_centered", functools.partial(optax.rmsprop, centered=True), 0.01,
        {"decay": 0.8, "eps": 1e-3}, {"decay": 0.95, "eps": 1e-5}),
    Row("rprop", prompt_rprop, 0.01,
        {"eta_minus": 0.6, "eta_plus": 1.1, "min_step_size": 1e-3, "max_step_size": 0.1},
        {"eta_minus": 0.4, "eta_plus": 1.3, "min_step_size": 1e-2, "max_step_size": 1.0},
        schedule=False),
    # In optax, the average's weights are of a schedule one step ahead: the same for one that falls.
    Row("schedule_free_adamw", contrib.schedule_free_adamw, 0.01,
        ADAM | DECAY | {"weight_lr_power": 1.0}, ADAM_2 | DECAY_2 | {"weight_lr_power": 0.5},
        updates_of_weights=True),
    Row("schedule_free_sgd", contrib.schedule_free_sgd, 0.1,
        DECAY | {"b1": 0.8, "weight_lr_power": 1.0}, DECAY_2 | {"b1": 0.5, "weight_lr_power": 0.5},
        updates_of_weights=True),
    Row("sgd", optax.sgd, 0.1),
    Row("signsgd", optax.sign_sgd, 0.01),
    Row("signum", optax.signum, 0.01, {"beta": 0.5}, {"beta": 0.99}),
    Row("simplified_ademamix", contrib.simplified_ademamix, 0.001,
        DECAY | {"b1": 0.9, "b2": 0.9, "alpha": 2.0, "eps": 1e-3},
        DECAY_2 | {"b1": 0.95, "b2": 0.99, "alpha": 0.5, "eps": 1e-6}),
    Row("yogi", optax.yogi, 0.01, ADAM, ADAM_2),
)
# fmt: on


def both(row: Row, rate: Any, options: Options) -> tuple[Any, Any]:
    """The program and optax's, as transformations."""
    ours = optdsl.load(row.name).optimizer(rate, **options)
    return ours, row.optax(rate, **row.renamed(**options))


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_with_the_defaults(row: Row, train: Any, assert_same: Any) -> None:
    ours, theirs = both(row, row.rate, {})
    assert_same(train(ours), train(theirs), **row.tolerance)


@pytest.mark.parametrize("row", [row for row in TABLE if row.first], ids=str)
def test_with_other_hyperparameters(row: Row, train: Any, assert_same: Any) -> None:
    ours, theirs = both(row, row.rate, row.first)
    assert_same(train(ours, "layers"), train(theirs, "layers"), **row.tolerance)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_with_a_schedule_and_other_hyperparameters(row: Row, train: Any, assert_same: Any) -> None:
    schedule = optax.linear_schedule(row.rate, row.rate / 4, transition_steps=100)
    rate = schedule if row.schedule else row.rate / 2
    ours, theirs = both(row, rate, row.second)
    assert_same(train(ours, "layers"), train(theirs, "layers"), **row.tolerance)


SIZE, SCALARS = 70_001, 1000
"""Weights of an array, and the bytes that a step may touch or keep beside arrays."""


def compiled_steps(row: Row, arrays: int) -> list[Any]:
    """Of the program and of optax's, on arrays of SIZE float32 weights."""
    weights = [jnp.ones(SIZE) for _ in range(arrays)]
    return [compiled_step(tx, weights) for tx in both(row, row.rate, {})]


ONE_ARRAY_KEPT = ("adafactor", "dadapt_adamw", "lamb", "optimistic_adam")
"""Programs whose step keeps an array until its end, as optax's does."""


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_no_more_memory_is_touched_than_by_optax(row: Row) -> None:
    steps = compiled_steps(row, arrays=1)
    accessed = [step.cost_analysis()["bytes accessed"] for step in steps]
    assert accessed[0] <= accessed[1] + SCALARS
    kept = [step.memory_analysis().temp_size_in_bytes for step in steps]
    assert kept[0] <= min(kept[1], 4 * SIZE * (row.name in ONE_ARRAY_KEPT)) + SCALARS


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_no_more_memory_is_touched_on_several_arrays(row: Row) -> None:
    accessed = [step.cost_analysis()["bytes accessed"] for step in compiled_steps(row, arrays=3)]
    assert accessed[0] <= accessed[1] + SCALARS


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_every_hyperparameter_is_varied(row: Row) -> None:
    defaults = optdsl.load(row.name).hyperparameters
    for options in (row.first, row.second):
        assert options.keys() == defaults.keys()
        assert all(options[name] != default for name, default in defaults.items())


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_defaults_are_those_of_optax(row: Row) -> None:
    documented = inspect.signature(row.optax).parameters
    for name, value in optdsl.load(row.name).hyperparameters.items():
        default = documented[name].default if name in documented else None
        assert value == default or not isinstance(default, int | float), name


def test_the_table_has_every_program_that_says_so() -> None:
    docs = {name: " ".join(optdsl.load(name).doc.split()) for name in stdlib()}
    assert {name for name, doc in docs.items() if "as optax." in doc} == {row.name for row in TABLE}
