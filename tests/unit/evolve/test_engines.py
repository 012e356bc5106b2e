"""Worker processes: the same outcomes as in one process, and what becomes of a worker that dies."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from optdsl.evolve.engines import CRASHED, ENGINES, TIMED_OUT, EngineError, EngineOptions
from optdsl.evolve.engines.local import LocalEngine, _interrupts_held
from optdsl.evolve.engines.serial import SerialEngine
from optdsl.evolve.judge import Job, JudgeSpec, Outcome, judge
from optdsl.frontend import find_source, load
from optdsl.tasks import TaskError, TaskSource

DEADLINE = 10.0
EXITS, HANGS, RAISES, WAITS, TELLS = range(100, 105)
"""Seeds at which the task below does so."""

TASK = '''
"""`quadratic`, but for some seeds."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import jax

from optdsl.tasks import get_task

EXITS, HANGS, RAISES, WAITS, TELLS = range(100, 105)
BEFORE = Path(__file__).parent
quadratic = get_task("quadratic")


def is_seed(key, seed):
    if isinstance(key, jax.core.Tracer):
        return False
    return bool((jax.random.key_data(key) == jax.random.key_data(init_key(seed))).all())


def init_key(seed):
    return jax.random.split(jax.random.key(seed))[0]


def first_time(name):
    """Tells the process's number where it was not told before."""
    if (BEFORE / name).exists():
        return False
    (BEFORE / "partial").write_text(str(os.getpid()))
    (BEFORE / "partial").rename(BEFORE / name)
    return True


def init(key):
    if is_seed(key, EXITS):
        first_time("exits") and os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)
    if is_seed(key, HANGS):
        while True:
            time.sleep(60)
    if is_seed(key, RAISES):
        raise ValueError("no batch")
    if is_seed(key, WAITS) and first_time("waits"):
        while True:
            time.sleep(60)
    if is_seed(key, TELLS):
        first_time("tells")
    return quadratic.init(key)


