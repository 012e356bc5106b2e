"""Regularized evolution: a queue in which the oldest leaves (Real et al., 2019; section 2.2)."""

import random
from collections import deque
from dataclasses import dataclass

from optdsl.evolve.genome import Genome
from optdsl.evolve.judge import Rank


@dataclass(frozen=True, slots=True)
class Member:
    """A committed proposal; number -1 is the initial program."""

    number: int
    genome: Genome
    rank: Rank


class Population:
    """The last `size` commits, warm-started with copies of the initial program."""

    def __init__(self, initial: Member, size: int) -> None:
        """All members are the initial program."""
        self.members = deque([initial] * size, maxlen=size)

    def tournament(self, rng: random.Random, size: int) -> Member:
        """The fittest of `size` members drawn at random, the first drawn among equals."""
        drawn = [self.members[rng.randrange(len(self.members))] for _ in range(size)]
        return max(drawn, key=lambda member: member.rank)

    def add(self, member: Member) -> None:
        """Add a member; the oldest leaves."""
        self.members.append(member)
