"""Where programs are evaluated: the interface that the driver knows, and the plain one."""

from collections.abc import Callable
from typing import Protocol

from optdsl.ir import Program

Evaluate = Callable[[Program], float]
"""A program's fitness: pure, higher is better, -inf for a failed one."""


class Engine(Protocol):
    """Takes programs and gives their fitness back, by key, in any order it likes."""

    def submit(self, key: str, program: Program) -> None:
        """Ask for a program's fitness; each key once."""
        ...

    def result(self, key: str) -> float:
        """Wait for the fitness of a submitted key."""
        ...


class SerialEngine:
    """Evaluates in this process, when the result is asked for."""

    def __init__(self, evaluate: Evaluate) -> None:
        """`evaluate` is called once for each key."""
        self._evaluate = evaluate
        self._submitted: dict[str, Program] = {}

    def submit(self, key: str, program: Program) -> None:
        """Remember the program."""
        self._submitted[key] = program

    def result(self, key: str) -> float:
        """Evaluate it now."""
        return self._evaluate(self._submitted.pop(key))
