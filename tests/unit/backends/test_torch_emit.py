"""Emitted torch source does what the NumPy reference does, and no text can steer it elsewhere."""

import ast
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.programs_of_one import RESULT, argument_name, program_of_one
from support.running import reference_stepper
from support.stages import MATRICES, STAGES

from optdsl.backends.torch_emit import emit_torch_source, torch_class_name
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program
from optdsl.ops import OPS, Kind, OpDef, Over
from optdsl.ops.kinds import last_scalar
from optdsl.passes.shapes import block_shape

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden_torch"
PAPER = {p.stem: str(p) for p in sorted((ROOT / "examples" / "paper").glob("*.opt"))}
PROGRAMS = sorted([*stdlib(), *PAPER])
SHAPES = ((), (3,), (2, 4), (2, 1, 3), (2, 2, 1, 3))
STEPS = 4

ROTATION = """
def train(w, g, a, b, c: scalar, d: scalar, lr):
    return lr * a + 0 * b + c + d, b, w, d, c + 1
"""


def text(source: str) -> Program:
    return load(Source("<test>", source))


def named(name: str) -> Program:
    return load(find_source(PAPER.get(name, name)))


def emitted(program: Program, name: str = "emitted") -> Any:
    """The class that the emitted source defines."""
    module: dict[str, Any] = {"__name__": "emitted_module"}
    exec(emit_torch_source(program, name), module)  # what is tested
    return module[torch_class_name(name)]


def arrays(seed: int, dtype: str = "float64") -> list[Any]:
    random = np.random.RandomState(seed)
    return [np.asarray(random.standard_normal(shape), dtype) for shape in SHAPES]


def parameters(values: Sequence[Any]) -> list[Any]:
    return [torch.nn.Parameter(torch.tensor(value)) for value in values]


def take_step(optimizer: Any, params: Sequence[Any], gradients: Sequence[Any]) -> None:
    for w, gradient in zip(params, gradients, strict=True):
        w.grad = None if gradient is None else torch.as_tensor(gradient, dtype=w.dtype)
    optimizer.step()


def trajectory(optimizer: Any, params: Sequence[Any], steps: range = range(STEPS)) -> list[Any]:
    """The weights after each step, on gradients that depend on the step alone."""
    found: list[Any] = []
    for step in steps:
        take_step(optimizer, params, arrays(100 + step))
        found += [w.detach().clone() for w in params]
    return found


def expected(program: Program, rate: float, dtype: str = "float64") -> list[Any]:
    """The same by the reference."""
    step, weights, state = reference_stepper(program), arrays(0, dtype), None
    found: list[Any] = []
    for i in range(STEPS):
        outcome = step(weights, arrays(100 + i, dtype), state, rate, i + 1)
        weights = [w - u for w, u in zip(weights, outcome.update, strict=True)]
        state = outcome.state
        found += weights
    return found


def assert_same(found: list[Any], wanted: list[Any], tolerance: float) -> None:
    for a, b in zip(found, wanted, strict=True):
        scale = float(np.max(np.abs(np.nan_to_num(np.asarray(b))), initial=0.0))
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), tolerance, tolerance * scale)


@pytest.mark.parametrize("name", PROGRAMS)
@np.errstate(all="ignore")
def test_weights_are_the_references(name: str) -> None:
    program, params = named(name), parameters(arrays(0))
    groups = [{"params": params[:2]}, {"params": params[2:]}]
    found = trajectory(emitted(program)(groups, lr=0.01), params)
    assert_same(found, expected(program, 0.01), 1e-9)


@pytest.mark.parametrize("source", [MATRICES, STAGES, ROTATION])
def test_kinds_stages_and_states_that_change_places(source: str) -> None:
    program, params = text(source), parameters(arrays(0))
    found = trajectory(emitted(program)(params, lr=0.01), params)
    assert_same(found, expected(program, 0.01), 1e-9)


