"""Emitted source for every stdlib program, and for programs of the paper that sum over the tree.

`pytest --update-golden` rewrites `tests/golden`; a refactor shows no difference there.
"""

from pathlib import Path

import pytest

from optdsl.backends.emit import emit_source
from optdsl.frontend import find_source, load, stdlib

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
PAPER = {p.stem: p for p in sorted((ROOT / "examples" / "paper").glob("*.opt"))}
PROGRAMS = sorted([*stdlib(), *PAPER])


@pytest.mark.parametrize("name", PROGRAMS)
def test_emitted_source_is_the_golden_one(name: str, update_golden: bool) -> None:
    program = load(find_source(str(PAPER.get(name, name))))
    source = emit_source(program, name)
    path = GOLDEN / f"{name}.py.txt"
    if update_golden:
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8")


def test_there_is_no_golden_file_without_a_program() -> None:
    assert {path.name.removesuffix(".py.txt") for path in GOLDEN.iterdir()} == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_emitted_lines_are_at_most_100_long(name: str) -> None:
    lines = (GOLDEN / f"{name}.py.txt").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 100
