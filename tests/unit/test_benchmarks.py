"""Each benchmark can be imported as it is run: what it measures is here and called so."""

import os
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SHARED = {"figures", "torch_steps"}
"""What benchmarks import."""

FILES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_benchmark_is_imported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr("os.environ", dict(os.environ))  # they set flags of XLA
    found = runpy.run_path(str(file), run_name="benchmark")
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)
    assert found["__doc__"]
    assert "main" in found or file.stem in SHARED
