"""Options shared by all tests."""

import os
import tempfile

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
        help="all of optax's own tests of optimizers, not a sample; certificates of 200 steps",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden") and os.environ.get("CI") == "true":
        raise pytest.UsageError(
            "--update-golden is refused where CI=true: CI must not bless itself"
        )
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _share_compilations(config)


def _share_compilations(config: pytest.Config) -> None:
    """What one test process has compiled the others load: the same loops are in many tests."""
    folder = tempfile.TemporaryDirectory(prefix="optdsl-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite expected outputs instead of comparing with them."""
    return bool(request.config.getoption("--update-golden"))
