"""Which programs are worth more seeds: asynchronous successive halving (Li et al., 2020).

A program climbs to the next rung of seeds if its estimate beats a share of those that the search's
last programs had on the same rung. So it is compared with estimates as noisy as its own, and the
share alone sets what evaluations cost, however much alike the population has become.
"""

import math
from collections import deque
from collections.abc import Sequence


class Hurdles:
    """Floors for the programs to come, from the estimates of those before."""

    def __init__(self, shares: Sequence[float], window: int) -> None:
        """A rung that none has reached yet has no floor.

        Args:
            shares: for each rung but the last, the share to beat, from 0 to below 1.
            window: how many programs' estimates count on a rung: the last.
        """
        self._shares = shares
        self._recent = tuple(deque[tuple[float, bool]](maxlen=window) for _ in shares)

    def add(self, estimates: Sequence[float]) -> None:
        """A program's estimates, one for each rung that it reached."""
        for rung, (recent, estimate) in enumerate(zip(self._recent, estimates, strict=False)):
            recent.append((estimate, rung + 1 < len(estimates)))

    def floors(self) -> tuple[float, ...]:
        """What an estimate must reach to go on, for each rung but the last."""
        pairs = zip(self._shares, self._recent, strict=True)
        return tuple(_floor(recent, share) for share, recent in pairs)


def _floor(recent: Sequence[tuple[float, bool]], share: float) -> float:
    """The smallest of the last estimates that enough of them do not reach.

    Where programs get better quickly, most beat what came before. So the more of the last ones went
    on than should have, the larger a share is to be beaten, up to all of them.
    """
    if not recent:
        return -math.inf
    ranked = sorted(estimate for estimate, _ in recent)
    allowed, went_on = (1 - share) * len(ranked), sum(one for _, one in recent)
    if went_on > allowed:
        allowed *= (allowed / went_on) ** 2
    return ranked[min(int(len(ranked) - allowed), len(ranked) - 1)]
