"""The run's best programs: which they are, where they come from, and what in them is dead."""

import json
import sqlite3
from dataclasses import dataclass

from optdsl.diagnostics import OptError, Source
from optdsl.evolve.best import as_written
from optdsl.evolve.finds import Found, best_of_stages, rank
from optdsl.evolve.lineage import gains
from optdsl.evolve.lineage import lineage as lineage_of
from optdsl.evolve.proposals import KEYS, Space
from optdsl.evolve.rescore import REPORT_SEEDS, Report, report
from optdsl.evolve.run_data import RunData
from optdsl.evolve.store import ProposalId, StoreError, scores_from_json
from optdsl.frontend import elaborate, load
from optdsl.ir import Program
from optdsl.passes.fold import bind, default_values
from optdsl.passes.hashing import structural_hash
from optdsl.passes.statements import live_statements

LEADERS = 10
"""How many programs a search re-scores: its winner is one of them."""


@dataclass(frozen=True)
class Step:
    """An ancestor that was better than all before it; the first is the initial program."""

    stage: str
    number: int
    mutation: str
    fitness: float
    gain: float
    statements: int
    live_statements: int


@dataclass(frozen=True)
class Lineage:
    """How a program came about."""

    mutations: int
    """From the initial program on."""
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Line:
    """A line of a program's text."""

    text: str
    dead: bool
    """Whether it is a statement that the update doesn't depend on."""


@dataclass(frozen=True)
class Fresh:
    """Scores on seeds that nothing was chosen by."""

    program: str
    """Which program it is."""
    report: Report


def winner(db: sqlite3.Connection, run: RunData) -> Found | None:
    """The program of `best.opt` as it was found; before the run's end, the best so far."""
    leaders = [one for stage in run.searches for one in best_of_stages(db, [stage], LEADERS)]
    leaders.sort(key=rank, reverse=True)
    best = None if run.best is None else _load("best.opt", run.best)
    if best is not None:
        key = KEYS.get(str(run.config.get("cache_level")), structural_hash)
        wanted = key(best)
        for one in leaders:
            program = _executed(run, _load(one.key, one.text))
            if program is not None and key(as_written(program)) == wanted:
                return one
    return leaders[0] if leaders else None


def lineage(db: sqlite3.Connection, run: RunData, found: Found) -> Lineage:
    """From the run's initial program to this one, through all searches between them."""
    try:
        ancestors = lineage_of(db, ProposalId(found.stage, found.number))[::-1]
    except StoreError as error:
        raise StoreError(f"{run.folder}: {error}") from None
    steps: list[Step] = []
    for one in gains(ancestors):
        gain = one.fitness - steps[-1].fitness if steps else 0.0
        sizes = one.statements, one.live_statements
        steps.append(Step(one.stage, one.number, one.mutation, one.fitness, gain, *sizes))
    return Lineage(len(ancestors) - 1, tuple(steps))


def listing(text: str) -> tuple[Line, ...]:
    """The text's lines; one that this optdsl can't read has no dead ones."""
    elaborated = elaborate(Source("<program>", text))
    dead: set[int] = set()
    if elaborated.program is not None:
        alive = live_statements(elaborated)
        statements = zip(elaborated.statements, alive, strict=True)
        dead = {trace.line for trace, is_live in statements if not is_live}
    return tuple(
        Line(line, number in dead) for number, line in enumerate(text.splitlines(), start=1)
    )


def fresh_reports(db: sqlite3.Connection, run: RunData) -> tuple[Fresh, ...]:
    """The initial program's, the baselines' and the winner's; () before the run's end."""
    query = "SELECT key, scores FROM rescored WHERE seeds = ?"
    rows = db.execute(query, (json.dumps(REPORT_SEEDS),)).fetchall()
    if run.best is None or not rows:
        return ()
    known = {key: report(scores_from_json(scores)) for key, scores in rows}
    initial = _load("config.toml", str(run.config.get("program", "")))
    bound = None if initial is None else bind(initial, default_values(initial))
    programs = [("the initial program", [_executed(run, bound)])]
    for stage in run.baselines:
        texts = [one.text for one in best_of_stages(db, [stage], LEADERS)]
        programs.append((stage.name, [_executed(run, _load("<program>", t)) for t in texts]))
    programs.append(("the winner", [_load("best.opt", run.best)]))
    return tuple(
        Fresh(name, known[key])
        for name, candidates in programs
        if (key := next((k for k in map(_hash, candidates) if k in known), None)) is not None
    )


def _hash(program: Program | None) -> str:
    return "" if program is None else structural_hash(program)


def _load(name: str, text: str) -> Program | None:
    try:
        return load(Source(name, text))
    except OptError:
        return None


def _executed(run: RunData, program: Program | None) -> Program | None:
    space = Space((), protected=run.config.get("protected") is True)
    return None if program is None else space.executed(program)
