"""The record of a simplification: every step with its reason, its evidence and its result."""

from dataclasses import dataclass, field

from optdsl.ir import Program, print_program

Evidence = dict[str, float | str | None]


@dataclass(frozen=True)
class Step:
    """One change that was made."""

    stage: str
    """`exact`, `algebra`, `evidence`, `constants` or `names`."""
    reason: str
    before: int
    """Statements."""
    after: int
    evidence: Evidence
    """What was measured; by key, as in docs/simplify.md."""
    program: str
    """The program after the step, as `.opt` text: the next step begins with it."""

    def to_json(self) -> dict[str, object]:
        """One entry of `steps`."""
        return {
            "stage": self.stage,
            "reason": self.reason,
            "before": self.before,
            "after": self.after,
            "evidence": self.evidence,
            "program": self.program,
        }


@dataclass
class Trail:
    """A program on its way, and the steps that it has taken."""

    program: Program
    steps: list[Step] = field(default_factory=list[Step])

    def take(self, stage: str, reason: str, program: Program, evidence: Evidence) -> None:
        """Go on with another program."""
        before, after = len(self.program.operations), len(program.operations)
        text = print_program(program)
        self.steps.append(Step(stage, reason, before, after, evidence, text))
        self.program = program
