"""Small run folders, written through the store's own schema, with a search's usual course."""

import json
import math
import random
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from optdsl.diagnostics import Source
from optdsl.evolve.meta import META_SEEDS
from optdsl.evolve.rescore import REPORT_SEEDS
from optdsl.evolve.store import APPLICATION, FORMAT, SCHEMA, Part
from optdsl.frontend import load
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import remove_dead_state

INITIAL = """\
def train(w, g, m, lr, b1=0.9):
    m = interpolate(g, m, b1)
    update = lr * m
    return update, m
"""

FOUND = """\
def train(w, g, m, lr):
    m = interpolate(g, m, {constant!r})
    s = sign(m)
    t = square(w)
    update = lr * s
    return update, m
"""
"""Programs that differ in a constant; `t` is dead."""

LIVE_FOUND = """\
def train(w, g, m, lr):
    m = interpolate(g, m, {constant!r})
    s = sign(m)
    update = lr * s
    return update, m
"""
"""What is run of them."""

CONFIG = {
    "version": "0.1.0",
    "task": "digits_mlp",
    "strategy": "evolution",
    "baselines": ["tune", "random"],
    "restarts": 3,
    "population": 100,
    "cache_level": "structural",
    "protected": False,
    "program": INITIAL,
}

HASH = "{:032x}"


