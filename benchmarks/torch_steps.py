"""torch's own optimizers and ours, for `update_step.py`: steps to be timed. Empty without torch."""

import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from optdsl.backends.torch_emit import emit_torch_source, torch_class_name
from optdsl.frontend import find_source, load

try:
    import torch
except ImportError:
    torch = None

Timed = Callable[[int], float]
"""Takes a number of steps, and gives the seconds of one on average."""

TORCH: dict[str, tuple[str, dict[str, Any]]] = (
    {}
    if torch is None
    else {
        "sgd": ("SGD", {}),
        "momentum": ("SGD", {"momentum": 0.9}),
        "adam": ("Adam", {}),
        "adamw": ("AdamW", {"weight_decay": 1e-4}),
        "adagrad": ("Adagrad", {}),
    }
)
"""The class of `torch.optim` for a stdlib program, and its options."""

WAYS: dict[str, dict[str, Any]] = {"foreach": {"foreach": True}, "fused": {"fused": True}}
"""And `compiled`, which is `torch.compile` of the step by foreach."""

OURS: dict[str, dict[str, Any]] = {"plain": {"foreach": False}, "foreach": {"foreach": True}}
"""The same of what `compile --target torch` writes."""


def torch_steps(name: str, shapes: list[tuple[int, ...]], rate: float) -> dict[str, Timed]:
    """A step for each way that torch has, and for each of ours, by way."""
    kind, options = TORCH[name]
    make = getattr(torch.optim, kind)
    steps = {way: _timed(make, shapes, rate, options | more) for way, more in WAYS.items()}
    steps["compiled"] = _timed(make, shapes, rate, options | WAYS["foreach"], torch.compile)
    make = _emitted(name)
    steps |= {f"our {way}": _timed(make, shapes, rate, more) for way, more in OURS.items()}
    steps["our compiled"] = _timed(make, shapes, rate, OURS["foreach"], torch.compile)
    return steps


def _emitted(name: str) -> Any:
    """The class of the emitted module, imported, as torch.compile wants it."""
    with tempfile.TemporaryDirectory() as folder:
        module = f"emitted_{name}"
        source = emit_torch_source(load(find_source(name)), name)
        Path(folder, f"{module}.py").write_text(source, encoding="utf-8")
        sys.path.insert(0, folder)
        try:
            return getattr(importlib.import_module(module), torch_class_name(name))
        finally:
            sys.path.remove(folder)


def _timed(
    make: Any,
    shapes: list[tuple[int, ...]],
    rate: float,
    options: dict[str, Any],
    wrap: Callable[[Any], Any] = lambda step: step,
) -> Timed:
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    weights = [torch.full(shape, 0.5, requires_grad=True, device=device) for shape in shapes]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimizer = make(weights, lr=rate, **options)
    optimizer.step()  # which makes the state: torch.compile would compile it once more for that
    torch.compiler.reset()  # all optimizers share one wrapper, which is compiled 8 times at most
    step = wrap(optimizer.step)

    def timed(steps: int) -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait(device)
        return (time.perf_counter() - began) / steps

    return timed


def _wait(device: str) -> None:
    """Until what was asked for is done."""
    if device == "cuda":
        torch.cuda.synchronize()
