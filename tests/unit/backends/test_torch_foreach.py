"""The `foreach` path of emitted torch source computes what the plain one does.

What it joins (`a + b * c`) is rounded once less, so that all is compared in double precision.
"""

import copy
import importlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optdsl.backends.torch_emit import emit_torch_source, torch_class_name
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program
from optdsl.ops import OPS, OpDef, Over
from optdsl.ops.kinds import last_scalar

torch = pytest.importorskip("torch")

SHAPES = ((1,), (3,), (2, 4), (2, 1, 3), (7,))

LOOPS = {
    "scalar states": ["schedule_free_adamw", "schedule_free_sgd"],
    "sums": ["cautious_adamw", "cautious_lion", "dadapt_adamw", "dog", "dowg", "fromage", "lamb",
             "lars", "novograd", "prodigy"],
    "rules by leaf": ["adafactor", "muon", "shampoo", "sm3", "soap"],
}  # fmt: skip
"""Programs without the path, by the reason that their source gives."""

ELEMENTWISE = sorted({*stdlib()} - {name for names in LOOPS.values() for name in names})


TOLERANCES: dict[str, dict[str, float]] = {
    "float64": {"rtol": 1e-12, "atol": 1e-13},
    "float32": {"rtol": 1e-5, "atol": 1e-6},
    "bfloat16": {"rtol": 0.02, "atol": 0.05},
}
"""Some roundings in seven steps."""


def text(source: str) -> Program:
    return load(Source("<test>", source))


def named(name: str) -> Program:
    return load(find_source(name))


def emitted(program: Program) -> Any:
    module: dict[str, Any] = {"__name__": "emitted_module"}
    exec(emit_torch_source(program, "emitted"), module)  # what is tested
    return module[torch_class_name("emitted")]


def parameters(dtype: str) -> list[Any]:
    random = np.random.RandomState(0)
    values = [torch.tensor(random.standard_normal(shape)) for shape in SHAPES]
    return [torch.nn.Parameter(x.to(getattr(torch, dtype))) for x in values]


def groups_of(params: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"params": params[:3]}, {"params": params[3:], "lr": 0.02}]


def train(optimizer: Any, params: Sequence[Any], steps: range = range(7)) -> None:
    """Gradients with zeros, NaN and infinities; one parameter's come late."""
    special = [0.0, float("nan"), float("inf"), -float("inf")]
    for step in steps:
        random = np.random.RandomState(100 + step)
        for w in params:
            w.grad = torch.tensor(random.standard_normal(w.shape)).to(w.dtype)
        params[1].grad = None if step < 2 else params[1].grad
        params[2].grad[0] = torch.tensor(special)
        params[3].grad.zero_()
        optimizer.step()


def numbers_of(optimizer: Any, params: Sequence[Any]) -> list[Any]:
    """Weights and states."""
    states = [optimizer.state[w] for w in params]
    return [*(w.detach() for w in params), *(x for state in states for x in state.values())]


