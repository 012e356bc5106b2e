"""Simplification by evidence: what costs less than a tolerance is removed (section 2.3).

A search with insertion switched off: of all programs that one replacement makes smaller, the
smallest that trains as well is taken, until there is none. "As well" is against the best program so
far, so that losses do not add up, and a gain is not given away again.
"""

from collections.abc import Callable
from itertools import groupby

from optdsl.ir import Program
from optdsl.passes.canonical import canonical_hash
from optdsl.simplify.formal import size
from optdsl.simplify.removals import removals
from optdsl.simplify.rounding import roundings
from optdsl.simplify.steps import Evidence, Trail
from optdsl.simplify.trials import Cost, Trained, Trials, cost

Say = Callable[[str], None]
"""Tells people about the progress."""


class ByEvidence:
    """Removes and rounds as long as training shows no loss."""

    def __init__(self, trials: Trials, start: Trained, tolerance: float, say: Say) -> None:
        """Begin with a trained program, which is the first reference."""
        self.trials, self.tolerance, self.say = trials, tolerance, say
        self.present = start
        """The program as it is now."""
        self.best = start
        """The best program so far: the reference."""
        self.rejected: set[str] = set()

    def remove(self, trail: Trail) -> None:
        """Replace values by simpler ones until nothing smaller trains as well."""
        while True:
            options = [r for r in removals(trail.program) if self._is_new(r[1])]
            for _, group in groupby(options, key=lambda removal: size(removal[1])):
                if self._take_best(trail, "evidence", list(group)):
                    break
            else:
                return

    def round(self, trail: Trail) -> None:
        """Make each constant as round as training allows."""
        for position in range(len(trail.program.constants)):
            for reason, program in roundings(trail.program, position):
                if self._take_best(trail, "constants", [(reason, program)]):
                    break

    def rescale(self, program: Program, factor: float) -> None:
        """Go on with a program that differs by a factor of its learning rate."""
        rate = self.present.rate * factor
        scores = self.present.scores
        if self.best is self.present:
            self.best = Trained(program, rate, scores)
        self.present = Trained(program, rate, scores)

    def _is_new(self, program: Program) -> bool:
        return canonical_hash(program) not in self.rejected

    def _take_best(self, trail: Trail, stage: str, options: list[tuple[str, Program]]) -> bool:
        """Take the best of some programs, if it is good enough."""
        passed: list[tuple[str, Trained, Cost]] = []
        for reason, program in options:
            trained = self.trials.candidate(program, self._reference(), self.tolerance)
            loss = cost(trained.scores, self.best.scores) if trained else None
            if trained and loss and loss.most < self.tolerance:
                passed.append((reason, trained, loss))
            else:
                self.rejected.add(canonical_hash(program))
        if not passed:
            return False
        reason, trained, loss = max(passed, key=lambda option: option[1].fitness)
        evidence: Evidence = {
            "cost": loss.mean,
            "cost_at_most": loss.most,
            "learning_rate": trained.rate,
            "fitness": trained.fitness,
        }
        trail.take(stage, reason, trained.program, evidence)
        self.say(f"{reason}: costs {loss.mean:.4f} ± {loss.error:.4f}")
        # A reference at a rate that suits another program would be easy to beat.
        self.present = self.trials.climbed(trained)
        self.best = max(self.best, self.present, key=lambda option: option.fitness)
        return True

    def _reference(self) -> Trained:
        """What a candidate is compared with: the best scores, tried at the present rate."""
        return Trained(self.best.program, self.present.rate, self.best.scores)
