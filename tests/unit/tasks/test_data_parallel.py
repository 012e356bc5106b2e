"""Batches over several devices give the scores of one device."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "data_parallel_task.py"


def test_the_example_gives_the_same_on_eight_devices() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, check=True, text=True, timeout=120
    )
    one, eight = (
        (line.partition(":")[0], [float(number) for number in re.findall(r"-\d\.\d+", line)])
        for line in done.stdout.splitlines()
    )
    assert (one[0], eight[0]) == ("one device", "8 devices")
    assert len(one[1]) == 2
    assert eight[1] == pytest.approx(one[1], abs=1e-4)
    assert all(-1 < score < 0 for score in one[1])
