"""What `import optdsl` gives."""

import dataclasses
import inspect
import io
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optdsl

TEXT = '''"""Sign momentum."""

def train(w, g, m, lr, β=0.9, λ=0.1):
    m = interp(g, m, β)
    return lr * (sign(m) + λ * w), m
'''


def test_the_names() -> None:
    assert set(optdsl.__all__) == {"OptError", "OptimizerProgram", "load", "parse"}
    assert all(hasattr(optdsl, name) for name in optdsl.__all__)


def test_parse() -> None:
    program = optdsl.parse(TEXT)
    assert isinstance(program, optdsl.OptimizerProgram)
    assert program.doc == "Sign momentum."
    assert program.hyperparameters == {"β": 0.9, "λ": 0.1}
    assert str(program).startswith('"""Sign momentum."""\n\ndef train(w, g, m, lr, β=0.9, λ=0.1):')
    assert optdsl.parse(str(program)) == program


def test_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.opt"
    file.write_text(TEXT, encoding="utf-8")
    assert optdsl.load(str(file)) == optdsl.parse(TEXT)
    assert optdsl.load("lion").doc.startswith("EvoLved Sign Momentum")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert optdsl.load("-") == optdsl.parse(TEXT)


def test_imports_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "helpers.opt").write_text("def half(x):\n    return x / 2\n")
    file = tmp_path / "mine.opt"
    file.write_text("from helpers import half\n\ndef train(g, lr):\n    return lr * half(g)\n")
    assert len(optdsl.load(str(file)).ir.operations) == 2


def test_all_errors_are_in_one_exception(tmp_path: Path) -> None:
    with pytest.raises(optdsl.OptError) as caught:
        optdsl.parse("def train(g):\n    a = foo(g)\n    return bar\n")
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E102", "E101"]
    assert str(caught.value).startswith("<string>:2:9: E102: unknown function `foo`")
    assert str(caught.value).endswith("(and 1 more error)")
    assert isinstance(caught.value, ValueError)
    with pytest.raises(optdsl.OptError, match="E001"):
        optdsl.load(str(tmp_path / "missing.opt"))


def test_programs_are_values() -> None:
    one, two = optdsl.parse(TEXT), optdsl.parse(TEXT)
    assert one == two
    assert hash(one) == hash(two)
    assert one != optdsl.parse(TEXT.replace("0.1", "0.2"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.ir = two.ir  # type: ignore[misc]


def test_the_optimizer_trains() -> None:
    tx = optdsl.parse(TEXT).optimizer(learning_rate=0.1, λ=0.5)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    weights = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(4.0)}
    gradients = {"a": jnp.array([3.0, 0.0]), "b": jnp.array(-1.0)}
    state = tx.init(weights)
    updates, state = jax.jit(tx.update)(gradients, state, weights)
    weights = optax.apply_updates(weights, updates)
    np.testing.assert_allclose(weights["a"], [0.85, -1.9], rtol=1e-6)
    np.testing.assert_allclose(weights["b"], 3.9, rtol=1e-6)
    np.testing.assert_allclose(state.state["m"]["a"], [0.3, 0.0], rtol=1e-6)
    assert int(state.count) == 1


def test_a_schedule_is_a_learning_rate() -> None:
    program = optdsl.parse("def train(g, lr):\n    return lr * g\n")
    tx = program.optimizer(optax.linear_schedule(1.0, 0.0, 4))
    weights = jnp.array(0.0)
    state, found = tx.init(weights), []
    for _ in range(5):
        update, state = tx.update(jnp.array(1.0), state, weights)
        found.append(float(update))
    assert found == [-1.0, -0.75, -0.5, -0.25, 0.0]


def test_the_optimizers_signature() -> None:
    program = optdsl.parse(TEXT)
    parameters = inspect.signature(program.optimizer).parameters
    assert list(parameters) == ["learning_rate", "β", "λ"]
    assert parameters["β"].default == 0.9
    with pytest.raises(TypeError, match="gamma"):
        program.optimizer(0.1, gamma=1.0)
    with pytest.raises(TypeError, match="learning_rate"):
        program.optimizer()
    assert program.optimizer is program.optimizer


def test_infer() -> None:
    weights = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(4, jnp.bfloat16)}
    types = optdsl.load("lion").infer(weights)
    assert [(leaf.shape, leaf.dtype) for leaf in types["m"].leaves] == [
        ((2, 3), "float32"),
        ((4,), "bfloat16"),
    ]
    assert str(types["lr"].kind) == "scalar"
    shapes = jax.eval_shape(lambda: weights)
    assert optdsl.load("lion").infer(shapes) == types
    with pytest.raises(TypeError, match="int32"):
        optdsl.load("lion").infer({"a": jnp.zeros(3, jnp.int32)})
