"""Runs that are killed before any statement that their database gets, and go on, in forked
processes of this one, which has no threads and no JAX: hundreds in a few seconds."""

import os
import random
import signal
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.search import CONFIG, FakeEngine, tables

from optdsl.evolve.run import Run, create_folder

SMALL = replace(CONFIG, programs=24, population=5, lag=4)


def sitting(folder: Path, config: Any, limit: int) -> int:
    """Go on with a run, killed before statement `limit`; its exit code, -SIGKILL if it was."""
    child = os.fork()
    if child == 0:
        _kill_at(limit)
        try:
            Run(config, folder, FakeEngine, lambda stage: None).run()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_at(limit: int) -> None:
    connect, left = sqlite3.connect, limit

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        def before_a_statement(sql: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        db = connect(*args, **options)
        db.set_trace_callback(before_a_statement)
        return db

    sqlite3.connect = traced


def main(folder: Path) -> None:
    config = replace(SMALL, restarts=2, baselines=("tune", "random"))

    def new(name: str) -> Path:
        create_folder(folder / name, config)
        return folder / name

    whole = new("whole")
    assert sitting(whole, config, 0) == 0
    expected, best = tables(whole), (whole / "best.opt").read_text()
    rng, kills = random.Random(0), 0
    # Once at each place of the beginning, where the tables are made, and here and there later.
    for number, first in enumerate([*range(1, 30), *rng.sample(range(30, 400), 14)]):
        run, limit = new(f"run-{number}"), first
        while (code := sitting(run, config, limit)) != 0:
            assert code == -signal.SIGKILL, (first, limit, code)
            kills += 1
            limit = 0 if number % 4 else rng.randrange(40, 200)
        assert tables(run) == expected, first
        assert (run / "best.opt").read_text() == best, first
    assert kills > 45, kills


if __name__ == "__main__":
    main(Path(sys.argv[1]))
