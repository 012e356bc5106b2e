"""Which role each parameter of `train` has."""

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Role
from optdsl.ops import Kind

ROLES = {
    "w": Role.WEIGHT,
    "weight": Role.WEIGHT,
    "g": Role.GRADIENT,
    "grad": Role.GRADIENT,
    "gradient": Role.GRADIENT,
    "lr": Role.LEARNING_RATE,
    "step": Role.STEP,
    "m": Role.STATE,
    "learning_rate": Role.STATE,
    "β=0.9": Role.HYPERPARAMETER,
    "k=-1e-3": Role.HYPERPARAMETER,
}


@pytest.mark.parametrize("parameter", ROLES)
def test_by_name_and_default(parameter: str) -> None:
    update = "g" if ROLES[parameter] is not Role.GRADIENT else parameter
    other = "" if update == parameter else ", g"
    state = ", g" if ROLES[parameter] is Role.STATE else ""
    name = parameter.partition("=")[0]
    source = f"def train({parameter}{other}):\n    return {update} * {name}{state}\n"
    entry = load(Source("<string>", source)).inputs[0]
    assert (entry.name, entry.role) == (name, ROLES[parameter])


ANNOTATIONS = {
    "m": (Kind.ARRAY, None),
    "m: bfloat16": (Kind.ARRAY, "bfloat16"),
    "m: per_array": (Kind.PER_ARRAY, None),
    "m: scalar[float32]": (Kind.SCALAR, "float32"),
}


@pytest.mark.parametrize("parameter", ANNOTATIONS)
def test_annotations_of_states(parameter: str) -> None:
    source = f"def train(g, {parameter}):\n    return g, 1\n"
    state = load(Source("<string>", source)).inputs[1]
    assert (state.kind, state.dtype) == ANNOTATIONS[parameter]
