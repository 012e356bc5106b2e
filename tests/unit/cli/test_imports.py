"""What doesn't train must not wait for JAX."""

import json
import subprocess
import sys

import pytest

HEAVY = ("jax", "jaxlib", "optax", "flax", "chex", "sklearn", "altair", "ray")

PROGRAM = """
import json, sys
from optdsl.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as error:
    code = error.code
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([code, loaded]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "args",
    [
        ["check", "lion", "adamw"],
        ["fmt", "--check", "lion"],
        ["inspect", "adamw", "--json"],
        ["equal", "lion", "lion", "--level", "behavioural"],
        ["equal", "lion", "lion", "--level", "canonical", "--ignore-constants"],
        ["stdlib"],
        ["functions"],
        ["tasks"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_no_jax(args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *args], capture_output=True, check=True, timeout=60
    )
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert not set(HEAVY) & set(loaded)


def test_importing_the_package_loads_no_jax() -> None:
    text = "import sys, optdsl; optdsl.load('lion'); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)