@pytest.mark.parametrize("source", [MATRICES, STAGES])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(source: str, dtype: str) -> None:
    program = text(source)
    params = [torch.nn.Parameter(torch.tensor(x).to(getattr(torch, dtype))) for x in arrays(0)]
    optimizer = emitted(program)(params, lr=0.01)
    found = trajectory(optimizer, params)
    assert {w.dtype for w in params} == {getattr(torch, dtype)}
    assert_same([x.double() for x in found], expected(program, 0.01), 0.1)


@pytest.mark.parametrize("name", PROGRAMS)
def test_emitted_source_is_the_golden_one(name: str, update_golden: bool) -> None:
    source = emit_torch_source(named(name), name)
    path = GOLDEN / f"{name}.py.txt"
    if update_golden:
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8")
    assert max(map(len, source.splitlines())) <= 100


def test_there_is_no_golden_file_without_a_program() -> None:
    assert {path.name.removesuffix(".py.txt") for path in GOLDEN.iterdir()} == set(PROGRAMS)


def kinds_of(op: OpDef) -> list[Kind]:
    kinds = [Kind.ARRAY] * len(op.args)
    if op.rule is last_scalar:
        kinds[-1] = Kind.SCALAR
    elif op.name == "matmul":
        kinds[-1] = Kind.TRANSPOSED
    elif op.name in ("identity", "inverse_root", "orthonormal"):
        kinds = [Kind.ROWS_BY_ROWS, *[Kind.SCALAR] * (len(op.args) - 1)]
    return kinds


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@np.errstate(all="ignore")
def test_each_function_of_the_table(op: OpDef) -> None:
    """Elementwise functions get NaN, infinities and zeros too."""
    kinds = kinds_of(op)
    program, random = program_of_one(op, kinds), np.random.RandomState(1)
    w = random.standard_normal((4, 4))
    state: dict[str, Any] = {}
    for i, kind in enumerate(kinds):
        x = random.standard_normal((4, 4))
        if kind == Kind.ROWS_BY_ROWS:
            x = x @ x.T + np.eye(4)
        elif op.over is Over.NOTHING:
            x[0] = [0.0, np.inf, -np.inf, np.nan]
        state[argument_name(i)] = np.float64(1.5) if kind == Kind.SCALAR else x
    kind = op.kind(tuple(kinds))
    assert isinstance(kind, Kind)
    given = {key: [value] for key, value in state.items()}
    given[RESULT] = [np.zeros(block_shape(kind, (4, 4)))]
    wanted = reference_stepper(program)([w], [w], given, 1.0, 1).state[RESULT][0]

    (param,) = parameters([w])
    optimizer = emitted(program)([param], lr=1.0)
    take_step(optimizer, [param], [w])  # makes the state
    group, own = optimizer.param_groups[0], optimizer.state[param]
    for key, value in state.items():
        owner = group if key in group else own
        owner[key].copy_(torch.tensor(value))
    param.data.copy_(torch.tensor(w))
    take_step(optimizer, [param], [w])
    found = (group if RESULT in group else own)[RESULT]
    np.testing.assert_allclose(found.numpy(), wanted, 1e-12, 1e-12)


