"""Run folders to report on."""

from pathlib import Path

import pytest
from support.run_folder import write_run

from optdsl.report.summary import Summary, summarize


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: three restarts, the search from the best, two baselines."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture(scope="session")
def whole(whole_run: Path) -> Summary:
    return summarize(whole_run)
