"""CPU seconds of the commands that must not wait for JAX, beside importing JAX.

    python benchmarks/startup.py [--json] [--repeats 9]

User and system time of the whole process, Python's start included; `ratio` is that of importing
jax and optax over that of the slowest command.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

COMMANDS = {
    "check": ["check", "lion"],
    "fmt": ["fmt", "--check", "lion"],
    "inspect": ["inspect", "lion"],
    "equal": ["equal", "lion", "signum"],
}


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of one process."""
    before = os.times()
    subprocess.run(command, capture_output=True, check=False)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    run = [sys.executable, "-c", "from optdsl.cli.main import main; main()"]
    jobs = {name: run + args for name, args in COMMANDS.items()}
    jobs["import jax, optax"] = [sys.executable, "-c", "import jax, optax"]
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(options.repeats + 1):
        for name, command in jobs.items():
            times[name].append(cpu_seconds(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    slowest = max(medians[name] for name in COMMANDS)
    result = {"ratio": medians["import jax, optax"] / slowest, "cpu_seconds": medians}
    if options.json:
        print(json.dumps(result))
        return
    print(f"ratio {result['ratio']:.1f}")
    for name, values in times.items():
        print(f"{name:<18} {medians[name]:.3f} s  ({min(values[1:]):.3f} to {max(values[1:]):.3f})")


if __name__ == "__main__":
    main()
