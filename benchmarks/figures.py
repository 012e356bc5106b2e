"""What benchmarks share: timing a call, where a search starts, and printing what was found."""

import json
import time
from collections.abc import Callable, Mapping

import jax

from optdsl.evolve.genome import from_program
from optdsl.evolve.proposals import Candidate, check
from optdsl.frontend import find_source, load
from optdsl.resources import search_start

NO_GAIN = 1e-9
"""What a peer gains at least, so that it can be divided by."""


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, until its arrays are there."""
    began = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - began


def start() -> Candidate:
    """The program that `optdsl evolve` starts from."""
    initial = check(from_program(load(find_source(str(search_start())))))
    assert initial is not None
    return initial


def show(result: Mapping[str, object], as_json: bool) -> None:
    """One object of JSON, or a line for each figure."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:<28} {value}")


def gain_ratio(initial: float, score: float, peer: float) -> float:
    """What a score is above the initial one, as a multiple of what a peer's is."""
    return (score - initial) / max(peer - initial, NO_GAIN)
