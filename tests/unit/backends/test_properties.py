"""The property sheet of known optimizers."""

from optdsl.backends.properties import Hazard, hazards, properties
from optdsl.diagnostics import Source
from optdsl.frontend import elaborate, find_source, load


def of(name: str):
    return properties(load(find_source(name)))


def test_lion_adamw_and_rmsprop() -> None:
    lion, adamw, rmsprop = of("lion"), of("adamw"), of("rmsprop")
    assert (lion.gradient_degree, lion.update_bound, lion.weight_decay) == (0, 1, "decoupled")
    assert (adamw.gradient_degree, adamw.gradient_degree_without_epsilon) == (None, 0)
    assert adamw.update_bound is None
    assert (adamw.zero_gradient, rmsprop.zero_gradient) == ("decay", "zero")
    assert abs((adamw.first_update_ratio or 0) - 1) < 1e-3
    assert (rmsprop.first_update_ratio or 0) > 3  # 1 / sqrt(0.1): no bias correction
    assert adamw.keeps_nan
    assert not of("sgd").keeps_nan


def test_hazards_have_lines_and_examples() -> None:
    text = (
        "def train(g, v):\n    v = v + square(g)\n\n    u = g / sqrt(v)\n"
        "    return where(v == 0, 0, 1 / v) + u, v\n"
    )
    assert hazards(elaborate(Source("<test>", text))) == [
        Hazard(4, "W201", "/", "with zero gradients, at step 1"),
        Hazard(5, "W201", "/", None),
    ]
