"""Where programs are judged: the interface that the driver knows, and the table of engines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from optdsl.evolve.judge import Job, JudgeSpec, Outcome


class Engine(Protocol):
    """Takes jobs and gives their outcomes back, by key, in any order it likes.

    Whatever happens to a worker costs one outcome at most, which then says so.
    """

    def submit(self, job: Job) -> None:
        """Ask for a job's outcome; each key once at a time."""
        ...

    def result(self, key: str) -> Outcome:
        """Wait for the outcome of a submitted job."""
        ...

    def close(self) -> None:
        """Stop the workers; what was not asked for is lost."""
        ...


@dataclass(frozen=True)
class EngineOptions:
    """How to run an engine; results don't depend on any of it."""

    workers: int
    """Processes, or tasks at once; 0 judges in the driver's own process."""
    deadline: float
    """Seconds after which a job is given up."""
    address: str | None = None
    """A running cluster's; None starts one on this machine."""


def _local(spec: JudgeSpec, options: EngineOptions) -> Engine:
    if needs_no_workers(spec):
        from optdsl.evolve.engines.side_by_side import SideBySideEngine

        return SideBySideEngine(spec)
    if options.workers == 0:
        from optdsl.evolve.engines.serial import SerialEngine

        return SerialEngine(spec)
    from optdsl.evolve.engines.local import LocalEngine

    return LocalEngine(spec, options)


def needs_no_workers(spec: JudgeSpec) -> bool:
    """Whether this machine's accelerator judges many programs in one call, without workers."""
    return spec.evaluator == "bytecode" and on_accelerator()


def on_accelerator() -> bool:
    """Whether JAX trains on a GPU or a TPU here."""
    import jax

    return jax.default_backend() != "cpu"


def _ray(spec: JudgeSpec, options: EngineOptions) -> Engine:
    from optdsl.evolve.engines.ray_cluster import RayEngine

    return RayEngine(spec, options)


ENGINES: dict[str, Callable[[JudgeSpec, EngineOptions], Engine]] = {"local": _local, "ray": _ray}
"""Every engine, loaded when it is used."""

CRASHED = "crashed"
TIMED_OUT = "timed out"
"""Failures of an outcome."""

ATTEMPTS = 2
"""How often a job is tried whose worker dies: a worker may be killed for no fault of the job's."""


class EngineError(RuntimeError):
    """An engine that can't be started or has no workers left; says why and what to do."""
