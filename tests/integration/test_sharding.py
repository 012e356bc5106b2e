"""Sharded weights: the same results as on one device, and communication only for sums."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NEEDED = {"lion": [], "adadelta": [], "adamw": [], "adabelief": [], "lamb": ["all-reduce"]}
"""Programs, and the collectives that their functions need."""

EXPLICIT = [*NEEDED, "adafactor", "sm3", "muon", "shampoo", "mean_of_weights", "last_gradient"]
"""Programs that are run on a mesh with explicit axes too."""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    script = Path(__file__).parent / "sharded_steps.py"
    flags = "--xla_force_host_platform_device_count=8"
    run = subprocess.run(
        [sys.executable, str(script), *EXPLICIT],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", EXPLICIT)
def test_gradients_may_be_sharded_otherwise_by_type(found: dict[str, Any], name: str) -> None:
    one, explicit = found[name]["one"], found[name]["explicit"]
    for expected, weights in zip(one["weights"], explicit["weights"], strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-7)
    assert explicit["types_kept"]


@pytest.mark.parametrize("name", NEEDED)
def test_sharded_steps(found: dict[str, Any], name: str) -> None:
    one, all_ = found[name]["one"], found[name]["all"]
    for expected, weights in zip(one["weights"], all_["weights"], strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-7)
    assert all_["sharding_kept"]
    assert all_["collectives"] == NEEDED[name]
    assert one["collectives"] == []
