"""Every program of the standard library does under torch what it does under JAX.

A few steps in plain runs; those of a certificate with
`pytest tests/unit/backends/test_torch_certificate.py --whole`.
"""

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib

pytest.importorskip("torch")


@pytest.mark.parametrize("name", stdlib())
def test_every_program_agrees(name: str, request: pytest.FixtureRequest) -> None:
    from optdsl.backends.torch_certificate import certify

    steps = 200 if request.config.getoption("--whole") else 4
    certificate = certify(load(find_source(name)), name, steps, [0])
    assert certificate.agreed, certificate.differences
    assert all(found.steps == steps for found in certificate.differences)


STORED = """def train(w, g, m: bfloat16, v: float32, lr, b1=0.9, b2=0.999):
    m = interp(g, m, b1)
    v = interp(square(m), v, b2)
    return lr * sign(interp(g, m, b1)) / (sqrt(v) + 1e-8), m, v
"""


def test_averages_of_arrays_of_two_dtypes_are_rounded_alike() -> None:
    from optdsl.backends.torch_certificate import certify

    found = certify(load(Source("<string>", STORED)), "stored", steps=100, seeds=(0,))
    assert found.agreed
