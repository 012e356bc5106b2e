"""The order of the passes that lowerings begin with."""

from collections.abc import Mapping

from optdsl.ir import Program
from optdsl.passes.first_weights import FirstSums, begun_with_weights, with_first_sums
from optdsl.passes.fold import bind, fold_constants
from optdsl.passes.live import remove_dead_state


def prepare(program: Program, constants: Mapping[str, float]) -> Program:
    """What there is to compute.

    1. `bind` first: hyperparameters whose values are known now are constants like any other.
    2. `fold_constants` second: it makes operands of what it evaluates dead.
    3. `remove_dead_state` last: it removes all that is dead, statements included.

    Args:
        program: a valid program.
        constants: values of hyperparameters by name; the others stay inputs.
    """
    return remove_dead_state(fold_constants(bind(program, constants)))


def prepare_with_weights(program: Program, constants: Mapping[str, float]) -> FirstSums:
    """What there is to compute where states are made for the weights of the first step, as those of
    optax are; arguments as in `prepare`."""
    return with_first_sums(begun_with_weights(prepare(program, constants)))