@dataclass
class RunFolder:
    """Writes a run folder's database; each program is `FOUND` with its number as constant."""

    folder: Path
    position: int = 0
    db: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.configure(CONFIG)
        self.db = sqlite3.connect(self.folder / "run.sqlite", isolation_level=None)
        self.db.executescript(
            f"PRAGMA journal_mode=WAL; {SCHEMA} PRAGMA application_id={APPLICATION};"
            f" PRAGMA user_version={FORMAT};"
        )
        self.program("initial", -1.0, INITIAL)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        self.db.close()

    def configure(self, config: dict[str, object]) -> None:
        rows = [f"{name} = {json.dumps(value)}\n" for name, value in config.items()]
        (self.folder / "config.toml").write_text("".join(rows), encoding="utf-8")

    def begin(
        self,
        stage: str,
        strategy: str = "evolution",
        initial: str = "initial",
        origin: tuple[str, int] | None = None,
    ) -> None:
        main = self.position == 0 or strategy == "evolution"
        part = Part.BEST if origin else Part.RESTART if main else Part.BASELINE
        row = (stage, self.position, strategy, part.value, *(origin or (None, None)))
        self.db.execute("INSERT INTO stages VALUES (?, ?, ?, ?, ?, ?)", row)
        self.position += 1
        self.propose(stage, -1, None, initial, mutation="initial", statements=(3, 2))

    def program(
        self, key: str, fitness: float, text: str = "", failure: str = "", borrowed: bool = False
    ) -> None:
        scores = [] if failure else [[None if math.isinf(fitness) else fitness, fitness - 0.1]]
        row = (key, text or key, fitness, json.dumps(scores if not failure else []), failure)
        if math.isinf(fitness) and not failure:
            row = (key, text or key, fitness, "[[null, null]]", failure)
        self.db.execute("INSERT INTO programs VALUES (?, ?, ?, ?, ?, ?)", (*row, borrowed))

    def propose(
        self,
        stage: str,
        number: int,
        parent: int | None,
        key: str,
        mutation: str = "insert",
        invalid: int = 0,
        statements: tuple[int, int] = (4, 3),
    ) -> None:
        row = (stage, number, parent, mutation, invalid, *statements, key)
        self.db.execute("INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def look(self, stage: str, programs: int, key: str, score: float) -> None:
        """A leader's scores on the meta task; one at -inf diverged."""
        scores = [[score + 0.001 * (i % 3), score - 0.1] for i in range(len(META_SEEDS))]
        if math.isinf(score):
            scores = [[None, None]] * len(META_SEEDS)
        row = (stage, programs, key, json.dumps(scores))
        self.db.execute("INSERT INTO meta_scores VALUES (?, ?, ?, ?)", row)

    def rescore(self, text: str, score: float) -> None:
        """Scores on the seeds of reports, for what is run of a program."""
        key = structural_hash(remove_dead_state(load(Source("<test>", text))))
        scores = [[score + 0.001 * (i % 3), score - 0.1] for i in range(len(REPORT_SEEDS))]
        self.db.execute(
            "INSERT INTO rescored VALUES (?, ?, ?)",
            (key, json.dumps(REPORT_SEEDS), json.dumps(scores)),
        )


def write_search(
    run: RunFolder,
    stage: str,
    programs: int,
    strategy: str = "evolution",
    initial: str = "initial",
    hits: float = 0.8,
    limit: float = -0.2,
    origin: tuple[str, int] | None = None,
) -> tuple[str, tuple[str, int]]:
    """A search that gets better by and by; the key of its best, and where that is."""
    rng = random.Random(stage)
    run.db.execute("BEGIN")
    run.begin(stage, strategy, initial, origin)
    best, best_fitness, parent = initial, -1.0, -1
    keys = [initial]
    for number in range(programs):
        live = 3 + rng.randrange(3)
        dead = int(20 * number / (number + programs / 4) * rng.random())
        key = rng.choice(keys[-50:])
        child = parent if number else -1
        if rng.random() > hits:
            constant = rng.random()
            key = HASH.format(rng.getrandbits(128))
            height = limit - 0.8 * math.exp(-4 * number / programs) - abs(rng.gauss(0, 0.5))
            if rng.random() < 0.1:
                failure = "its worker crashed" if rng.random() < 0.2 else ""
                run.program(key, -math.inf, FOUND.format(constant=constant), failure)
            else:
                run.program(key, height, FOUND.format(constant=constant))
                keys.append(key)
                if height > best_fitness:
                    best, best_fitness, parent = key, height, number
        mutation = rng.choice(["insert", "delete", "modify"])
        run.propose(stage, number, child, key, mutation, rng.randrange(3), (live + dead, live))
    run.db.execute("COMMIT")
    return best, (stage, parent)


def write_watched_run(folder: Path) -> None:
    """A search whose leaders get better, and worse on the meta task in the end."""
    with RunFolder(folder) as run:
        run.configure(CONFIG | {"meta_task": "digits_mlp@10x"})
        run.begin("evolution-1")
        for number in range(100):
            run.program(HASH.format(number), -0.9 + number / 200, FOUND.format(constant=number))
            run.propose("evolution-1", number, number - 1, HASH.format(number))
        for programs, key, score in ((0, "initial", -2.0), (20, HASH.format(19), -1.0),
                                     (60, HASH.format(59), -1.5)):  # fmt: skip
            run.look("evolution-1", programs, key, score)


FUNNEL = {
    "rungs": [
        {
            "task": "digits_mlp@10x",
            "baseline": {"name": "baseline", "test": -0.2, "test_half_width": 0.01, "text": "x"},
            "programs": [
                {
                    "name": "winner",
                    "test": -0.1,
                    "test_half_width": 0.01,
                    "validation_gain": 0.125,
                    "validation_gain_half_width": 0.0625,
                    "test_gain": 0.1,
                    "test_gain_half_width": 0.03,
                    "verdict": "better",
                    "goes_on": True,
                    "setting": {"learning_rate": 0.1},
                },
                {
                    "name": "evolution-1 7",
                    "test": None,
                    "test_half_width": None,
                    "validation_gain": None,
                    "validation_gain_half_width": None,
                    "test_gain": None,
                    "test_gain_half_width": None,
                    "verdict": "worse",
                    "goes_on": False,
                },
            ],
            "go_on": ["winner"],
        }
    ],
    "seeds": 3,
}
"""As `optdsl funnel` writes it."""


def write_run(folder: Path, programs: int = 600, restarts: int = 3) -> None:
    """A whole run: restarts, the search from the best, two baselines, re-scored, `best.opt`."""
    with RunFolder(folder) as run:
        for number in range(1, restarts + 1):
            best, place = write_search(run, f"evolution-{number}", programs)
        if restarts > 1:
            best, _ = write_search(
                run, "evolution-best", programs, initial=best, limit=-0.15, origin=place
            )
        evaluations = programs // 5 * (restarts + 1)
        tuned, _ = write_search(run, "tune", evaluations, "tune", hits=0.1, limit=-0.3)
        drawn, _ = write_search(run, "random", evaluations, "random", hits=0.1, limit=-0.5)
        texts = dict(run.db.execute("SELECT key, text FROM programs").fetchall())
        for text, score in ((INITIAL, -1.1), (texts[tuned], -0.35), (texts[drawn], -0.6),
                            (texts[best], -0.2)):  # fmt: skip
            run.rescore(text, score)
        run.db.execute("INSERT INTO timeline VALUES (83.5, ?)", (programs,))
        constant = load(Source("<test>", texts[best])).constants[0]
    text = "# The best.\n" + LIVE_FOUND.format(constant=constant)
    (folder / "best.opt").write_text(text, encoding="utf-8")
