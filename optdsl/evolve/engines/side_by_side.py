"""Jobs judged in this process, many programs in each call of the register machine.

What was submitted is judged when the first outcome is asked for that is not known: each program's
first seeds in one call, then the next seeds of those that climb on.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter

from optdsl.backends.bytecode import UnsupportedProgram
from optdsl.evolve.judge import Climb, Job, JudgeSpec, Outcome, Score, climb, judge
from optdsl.tasks.evaluation import BytecodeEvaluator


@dataclass(frozen=True)
class _Climber:
    """A job under way."""

    job: Job
    climb: Climb
    began: float


class SideBySideEngine:
    """See `Engine`; for accelerators. Outcomes don't depend on what is judged together."""

    def __init__(self, spec: JudgeSpec) -> None:
        """Nothing is compiled before the first job."""
        self._spec = spec
        self._task = spec.task.load()
        self._evaluator = cache(lambda seeds: BytecodeEvaluator(self._task, seeds))
        self._waiting: dict[str, Job] = {}
        self._found: dict[str, Outcome] = {}

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
        asked: dict[tuple[int, ...], list[_Climber]] = defaultdict(list)
        for job in self._waiting.values():
            if self._takes(job):
                climber = _Climber(job, climb(job), perf_counter())
                asked[next(climber.climb)].append(climber)
            else:
                self._found[job.key] = judge(self._spec, job)
        self._waiting.clear()
        while asked:
            # The seeds that most ask for: more of the others may ask for the same next.
            seeds = max(asked, key=lambda each: len(asked[each]))
            climbers = asked.pop(seeds)
            try:
                trained = self._train(climbers, seeds)
            except Exception:  # one by one, each says what is wrong
                self._found |= {one.job.key: judge(self._spec, one.job) for one in climbers}
                continue
            for climber, scores in zip(climbers, trained, strict=True):
                try:
                    asked[climber.climb.send(scores)].append(climber)
                except StopIteration as end:
                    seconds = perf_counter() - climber.began
                    self._found[climber.job.key] = Outcome(end.value, seconds=seconds)

    def _takes(self, job: Job) -> bool:
        """Whether the register machine can run it, on the search's own task."""
        if job.spec is not None or self._spec.evaluator != "bytecode":
            return False
        try:
            self._evaluator(job.rungs[0]).machine(job.program)
        except UnsupportedProgram:
            return False
        return True

    def _train(self, climbers: Sequence[_Climber], seeds: tuple[int, ...]) -> list[list[Score]]:
        programs = [climber.job.program for climber in climbers]
        rate = self._spec.learning_rate
        found = self._evaluator(seeds).evaluate_side_by_side(programs, rate)
        return [list(zip(one.validation, one.test, strict=True)) for one in found]