task = replace(quadratic, name="mine", init=init)
'''


class Pool(NamedTuple):
    """An engine of two workers, and the folder in which they leave marks."""

    engine: LocalEngine
    spec: JudgeSpec
    folder: Path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pool]:
    """For all tests, since a worker takes seconds to start."""
    folder = tmp_path_factory.mktemp("engine")
    # Programs are compiled: an empty one in less time than the register machine.
    spec = JudgeSpec(TaskSource(str(folder / "mine.py"), TASK), 0.1, "jit")
    options = EngineOptions(workers=2, deadline=DEADLINE)
    with pytest.MonkeyPatch.context() as patched, closing(LocalEngine(spec, options)) as engine:
        # What one worker has compiled, its successors need not compile again.
        patched.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
        patched.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield Pool(engine, spec, folder)
    assert not multiprocessing.active_children()


def job(key: str, *seeds: int, program: str = "sgd") -> Job:
    return Job(key, load(find_source(program)), (seeds,))


def without_time(outcome: Outcome) -> tuple[object, ...]:
    return outcome.scores, outcome.failure


def mark(folder: Path, name: str) -> int:
    """Waits for it: the number of the process that left it."""
    while not (folder / name).exists():
        time.sleep(0.01)
    return int((folder / name).read_text())


def test_the_same_as_in_this_process(pool: Pool) -> None:
    jobs = [
        job("a", 0, 1),
        job("b", 0, program="lion"),
        Job("c", load(find_source("sgd")), ((0,), (1,), (2,)), (-1e9, 1e9), (-1.0, -2.0, -3.0)),
        job("d", 0, RAISES, 1),
    ]
    expected = [without_time(judge(pool.spec, one)) for one in jobs]
    assert [len(scores) for scores, _ in expected] == [2, 1, 2, 0]
    assert expected[3][1] == "ValueError: no batch"
    serial = SerialEngine(pool.spec)
    for engine in (pool.engine, serial):
        for one in jobs:
            engine.submit(one)
        # In any order.
        found = {one.key: without_time(engine.result(one.key)) for one in reversed(jobs)}
        assert [found[one.key] for one in jobs] == expected
    serial.close()


def test_crashes_and_hangs_cost_one_outcome_each(pool: Pool) -> None:
    """A killed worker's job is tried once more, and all other jobs are judged."""
    others = [job(f"other {i}", i) for i in range(6)]
    expected = [without_time(judge(pool.spec, one)) for one in others]
    for one in (*others[:2], job("exits", 0, EXITS), job("waits", WAITS), *others[2:4],
                job("hangs", HANGS), *others[4:]):  # fmt: skip
        pool.engine.submit(one)
    os.kill(mark(pool.folder, "waits"), signal.SIGKILL)
    found = [without_time(pool.engine.result(one.key)) for one in others]
    assert found == expected
    assert without_time(pool.engine.result("exits")) == ((), CRASHED)
    assert without_time(pool.engine.result("hangs")) == ((), TIMED_OUT)
    assert without_time(pool.engine.result("waits")) == without_time(
        judge(pool.spec, job("waits", WAITS))
    )
    assert mark(pool.folder, "exits") != os.getpid()


def test_a_worker_that_dies_without_a_job_is_replaced(pool: Pool) -> None:
    first = job("tells", TELLS)
    pool.engine.submit(first)
    expected = without_time(pool.engine.result("tells"))
    os.kill(mark(pool.folder, "tells"), signal.SIGKILL)
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGKILL)
    for name in ("a", "b", "c"):
        pool.engine.submit(Job(name, first.program, first.rungs))
    for name in ("c", "a", "b"):
        assert without_time(pool.engine.result(name)) == expected


def spec_of(text: str) -> JudgeSpec:
    return JudgeSpec(TaskSource("mine.py", text), 0.1, "jit")


def engine_of(text: str) -> closing[LocalEngine]:
    return closing(LocalEngine(spec_of(text), EngineOptions(workers=1, deadline=DEADLINE)))


def workers() -> set[int | None]:
    return {child.pid for child in multiprocessing.active_children()}


def test_workers_that_can_not_be_started() -> None:
    before = workers()
    with engine_of("import os\nos._exit(3)\n") as engine:
        engine.submit(job("a", 0))
        with pytest.raises(EngineError, match="can't be started"):
            engine.result("a")
    assert workers() <= before


def test_a_task_that_is_not_here(capfd: pytest.CaptureFixture[str]) -> None:
    """Said once, and not by a traceback of a worker."""
    with engine_of("import no_such_module\n") as engine:
        engine.submit(job("a", 0))
        with pytest.raises(TaskError, match="no_such_module"):
            engine.result("a")
    assert capfd.readouterr() == ("", "")


def test_nothing_runs_before_the_first_job() -> None:
    before = workers()
    with engine_of("raise AssertionError"):
        assert workers() <= before


def test_workers_are_sent_no_interrupts(pool: Pool) -> None:
    pool.engine.submit(job("any", 0))
    pool.engine.result("any")
    for pid in workers():
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            (line,) = [line for line in status.read_text().splitlines() if "SigBlk" in line]
            assert int(line.split()[1], 16) & 1 << signal.SIGINT - 1


def to_this_thread() -> None:
    """Not to the process: the system may hand that to any thread, and late."""
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def to_another_thread() -> None:
    """Whose signals the main thread handles."""
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler)
    handler(signal.SIGINT, None)


@pytest.mark.parametrize("send", [to_this_thread, to_another_thread])
def test_an_interrupt_waits_while_workers_start(send: Callable[[], None]) -> None:
    before = signal.getsignal(signal.SIGINT)
    done: list[str] = []

    def start() -> None:
        with _interrupts_held():
            send()
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with _interrupts_held():
        pass


@pytest.mark.parametrize(("number", "kind"), [(0, SerialEngine), (1, LocalEngine)])
def test_no_workers_is_this_process(number: int, kind: type[object]) -> None:
    engine = ENGINES["local"](spec_of(""), EngineOptions(number, DEADLINE))
    assert isinstance(engine, kind)
    engine.close()


def test_what_was_not_asked_for_is_lost(pool: Pool) -> None:
    engine = SerialEngine(pool.spec)
    engine.submit(job("a", HANGS))
    engine.close()
    with engine_of(TASK) as local:
        for number in range(100):
            local.submit(job(f"{number}", HANGS))
