"""Worker processes on this machine.

They are spawned, since JAX does not survive a fork, and each has its own compiled evaluator. A
crash, a kill or a hang loses one job, not the pool: the job is tried once more, then marked.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from optdsl.evolve.engines import (
    ATTEMPTS,
    CRASHED,
    TIMED_OUT,
    EngineError,
    EngineOptions,
)
from optdsl.evolve.judge import Job, JudgeSpec, Outcome, judge, warm_up

MAX_RESTARTS = 3
"""How often a pool may break before anything is judged."""


class LocalEngine:
    """See `Engine`."""

    def __init__(self, spec: JudgeSpec, options: EngineOptions) -> None:
        """Start the workers; they load the task and compile while jobs are already taken."""
        self._spec, self._deadline = spec, options.deadline
        self._workers, self._restarts = options.workers, 0
        self._jobs: dict[str, tuple[Job, ProcessFuture[Outcome]]] = {}
        self._pool = self._new_pool()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs[job.key] = job, self._schedule(job)

    def result(self, key: str) -> Outcome:
        """Wait for a job, and try it again if its worker died.

        Raises:
            EngineError: if the workers can't be started.
        """
        job, future = self._jobs.pop(key)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                outcome = self._outcome(job, future)
            except TimeoutError:
                outcome = Outcome(failure=TIMED_OUT)
            except (ProcessExpired, MemoryError):
                if attempt < ATTEMPTS:
                    future = self._schedule(job)
                continue
            self._restarts = 0
            return outcome
        return Outcome(failure=CRASHED)

    def close(self) -> None:
        """Kill the workers."""
        self._pool.stop()
        self._pool.join()

    def _outcome(self, job: Job, future: "ProcessFuture[Outcome]") -> Outcome:
        """Wait for it; a pool that broke is none of the job's business."""
        while True:
            try:
                return future.result()
            except (BrokenExecutor, CancelledError):
                self._restart()
                future = self._schedule(job)

    def _schedule(self, job: Job) -> "ProcessFuture[Outcome]":
        while True:
            try:
                with _interrupts_held():
                    args = [self._spec, job]
                    return self._pool.schedule(judge, args=args, timeout=self._deadline)
            except RuntimeError:
                self._restart()

    def _restart(self) -> None:
        """Another pool: Pebble's breaks when a worker dies that has no job.

        Raises:
            EngineError: if pools break again and again, and nothing is judged between.
        """
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise EngineError("the worker processes can't be started, or die without a job")
        self.close()
        self._pool = self._new_pool()
        for key, (job, future) in list(self._jobs.items()):
            if not future.done() or future.exception() is not None:
                self._jobs[key] = job, self._schedule(job)

    def _new_pool(self) -> ProcessPool:
        # Before interrupts are blocked: to start it unblocks them.
        resource_tracker.ensure_running()
        return ProcessPool(
            max_workers=self._workers,
            initializer=_start_worker,
            initargs=(self._spec,),
            context=multiprocessing.get_context("spawn"),
        )


@contextmanager
def _interrupts_held() -> Generator[None]:
    """Ctrl-C is for the driver alone, and comes when the workers that start have started.

    Threads and processes inherit what is blocked. That is not enough for the main thread, which
    handles what any other thread of JAX's was sent: it would leave a worker half started, and that
    would show a traceback.
    """
    held: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number)) if is_main else 0
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if held:
            signal.raise_signal(signal.SIGINT)


def _start_worker(spec: JudgeSpec) -> None:
    """Runs in the worker before its first job."""
    # One core for each worker: XLA's threads only get into each other's way. Its pool has NPROC
    # threads; with two of them `digits_diffusion` took more than twice as long.
    os.environ["NPROC"] = "1"
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    )
    # What is wrong with a task is found, and said, by each job.
    with suppress(Exception):
        warm_up(spec)