def test_hyperparameters_and_rates_are_each_groups_own() -> None:
    program = named("adamw")
    a, b = parameters(arrays(0)), parameters(arrays(0))
    mixed = emitted(program)([{"params": a[:2]}, {"params": a[2:], "lr": 0.1, "b1": 0.5}], lr=0.01)
    first, second = emitted(program)(b[:2], lr=0.01), emitted(program)(b[2:], lr=0.1, b1=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(mixed, 2, gamma=0.5)
    for step in range(STEPS):
        gradients = arrays(100 + step)
        take_step(mixed, a, gradients)
        schedule.step()
        for optimizer, rate in ((first, 0.01), (second, 0.1)):
            optimizer.param_groups[0]["lr"] = rate * 0.5 ** (step // 2)
        take_step(first, b[:2], gradients[:2])
        take_step(second, b[2:], gradients[2:])
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_tensor_as_the_rate() -> None:
    a, b = parameters(arrays(0)), parameters(arrays(0))
    rate = torch.tensor(0.01, dtype=torch.float64)
    found = trajectory(emitted(named("schedule_free_adamw"))(a, lr=rate), a)
    assert_same(found, trajectory(emitted(named("schedule_free_adamw"))(b, lr=0.01), b), 1e-12)


@pytest.mark.parametrize("name", ["adam", "madgrad", "schedule_free_adamw"])
def test_a_parameter_without_a_gradient_is_left_out_and_counts_no_step(name: str) -> None:
    make = emitted(named(name))
    (a, late), (b, alone) = parameters(arrays(0)[1:3]), parameters(arrays(0)[1:3])
    both = make([{"params": [a]}, {"params": [late]}], lr=0.01)
    first, second = make([b], lr=0.01), make([alone], lr=0.01)
    for step in range(STEPS):
        gradients = [arrays(step)[1], arrays(step)[2] if step > 1 else None]
        take_step(both, [a, late], gradients)
        take_step(first, [b], gradients[:1])
        take_step(second, [alone], gradients[1:])
    assert torch.equal(a, b)
    assert torch.equal(late, alone)
    assert not torch.equal(late, torch.tensor(arrays(0)[2]))


def test_a_group_that_counts_takes_no_late_parameter() -> None:
    params = parameters(arrays(0))
    optimizer = emitted(named("prodigy"))(params, lr=1.0)
    take_step(optimizer, params, [None, *arrays(1)[1:]])
    with pytest.raises(RuntimeError, match="a group of its own"):
        take_step(optimizer, params, arrays(2))
    optimizer = emitted(named("prodigy"))(params[1:], lr=1.0)
    take_step(optimizer, params[1:], arrays(1)[1:])
    optimizer.add_param_group({"params": params[:1]})
    take_step(optimizer, params, arrays(2))


def test_no_gradients_at_all() -> None:
    for source in (MATRICES, STAGES):
        params = parameters(arrays(0))
        emitted(text(source))(params, lr=0.01).step()
        assert all(torch.equal(w, torch.tensor(x)) for w, x in zip(params, arrays(0), strict=True))


def test_a_closure_is_called_with_gradients() -> None:
    (w,) = parameters([np.ones(3)])
    optimizer = emitted(named("sgd"))([w], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = torch.sum(w**2)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3.0
    assert w.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # torch's, once in a process
def test_sparse_gradients_are_refused() -> None:
    (w,) = parameters([np.ones((3, 2))])
    dense = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    w.grad = dense.to_sparse()
    with pytest.raises(RuntimeError, match="MyLion does not support sparse gradients"):
        emitted(named("lion"), "my-lion")([w], lr=0.5).step()


STORED = """
def train(w, g, m: bfloat16, f: float32, n: per_array, s: scalar[float16], lr, step):
    m = interp(g, m, 0.9)
    f = f + square(g)
    n = maximum(n, norm(g))
    s = s + step
    return lr * (m / sqrt(f) + n + s), m, f, n, s
"""


@pytest.mark.parametrize("source", [STORED, "prodigy", "dog", "adan"])
def test_a_saved_state_gives_the_same_trajectory(source: str, tmp_path: Path) -> None:
    program = text(source) if "\n" in source else named(source)
    make = emitted(program)
    params = [torch.nn.Parameter(torch.tensor(x).bfloat16()) for x in arrays(0)]
    optimizer = make(params, lr=0.01)
    trajectory(optimizer, params)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    twins = [torch.nn.Parameter(w.detach().clone()) for w in params]
    loaded = make(twins, lr=0.5)
    loaded.load_state_dict(torch.load(tmp_path / "state.pt"))
    copied, copies = copy.deepcopy((optimizer, params))
    more = range(STEPS, 2 * STEPS)
    wanted = trajectory(optimizer, params, more)
    for found in (trajectory(loaded, twins, more), trajectory(copied, copies, more)):
        assert all(torch.equal(x, y) for x, y in zip(found, wanted, strict=True))


def test_stored_dtypes() -> None:
    params = [torch.nn.Parameter(torch.tensor(arrays(0, "float32")[2]))]
    optimizer = emitted(text(STORED))(params, lr=0.01)
    take_step(optimizer, params, arrays(1)[2:3])
    state, group = optimizer.state[params[0]], optimizer.param_groups[0]
    assert (state["m"].dtype, state["f"].dtype) == (torch.bfloat16, torch.float32)
    assert (state["n"].dtype, state["n"].shape) == (torch.float32, ())
    assert group["s"].dtype == torch.float16


def test_arithmetic_of_hyperparameters_alone_does_not_raise() -> None:
    update = "lr * g * (1 / a) + reciprocal(a) * b ** b * (b * b) + log(0 - a)"
    program = text(f"def train(g, lr, a=0.0, b=1e300):\n    return {update}\n")
    params = parameters(arrays(0))
    found = trajectory(emitted(program)(params, lr=0.01), params)
    assert not any(torch.isfinite(w).any() for w in found)


HOSTILE_NAMES = (
    "torch", "self", "params", "group", "groups", "state", "closure", "loss", "number", "matrix",
    "scalar", "kept_1", "leaves_1", "cbrt", "matmul", "defaults", "foreach", "list", "zip", "exec",
    "saved", "key", "is_first", "LATE", "param", "_private", "λ", "super", "initial_lr", "Emitted",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("role", ["state", "variable", "hyperparameter"])
def test_names_never_collide_with_the_sources_own(name: str, role: str) -> None:
    source = {
        "state": f"def train(w, g, {name}, lr):\n    {name} = {name} + cbrt(clip(g, 1))\n"
        f"    return lr * {name} + w, {name}\n",
        "variable": f"def train(w, g, lr):\n    {name} = dot(w, g)\n    return lr * g * {name}\n",
        "hyperparameter": f"def train(w, g, lr, {name}=0.5):\n    return lr * g * {name} + w\n",
    }[role]
    program, params = text(source), parameters(arrays(0))
    found = trajectory(emitted(program)(params, lr=0.01), params)
    assert_same(found, expected(program, 0.01), 1e-7)


def test_an_assigned_weight_is_not_the_parameter() -> None:
    program = text("def train(w, g, lr):\n    w = 0.5 * w\n    return lr * g + w\n")
    params = parameters(arrays(0))
    found = trajectory(emitted(program)(params, lr=0.01), params)
    assert_same(found, expected(program, 0.01), 1e-12)


@pytest.mark.parametrize("doc", ['"""\nraise SystemExit\n"""\x00\u202e', "\\", "number("])
def test_docstrings_stay_docstrings(doc: str) -> None:
    plain = text("def train(g, lr):\n    return lr * g\n")
    names = ("inputs", "constants", "operations", "outputs")
    hostile = Program(**{key: getattr(plain, key) for key in names}, doc=doc)
    trees = [ast.parse(emit_torch_source(each, "a")) for each in (plain, hostile)]
    classes = [next(n for n in tree.body if isinstance(n, ast.ClassDef)) for tree in trees]
    assert len(ast.dump(classes[0])) - len(ast.dump(classes[1])) == len(
        repr(ast.get_docstring(classes[0], clean=False))
    ) - len(repr(ast.get_docstring(classes[1], clean=False)))


@pytest.mark.parametrize("name", ["true", "exception", "; import os", "2fast", "torch", "ﬁrst"])
def test_class_names_are_identifiers_that_shadow_nothing(name: str) -> None:
    make = emitted(text("def train(g, lr):\n    return lr * g\n"), name)
    assert make.__name__ not in ("True", "Exception")
    assert issubclass(make, torch.optim.Optimizer)
