"""Options shared by all tests."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the expected outputs in tests/golden and tests/filecheck",
    )
    parser.addoption(
        "--whole",
        action="store_true",
        help="run all of optax's own tests of optimizers, not a sample",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden") and os.environ.get("CI") == "true":
        raise pytest.UsageError(
            "--update-golden is refused where CI=true: CI must not bless itself"
        )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite expected outputs instead of comparing with them."""
    return bool(request.config.getoption("--update-golden"))
