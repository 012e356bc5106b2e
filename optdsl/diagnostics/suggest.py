"""Which names a user may have meant."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import islice

CUTOFF = 0.6
"""How alike two names must be, from 0 to 1, to be suggested."""


MAX_KNOWN, MAX_LENGTH = 1000, 100
"""Further names, and longer ones, are not looked at: comparing takes time."""

MAX_SUGGESTIONS = 20
"""A file with more errors than this gets no more suggestions."""


def nearest(name: str, known: Iterable[str], most: int = 3, errors: int = 0) -> list[str]:
    """The names of `known` closest to `name`, best first, at most `most` of them.

    None where the file has many `errors` already.
    """
    if errors >= MAX_SUGGESTIONS or len(name) > MAX_LENGTH:
        return []
    matcher = SequenceMatcher(b=name)
    ranked: list[tuple[float, str]] = []
    for candidate in islice(dict.fromkeys(known), MAX_KNOWN):
        if candidate == name or len(candidate) > MAX_LENGTH:
            continue
        matcher.set_seq1(candidate)
        if matcher.real_quick_ratio() >= CUTOFF and matcher.ratio() >= CUTOFF:
            ranked.append((-matcher.ratio(), candidate))
    return [candidate for _, candidate in sorted(ranked)[:most]]


def did_you_mean(names: Iterable[str]) -> str:
    """A question such as ``did you mean `beta1` or `beta2`?``; empty for no names."""
    quoted = [f"`{name}`" for name in names]
    if not quoted:
        return ""
    if len(quoted) == 1:
        return f"did you mean {quoted[0]}?"
    return f"did you mean {', '.join(quoted[:-1])} or {quoted[-1]}?"
