"""Jobs judged in this process, when their outcome is asked for: no workers, and no protection."""

from optdsl.evolve.judge import Job, JudgeSpec, Outcome, judge


class SerialEngine:
    """See `Engine`."""

    def __init__(self, spec: JudgeSpec) -> None:
        """Nothing is compiled before the first job."""
        self._spec = spec
        self._jobs: dict[str, Job] = {}

    def submit(self, job: Job) -> None:
        """Remember the job."""
        self._jobs[job.key] = job

    def result(self, key: str) -> Outcome:
        """Judge it now."""
        return judge(self._spec, self._jobs.pop(key))

    def close(self) -> None:
        """Forget what was not asked for."""
        self._jobs.clear()
