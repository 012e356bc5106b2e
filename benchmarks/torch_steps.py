"""torch's own optimizers, for `update_step.py`: steps to be timed. Empty without torch."""

import time
from collections.abc import Callable
from typing import Any

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
"""And `compiled`, which is `torch.compile` of the step."""


def torch_steps(name: str, shapes: list[tuple[int, ...]], rate: float) -> dict[str, Timed]:
    """A step for each way that torch has, by way."""
    kind, options = TORCH[name]
    make = getattr(torch.optim, kind)
    steps = {way: _timed(make, shapes, rate, options | more) for way, more in WAYS.items()}
    compiled = _timed(make, shapes, rate, options | WAYS["foreach"], torch.compile)
    return steps | {"compiled": compiled}


def _timed(
    make: Any,
    shapes: list[tuple[int, ...]],
    rate: float,
    options: dict[str, Any],
    wrap: Callable[[Any], Any] = lambda step: step,
) -> Timed:
    weights = [torch.full(shape, 0.5, requires_grad=True) for shape in shapes]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    step = wrap(make(weights, lr=rate, **options).step)

    def timed(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - began) / steps

    return timed
