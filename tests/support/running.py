"""Running programs: the same call for the NumPy reference, jitted JAX and emitted source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from optdsl.backends.emit import emit_source
from optdsl.backends.jax_lowering import apply_program, first_state
from optdsl.backends.reference import reference_step
from optdsl.ir import Program
from optdsl.ops import Kind
from optdsl.passes.fold import default_values, fold_constants
from optdsl.passes.live import remove_dead_state
from optdsl.passes.pipeline import prepare

Blocks = list[Any]


@dataclass(frozen=True)
class Outcome:
    """What one step gives: the update's blocks, and each live state variable's."""

    update: Blocks
    state: dict[str, Blocks]

    def arrays(self) -> list[Any]:
        """All blocks, in a fixed order."""
        return [*self.update, *(block for name in sorted(self.state) for block in self.state[name])]


Stepper = Callable[[Sequence[Any], Sequence[Any], Mapping[str, Blocks] | None, float, int], Outcome]
"""(weights, gradients, state, learning rate, step) -> what the step gives."""


def reference_stepper(program: Program) -> Stepper:
    """The program under the NumPy reference."""

    def step(weights: Any, gradients: Any, state: Any, rate: float, number: int) -> Outcome:
        found = reference_step(program, weights, gradients, state, rate, number)
        return Outcome(found.update, found.state)

    return step


def jax_stepper(program: Program) -> Stepper:
    """The program under jitted JAX, with its hyperparameters' defaults as constants."""
    prepared = prepare(program, default_values(program))
    scalars = {entry.name for entry in prepared.inputs if entry.kind == Kind.SCALAR}

    @jax.jit
    def compiled(weights: Any, gradients: Any, state: Any, rate: Any, number: Any) -> Any:
        return apply_program(prepared, weights, gradients, state, rate, number, {})

    def step(weights: Any, gradients: Any, state: Any, rate: float, number: int) -> Outcome:
        if state is None:
            given = first_state(prepared, weights)
        else:
            given = {k: v[0] if k in scalars else list(v) for k, v in state.items()}
        found = compiled(list(weights), list(gradients), given, np.float32(rate), np.int32(number))
        update, new = jax.tree.map(np.asarray, found)
        return Outcome(update, {k: [v] if k in scalars else v for k, v in new.items()})

    return step


def emitted_stepper(program: Program, rate: float) -> Stepper:
    """The source that `optdsl compile` gives, executed and jitted, for one learning rate."""
    space: dict[str, Any] = {}
    exec(emit_source(program, "emitted"), space)
    transformation = space["emitted"](rate)
    compiled = jax.jit(transformation.update)
    live = remove_dead_state(fold_constants(program))
    entries = [live.inputs[state] for state in live.states]

    @np.errstate(over="ignore")  # the source warns of constants beyond float32
    def step(weights: Any, gradients: Any, state: Any, rate: float, number: int) -> Outcome:
        del rate
        fields = transformation.init(list(weights))
        if state is not None:
            given = [state[entry.name] for entry in entries]
            values = [
                v[0] if e.kind == Kind.SCALAR else v for e, v in zip(entries, given, strict=True)
            ]
            fields = type(fields)(np.int32(number - 1), *values)
        found, new = jax.tree.map(np.asarray, compiled(list(gradients), fields, list(weights)))
        blocks = {
            entry.name: [value] if entry.kind == Kind.SCALAR else value
            for entry, value in zip(entries, new[1:], strict=True)
        }
        return Outcome([-update for update in found], blocks)

    return step


def doubles() -> Any:
    """A context in which JAX has float64."""
    found = getattr(jax, "enable_x64", None)  # its name in newer versions of JAX
    return jax.experimental.enable_x64() if found is None else found(True)
