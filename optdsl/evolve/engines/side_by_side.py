"""Jobs judged in this process, many programs in each call of the register machine.

What was submitted is judged when the first outcome is asked for that is not known: all programs on
their first rungs' seeds together, then those that climb on, on the next ones'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from time import perf_counter

from optdsl.backends.bytecode import UnsupportedProgram
from optdsl.evolve.judge import Climb, Job, JudgeSpec, Outcome, Score, climb, judge
from optdsl.tasks.evaluation import Code, encoded
from optdsl.tasks.side_by_side import SideBySideEvaluator


@dataclass(frozen=True)
class _Climber:
    """A job under way."""

    job: Job
    code: Code
    climb: Climb
    seeds: tuple[int, ...]
    """What it asks for."""


class SideBySideEngine:
    """See `Engine`; for accelerators. Outcomes don't depend on what is judged together."""

    def __init__(self, spec: JudgeSpec) -> None:
        """Nothing is compiled before the first job."""
        self._spec = spec
        self._task = spec.task.load()
        self._evaluator = cache(lambda seeds: SideBySideEvaluator(self._task, seeds))
        self._waiting: dict[str, Job] = {}
        self._found: dict[str, Outcome] = {}
        self._one_by_one = False
        """Whether a call has failed: rounding may differ from here on, but not from job to job."""

    def submit(self, job: Job) -> None:
        """Remember the job."""
        self._waiting[job.key] = job

    def result(self, key: str) -> Outcome:
        """Judge all that waits, if this one does."""
        if key in self._waiting:
            self._judge_all()
        return self._found.pop(key)

    def close(self) -> None:
        """Forget what was not asked for."""
        self._waiting.clear()
        self._found.clear()

    def _judge_all(self) -> None:
        together: dict[tuple[tuple[int, ...], ...], list[_Climber]] = {}
        for job in self._waiting.values():
            code = self._code(job)
            if code is None:
                self._found[job.key] = judge(self._spec, job)
            else:
                steps = climb(job, at_once=None)
                climber = _Climber(job, code, steps, next(steps))
                together.setdefault(job.rungs, []).append(climber)
        self._waiting.clear()
        for rungs, climbers in together.items():
            self._climb_all(tuple(chain.from_iterable(rungs)), climbers)

    def _climb_all(self, seeds: tuple[int, ...], climbers: list[_Climber]) -> None:
        """Judge jobs of the same rungs; their seconds are an equal share of all."""
        began, count = perf_counter(), len(climbers)
        scores: dict[str, tuple[Score, ...]] = {}
        while climbers:
            try:
                trained = self._train(self._evaluator(seeds), climbers)
            except MemoryError:
                raise
            except Exception:
                # What fails is what all calls have in common, such as more rows than memory; one by
                # one, each says what is wrong.
                self._one_by_one = True
                self._found |= {one.job.key: judge(self._spec, one.job) for one in climbers}
                break
            further: list[_Climber] = []
            for climber, found in zip(climbers, trained, strict=True):
                try:
                    asked = climber.climb.send(found)
                    further.append(replace(climber, seeds=asked))
                except StopIteration as end:
                    scores[climber.job.key] = end.value
            climbers = further
        seconds = (perf_counter() - began) / count
        self._found |= {key: Outcome(one, seconds=seconds) for key, one in scores.items()}

    def _code(self, job: Job) -> Code | None:
        """Its program for the register machine; None if it can't run it on the search's task."""
        if self._one_by_one or job.spec is not None or self._spec.evaluator != "bytecode":
            return None
        try:
            return encoded(job.program)
        except UnsupportedProgram:
            return None

    def _train(
        self, evaluator: SideBySideEvaluator, climbers: Sequence[_Climber]
    ) -> list[list[Score]]:
        codes = [climber.code for climber in climbers]
        seeds = [climber.seeds for climber in climbers]
        found = evaluator.train(codes, seeds, self._spec.learning_rate)
        return [list(zip(one.validation, one.test, strict=True)) for one in found]
