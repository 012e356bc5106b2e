"""Ray tasks, on a running cluster or on one that is started here.

Each task is a local engine of one worker, which its process keeps for the tasks that follow. So a
crash or a hang is dealt with where it happens and as on one machine, and a job's time is counted
from its start, however long it was queued. Ray's `cancel(force=True)` would be the other way: it
also kills the task that the worker was given next.

Nodes may join and leave: jobs wait in Ray's queue until some node has a free CPU, and what a lost
node was judging is judged again. optdsl must be installed on each node; a user's task file is sent
there, with the folder that it lies in.
"""

import asyncio
import logging
import os
import socket
import sys
import warnings
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

from optdsl.evolve.engines import ATTEMPTS, CRASHED, EngineError, EngineOptions
from optdsl.evolve.engines.local import LocalEngine
from optdsl.evolve.judge import Job, JudgeSpec, Outcome
from optdsl.tasks.table import TaskError, TaskSource

try:
    import ray
except ImportError:
    raise EngineError(
        "the engine `ray` needs a package that is not installed: pip install 'optdsl[ray]'"
    ) from None
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

MAX_LOST_NODES = 10
"""A job that was lost with that many nodes is taken for the reason."""

CONNECT = 10.0
"""Seconds for an address to answer; Ray itself would try for minutes."""

OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory where a cluster is started here: jobs and outcomes are small."""

NOT_SENT = ["run.sqlite*"]
"""What changes beside a task file while it is sent: the database of a run."""


@dataclass(frozen=True)
class _Worker:
    """What a Ray worker is told with each job."""

    spec: JudgeSpec
    deadline: float
    version: str
    """The driver's."""


class RayEngine:
    """See `Engine`. A process has one at a time, since it has one connection to Ray."""

    def __init__(self, spec: JudgeSpec, options: EngineOptions) -> None:
        """Join the cluster at the address, or start one.

        Raises:
            EngineError: if that can't be done, or the task's folder can't be sent.
        """
        _connect(spec.task, options)
        spec = replace(spec, task=_in_working_dir(spec.task))
        self._worker = ray.put(_Worker(spec, options.deadline, version("optdsl")))
        self._outcomes: dict[str, Future[Outcome]] = {}
        # Lost jobs are given to Ray again at once, not when they are asked for.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="optdsl-ray", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        if job.spec is not None:
            job = replace(job, spec=replace(job.spec, task=_in_working_dir(job.spec.task)))
        outcome = _judged(self._worker, job)
        self._outcomes[job.key] = asyncio.run_coroutine_threadsafe(outcome, self._loop)

    def result(self, key: str) -> Outcome:
        """Wait for a job.

        Raises:
            EngineError: if a node can't judge this task, or the cluster is lost.
        """
        return self._outcomes.pop(key).result()

    def close(self) -> None:
        """Leave the cluster, which cancels the tasks; if it was started here, shut it down."""
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        ray.shutdown()
        _print_events(True)


def _connect(task: TaskSource, options: EngineOptions) -> None:
    if ray.is_initialized():
        raise EngineError("this process already uses Ray: call `ray.shutdown()` first")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _print_events(False)
    try:
        with warnings.catch_warnings():
            # JAX warns of any fork; Ray's run another program at once.
            warnings.filterwarnings("ignore", r"os\.fork\(\)", RuntimeWarning)
            ray.init(
                **_where(options),
                runtime_env=_runtime_env(task),
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        ray.shutdown()
        _print_events(True)
        if isinstance(error, RuntimeEnvSetupError):
            raise EngineError(
                f"can't send the folder of {task.name} to the nodes: give the file a folder of its"
                f" own, or list what it does not need in a file .rayignore there ({error})"
            ) from error
        what = f"join the Ray cluster at {options.address}" if options.address else "start Ray"
        raise EngineError(f"can't {what}: {error}") from error


def _print_events(on: bool) -> None:
    """Ray prints to stdout, with no setting against it, when it loses a node."""
    vars(sys.modules["ray._private.worker"])["_worker_logs_enabled"] = on


def _where(options: EngineOptions) -> dict[str, Any]:
    """Arguments of `ray.init`: which cluster to join, or how to start one.

    Raises:
        OSError: if there is nothing at the address.
        ValueError: if it isn't one.
    """
    if options.address is None:
        # "local", since None would join any cluster that happens to run here.
        return {
            "address": "local",
            "num_cpus": max(1, options.workers),
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        }
    if options.address != "auto":
        host, _, port = options.address.rpartition(":")
        if not port.isdecimal() or "/" in host:
            raise ValueError("an address is HOST:PORT, as `ray start --head` prints it, or `auto`")
        socket.create_connection((host, int(port)), CONNECT).close()
    return {"address": options.address}


def _runtime_env(task: TaskSource) -> dict[str, Any] | None:
    """What Ray sends to the nodes: a user's folder."""
    if task.text is None:
        return None
    # Data that git ignores is wanted all the same.
    os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"
    return {"working_dir": str(Path(task.name).resolve().parent), "excludes": NOT_SENT}


def _in_working_dir(task: TaskSource) -> TaskSource:
    """The task as workers see it: they run in a copy of its folder."""
    return task if task.text is None else replace(task, name=Path(task.name).name)


async def _judged(worker: "ray.ObjectRef[_Worker]", job: Job) -> Outcome:
    """A job's outcome, whatever becomes of the nodes."""
    crashes = lost_nodes = 0
    while crashes < ATTEMPTS and lost_nodes < MAX_LOST_NODES:
        try:
            return await _TASK.remote(worker, job)
        except NodeDiedError:
            lost_nodes += 1
        except (WorkerCrashedError, OutOfMemoryError):
            crashes += 1
        except RayTaskError as error:
            if reason := _reason(error.cause):
                raise EngineError(f"a node can't judge: {reason}") from error
            raise
        except RayError as error:
            raise EngineError(f"the Ray cluster failed: {error}") from error
    return Outcome(failure=CRASHED)


def _reason(error: Exception) -> str:
    """Why a node can't judge any job of this task; "" for other errors."""
    if "No module named 'optdsl'" in str(error):
        return f"it has no optdsl: install optdsl {version('optdsl')} there"
    return str(error) if isinstance(error, TaskError | EngineError) else ""


def _task(worker: _Worker, job: Job) -> Outcome:
    """Runs on a node, in one of Ray's processes."""
    here = version("optdsl")
    if here != worker.version:
        raise EngineError(
            f"it has optdsl {here}, and this is {worker.version}: results may differ;"
            " install that version there"
        )
    engine = _engine(worker.spec, worker.deadline)
    try:
        engine.submit(job)
        return engine.result(job.key)
    except EngineError:
        worker.spec.task.load()  # It is likely to say why.
        raise


@cache
def _engine(spec: JudgeSpec, deadline: float) -> LocalEngine:
    """This process's worker, started once."""
    return LocalEngine(spec, EngineOptions(workers=1, deadline=deadline))


_TASK: Any = ray.remote(num_cpus=1, max_retries=0)(_task)
"""Ray's own retries would not tell a crash from the loss of a node."""


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
