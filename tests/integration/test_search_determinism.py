"""A search is a function of its configuration: of no number of workers, and of no interruption."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.search import tables

SMALL = ("--task", "quadratic", "--programs", 40, "--population", 10, "--lag", 8, "--seed", 3,
         "--evaluator", "bytecode", "--restarts", 2, "--random-baseline",
         "--meta-task", "quadratic", "--meta-every", 8)  # fmt: skip


@dataclass(frozen=True)
class Evolve:
    """Runs `optdsl evolve` in processes of its own."""

    environment: dict[str, str]

    def start(self, *args: object) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell does it."""
        command = [sys.executable, "-c", "from optdsl.cli.main import main; main()", "evolve"]
        return subprocess.Popen(
            [*command, *map(str, args)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )

    def __call__(self, *args: object) -> None:
        process = self.start(*args)
        _, err = process.communicate()
        assert process.returncode == 0, err


@pytest.fixture(scope="module")
def evolve(tmp_path_factory: pytest.TempPathFactory) -> Evolve:
    """With a cache of what XLA compiles, which all processes share: it would take most time."""
    cache = tmp_path_factory.mktemp("compiled")
    return Evolve(
        os.environ
        | {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PLATFORMS": "cpu",
            "PYTHONUTF8": "1",
        }
    )


@pytest.fixture(scope="module")
def whole(evolve: Evolve, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run in one process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    evolve(*SMALL, "--workers", 0, "--out", folder)
    return folder


def assert_same(folder: Path, whole: Path) -> None:
    """All rows and columns but the times, and the files for people."""
    found, expected = tables(folder), tables(whole)
    for name, rows in expected.items():
        assert found[name] == rows, name
    for name in ("best.opt", "config.toml"):
        assert (folder / name).read_text() == (whole / name).read_text()


def test_one_worker(evolve: Evolve, whole: Path, tmp_path: Path) -> None:
    evolve(*SMALL, "--workers", 1, "--out", tmp_path / "run")
    assert_same(tmp_path / "run", whole)
    stages = sorted(tables(whole)["stages"], key=lambda row: row[1])
    assert [row[0] for row in stages] == [
        "tuning",
        "evolution-1",
        "evolution-2",
        "evolution-best",
        "tune",
        "random",
    ]
    assert {row[0] for row in tables(whole)["meta_scores"]} == {row[0] for row in stages[:4]}


def test_ray(evolve: Evolve, whole: Path, tmp_path: Path) -> None:
    evolve(*SMALL, "--engine", "ray", "--workers", 2, "--out", tmp_path / "run")
    assert_same(tmp_path / "run", whole)


def commits(folder: Path) -> int:
    """How many there are so far."""
    uri = f"file:{folder / 'run.sqlite'}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as db:
            (count,) = db.execute("SELECT count(*) FROM proposals").fetchone()
            return count
    except sqlite3.OperationalError:
        return 0


def members(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(number) == group and state != "Z":
                found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
    """What it gives as soon as it is true, or when the process has ended."""
    while not (found := condition()) and (process is None or process.poll() is None):
        time.sleep(0.005)
    return found


def test_two_workers_killed_and_resumed(evolve: Evolve, whole: Path, tmp_path: Path) -> None:
    """Workers see that their driver is gone."""
    folder = tmp_path / "run"
    process = evolve.start(*SMALL, "--workers", 2, "--out", folder)
    wait_for(lambda: commits(folder) > 30, process)
    process.kill()
    process.communicate()
    wait_for(lambda: not members(process.pid))
    evolve("--resume", folder, "--workers", 2)
    assert_same(folder, whole)


@pytest.mark.parametrize("when", ["starting", "searching"])
def test_ctrl_c(evolve: Evolve, whole: Path, tmp_path: Path, when: str) -> None:
    """No traceback, no processes left, and it is said how to go on."""
    folder = tmp_path / "a run"
    process = evolve.start(*SMALL, "--workers", 2, "--out", folder)
    if when == "starting":
        wait_for(lambda: len(members(process.pid)) > 2, process)
    else:
        wait_for(lambda: commits(folder) > 5, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    first, *said = err.splitlines()
    assert first.startswith("searching for quadratic in ")
    # A line of progress comes after some seconds, so on a slow machine only.
    assert [line for line in said if "% from cache" not in line] == [
        f"what was committed is in {folder / 'run.sqlite'}",
        f"go on with: optdsl evolve --resume '{folder}'",
        "",
        "optdsl: interrupted",
    ]
    # multiprocessing's resource tracker ends when it sees that its pipe is closed: just after.
    assert wait_for(lambda: not members(process.pid))
    if when == "searching":
        evolve("--resume", folder, "--workers", 0)
        assert_same(folder, whole)


def test_killed_in_one_process(evolve: Evolve, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = evolve.start(*SMALL, "--workers", 0, "--out", folder)
    wait_for(lambda: commits(folder) >= 60, process)
    process.kill()
    process.communicate()
    evolve("--resume", folder, "--workers", 0)
    assert_same(folder, whole)


def test_killed_before_any_statement(tmp_path: Path) -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "error", here / "killed_run.py", tmp_path],
        env=os.environ | {"PYTHONPATH": str(here.parent)},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_full_disk(evolve: Evolve, whole: Path, tmp_path: Path) -> None:
    """Files may only grow to some size; after that there is room again."""
    folder = tmp_path / "run"
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from optdsl.cli.main import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "evolve", *map(str, SMALL), "--workers", "0",
         "--out", str(folder)],
        env=evolve.environment,
        capture_output=True,
        encoding="utf-8",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"optdsl: can't write {folder / 'run.sqlite'}: ")
    assert last.endswith(f"make room and go on with optdsl evolve --resume {folder}")
    assert "Traceback" not in done.stderr
    assert commits(folder) > 0
    evolve("--resume", folder, "--workers", 0)
    assert_same(folder, whole)
