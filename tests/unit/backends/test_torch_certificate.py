"""Every program of the standard library does under torch what it does under JAX.

A few steps in plain runs; those of a certificate with
`pytest tests/unit/backends/test_torch_certificate.py --whole`.
"""

import pytest

from optdsl.frontend import find_source, load, stdlib

pytest.importorskip("torch")


@pytest.mark.parametrize("name", stdlib())
def test_every_program_agrees(name: str, request: pytest.FixtureRequest) -> None:
    from optdsl.backends.torch_certificate import certify

    steps = 200 if request.config.getoption("--whole") else 4
    certificate = certify(load(find_source(name)), name, steps, [0])
    assert certificate.agreed, certificate.differences
    assert all(found.steps == steps for found in certificate.differences)
