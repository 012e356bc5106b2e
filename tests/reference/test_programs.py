"""The standard library's and the paper's files: without diagnostics, documented, in one layout."""

from pathlib import Path

import pytest

from optdsl.frontend import elaborate, read_source, stdlib
from optdsl.syntax import format_file, parse_file

PAPER = Path(__file__).parents[2] / "examples" / "paper"

FILES = [*stdlib().values(), *sorted(PAPER.glob("*.opt"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_has_a_docstring_the_standard_layout_and_no_diagnostics(path: Path) -> None:
    source = read_source(path)
    parsed = parse_file(source)
    assert parsed.file is not None
    assert parsed.file.docstring is not None
    assert format_file(parsed.file) == source.text
    assert elaborate(source).diagnostics == ()


def test_program_8_keeps_its_redundant_statements() -> None:
    parsed = parse_file(read_source(PAPER / "program_8.opt"))
    assert parsed.file is not None
    *statements, _ = parsed.file.functions[0].body
    assert len(statements) == 21
