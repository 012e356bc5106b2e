"""Which names a user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names of `known` closest to `name`, best first, at most `most` of them."""
    candidates = sorted(set(known) - {name})
    return get_close_matches(name, candidates, n=most, cutoff=0.6)


def did_you_mean(names: Iterable[str]) -> str:
    """A question such as ``did you mean `beta1` or `beta2`?``; empty for no names."""
    quoted = [f"`{name}`" for name in names]
    if not quoted:
        return ""
    if len(quoted) == 1:
        return f"did you mean {quoted[0]}?"
    return f"did you mean {', '.join(quoted[:-1])} or {quoted[-1]}?"
