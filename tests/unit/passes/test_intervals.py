"""Intervals hold for the numbers of runs; risks are found where a divisor or a root may fail."""

import math

import numpy as np
import pytest

from optdsl.backends.fuzz import STREAMS, examples, moments
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.passes.intervals import ALL, intervals, risks


def program(body: str, parameters: str = "w, g, m, lr, step, eps=1e-8"):
    return load(Source("<test>", f"def train({parameters}):\n    {body}\n"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("m = interp(sign(g), m, 0.9)\n    return m, m", (-1.0, 1.0)),
        ("m = interp(square(g), m, 0.9)\n    return m, m", (0.0, math.inf)),
        ("m = m + g\n    return m, m", ALL),
        ("return sqrt(square(g)) + 1, m", (1.0, math.inf)),
        ("return minimum(maximum(g, -2), 3), m", (-2.0, 3.0)),
        ("return 0 * g + 1 - 0.9 ** step, m", (1 - 0.9, 1.0)),
        ("return g * g, m", (0.0, math.inf)),
        ("return 1 / (1 + abs(g)), m", (0.0, 1.0)),
    ],
)
def test_of_the_update(body: str, expected: tuple[float, float]) -> None:
    found = program(body)
    low, high = intervals(found)[found.outputs[0]]
    assert (low, high) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["adamw", "lion", "adan", "yogi", "radam", "adopt", "rprop"])
def test_hold_in_every_run(name: str) -> None:
    found = load(find_source(name))
    spans = intervals(found)
    for stream in STREAMS:
        for moment in moments(found, stream):
            for value, (low, high) in zip(moment.values, spans, strict=True):
                numbers = np.asarray(value, np.float64)
                numbers = numbers[np.isfinite(numbers)]
                slack = 1e-6 * (1 + np.abs(numbers))  # float32 rounds 1 - 0.999
                assert np.all((numbers + slack >= low) & (numbers - slack <= high))


@pytest.mark.parametrize(
    ("body", "found", "shown"),
    [
        ("m = interp(square(g), m, 0.9)\n    return g / sqrt(m), m", ["/"], "zero gradients"),
        ("m = interp(square(g), m, 0.9)\n    return g / (sqrt(m) + eps), m", [], None),
        ("return where(g == 0, 0, 1 / g), m", ["/"], None),  # harmless
        ("return log(abs(g)), m", ["log"], "zero gradients"),
        ("return sqrt(g), m", ["sqrt"], "gradients of about 1"),
        ("return arcsin(sign(g)), m", [], None),
        ("return g ** -1, m", ["power"], "zero gradients"),
        ("return g ** 0.5, m", ["power"], "gradients of about 1"),
        ("return g ** 3, m", [], None),
        ("return reciprocal(1 + lr) * g, m", [], None),
        ("return g / lr, m", ["/"], "a learning rate of zero"),
        ("return w, 1 / m", [], None),  # dead
    ],
)
def test_risks_and_their_examples(body: str, found: list[str], shown: str | None) -> None:
    risky = program(body)
    listed = risks(risky, intervals(risky))
    assert [risky.operations[risk.operation].op.name for risk in listed] == found
    moments_found = examples(risky, listed)
    assert [moment.stream for moment in moments_found.values()] == ([shown] if shown else [])