def assert_both_ways_agree(program: Program, dtype: str) -> None:
    make, found = emitted(program), []
    for foreach in (False, True):
        params = parameters(dtype)
        optimizer = make(groups_of(params), lr=0.01, foreach=foreach)
        train(optimizer, params)
        found.append(numbers_of(optimizer, params))
    assert len(found[0]) == len(found[1])
    for plain, together in zip(*found, strict=True):
        assert plain.dtype == together.dtype
        torch.testing.assert_close(together, plain, **TOLERANCES[dtype], equal_nan=True)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_programs(name: str, dtype: str) -> None:
    assert_both_ways_agree(named(name), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_pieces_give_the_same_bits(name: str, dtype: str) -> None:
    found: list[list[Any]] = []
    for size in (5, 2**16):
        params = parameters(dtype)
        params[2].data = params[2].data.t().contiguous().t()  # by columns, so not cut
        make = emitted(named(name))
        make._update_each.__globals__["PIECE"] = size
        optimizer = make(groups_of(params), lr=0.01, foreach=False)
        train(optimizer, params)
        found.append(numbers_of(optimizer, params))
    for cut, whole in zip(*found, strict=True):
        torch.testing.assert_close(cut, whole, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("reason", LOOPS)
def test_programs_without_the_path_say_why(reason: str) -> None:
    for name in LOOPS[reason]:
        source = emit_torch_source(named(name), name)
        assert f"`foreach` changes nothing: {reason} are not" in source
        assert "_foreach_" not in source


def test_functions_of_matrices_are_a_reason_too() -> None:
    source = emit_torch_source(text("def train(g):\n    return transpose(transpose(g))\n"), "t")
    assert "`foreach` changes nothing: functions of matrices are not" in source


def uses(op: OpDef) -> list[str]:
    """Uses on arrays, on scalars that the step decides, and on numbers."""
    forms = [("w", "s", "a")] * len(op.args)
    if op.rule is last_scalar:
        forms[-1] = ("s", "a")
    calls = [args for args in product(*forms) if "w" in args]
    # The second array is another one.
    distinct = [[arg if arg not in args[:i] else "g" for i, arg in enumerate(args)]
                if args.count("w") > 1 else list(args) for args in calls]  # fmt: skip
    return [op.written(*args) for args in distinct]


@pytest.mark.parametrize(
    "op", [op for op in OPS if op.over is Over.NOTHING and op.args], ids=lambda op: op.name
)
def test_functions(op: OpDef) -> None:
    statements = [f"    x{i} = {use}\n" for i, use in enumerate(uses(op))]
    states = [f"x{i}" for i in range(len(statements))]
    source = (
        f"def train(w, g, {', '.join(states)}, lr, step, a=0.7):\n    s = step / 3\n"
        f"{''.join(statements)}    return lr * ({' + '.join(states)}), {', '.join(states)}\n"
    )
    assert "torch._foreach_sub_(ws, " in emit_torch_source(text(source), "emitted")
    assert_both_ways_agree(text(source), "float64")


NAMES = """
def train(w, ws, g, gs, m, ms, steps, state, states, lr, step, numbers=0.5, by_step=0.1):
    gs = g * step + ws
    scalars = sqrt(step) * numbers
    return lr * (gs * scalars + m), w, gs, ms, m, steps + by_step, states, state
"""

CHANGES = """
def train(w, g, a, b, stored: bfloat16, lr):
    w = 0.5 * w
    stored = stored + g
    return lr * stored + w, b, a, stored
"""


@pytest.mark.parametrize("source", [NAMES, CHANGES])
def test_names_states_that_change_places_and_stored_dtypes(source: str) -> None:
    assert_both_ways_agree(text(source), "float64")


def ways_taken(
    monkeypatch: pytest.MonkeyPatch, rate: Any = 0.01, rule: Any = None, **options: Any
) -> set[str]:
    """The methods that updated parameters."""
    make, taken = emitted(named("lion")), set[str]()
    if rule is not None:
        monkeypatch.setitem(make._with_gradients.__globals__, "_default_to_fused_or_foreach", rule)

    def recorded(way: str, params: Sequence[Any]) -> None:
        taken.update([way] if params else [])

    for way in ("_update_each", "_update_together"):
        monkeypatch.setattr(make, way, lambda *args, way=way: recorded(way, args[-1]))
    params = parameters("float32")
    train(make(params, lr=rate, **options), params, range(1))
    return taken


def test_the_rule_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    each, together = {"_update_each"}, {"_update_together"}
    assert ways_taken(monkeypatch) == together, "the CPU's default"
    assert ways_taken(monkeypatch, foreach=False) == each
    assert ways_taken(monkeypatch, foreach=True) == together
    assert ways_taken(monkeypatch, torch.tensor(0.01), foreach=True) == each

    def rule(params: Any, differentiable: bool) -> tuple[bool, bool]:
        return False, all(w.dtype == torch.float32 for w in params) and not differentiable

    assert ways_taken(monkeypatch, rule=rule) == together
    assert ways_taken(monkeypatch, rule=rule, foreach=False) == each


@pytest.mark.parametrize("name", ["sgd", "lion", "adamw", "adan"])
def test_large_ones_are_updated_in_pieces_by_foreach_too(name: str) -> None:
    found: list[list[Any]] = []
    make = emitted(named(name))
    module = make._update_together.__globals__
    for size in (2**16, 5):
        module["PIECE"] = size
        params = parameters("float64")
        for w in params:
            w.grad = w.detach()
        batches = module["batches"](params, {w: {} for w in params})
        sizes = [w.numel() for ws, _, _ in batches for w in ws]
        assert max(sizes) == min(size, 8)
        optimizer = make(params, lr=0.01, foreach=True)
        train(optimizer, params)
        found.append(numbers_of(optimizer, params))
    for whole, cut in zip(*found, strict=True):
        torch.testing.assert_close(cut, whole, **TOLERANCES["float64"], equal_nan=True)


def test_dtypes_are_updated_apart_and_many_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    params = [*parameters("float32"), *parameters("bfloat16")]
    module, states = emitted(named("adamw"))._update_together.__globals__, {w: {} for w in params}
    lists = [ws for ws, _, _ in module["batches"](params, states)]
    assert [[w.dtype for w in alike] for alike in lists] == [
        [torch.float32] * len(SHAPES), [torch.bfloat16] * len(SHAPES)
    ]  # fmt: skip
    monkeypatch.setitem(module, "BATCH", 10)
    lists = [[w.numel() for w in ws] for ws, _, _ in module["batches"](params, states)]
    assert lists == [[1, 3], [8, 6], [7]] * 2


def test_a_saved_state_goes_on_by_foreach() -> None:
    make, params = emitted(named("adan")), parameters("bfloat16")
    optimizer = make(params, lr=0.01, foreach=False)
    train(optimizer, params)
    twins = [torch.nn.Parameter(w.detach().clone()) for w in params]
    loaded = make(twins, lr=0.5)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    loaded.param_groups[0]["foreach"] = True
    for each, weights in ((optimizer, params), (loaded, twins)):
        train(each, weights, range(7, 10))
    for a, b in zip(numbers_of(optimizer, params), numbers_of(loaded, twins), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCES["bfloat16"], equal_nan=True)


MIXED = """
def train(g, exponential_moving_average: bfloat16, lr):
    exponential_moving_average = interp(g, exponential_moving_average, 0.9)
    return lr * exponential_moving_average, exponential_moving_average
"""


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("program", [named("adopt"), text(MIXED)], ids=["adopt", "mixed"])
def test_the_step_is_one_graph(
    program: Program, foreach: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced by torch.compile without a break, and again for no later step."""
    module = f"one_graph_{len(program.inputs)}_{foreach}"
    (tmp_path / f"{module}.py").write_text(emit_torch_source(program, "adopt"))
    monkeypatch.syspath_prepend(tmp_path)
    make, found, graphs = importlib.import_module(module).Adopt, [], []

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    for compiled in (False, True):
        params = parameters("float32")[:2]
        optimizer = make(params, lr=0.01, foreach=foreach)
        step = torch.compile(optimizer.step, fullgraph=True, backend=count)
        for i in range(5):
            for w in params:
                w.grad = torch.full_like(w, 0.1 * i - 0.15)
            (step if compiled and i else optimizer.step)()
        found.append(numbers_of(optimizer, params))
    assert len(graphs) == 1
    for plain, traced in zip(*found, strict=True):
        torch.testing.assert_close(traced, plain)
