"""Any text at all gives a program or diagnostics: never another exception, nor endless work."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.meter import metered
from support.texts import ANY, HOSTILE, LEGAL, body, damaged, grammatical, sources

from optdsl.diagnostics import CODES, Diagnostic, OptError, Source, render
from optdsl.frontend import Elaborated, elaborate, find_source, read_source, source_from_bytes
from optdsl.frontend.expressions import MAX_STATEMENTS
from optdsl.frontend.files import MAX_BYTES
from optdsl.ir import verify

FREE_WORK, WORK_FOR_A_CHARACTER = 4_000_000, 100
"""Calls that checking a text may make: those for as many statements as a program may have after
unrolling, and some for each character. A quadratic algorithm makes more."""


def check(text: str) -> Elaborated:
    """Elaborate a text; whatever comes out must be sound."""
    source = Source("<string>", text)
    allowance = FREE_WORK + WORK_FOR_A_CHARACTER * len(text)
    found = metered(lambda: elaborate(source), allowance)
    check_diagnostics(source, found.diagnostics)
    errors = [diagnostic for diagnostic in found.diagnostics if diagnostic.is_error]
    assert (found.program is None) == bool(errors)
    if found.program is not None:
        verify(found.program)
        assert len(found.program.operations) <= MAX_STATEMENTS
    else:
        OptError(found.diagnostics)
    return found


def check_diagnostics(source: Source, diagnostics: tuple[Diagnostic, ...]) -> None:
    lines = source.lines
    for diagnostic in diagnostics[:200]:
        span = diagnostic.span
        assert diagnostic.code in CODES
        assert diagnostic.message
        assert diagnostic.help, diagnostic
        assert 1 <= span.line <= span.end_line <= len(lines) + 1
        assert span.column >= 1
        line = lines[span.line - 1] if span.line <= len(lines) else ""
        assert span.column <= len(line) + 1, diagnostic
        assert (span.line, span.column) <= (span.end_line, span.end_column)
        shown = render(diagnostic)
        assert not any(ord(char) < 32 and char != "\n" for char in shown)
    places = [(d.code, d.span.line, d.span.column, d.message) for d in diagnostics]
    assert len(set(places)) == len(places), "the same is reported twice"
    assert [p[1:3] for p in places] == sorted(p[1:3] for p in places)


@given(st.text(ANY))
def test_any_text(text: str) -> None:
    check(text)


@given(st.text(ANY, max_size=30))
def test_any_text_inside_a_program(text: str) -> None:
    check(body(f"    x = {text}\n"))


@settings(max_examples=200)
@given(damaged())
def test_damaged_programs(text: str) -> None:
    check(text)


@settings(max_examples=120)
@given(grammatical())
def test_any_text_that_the_grammar_derives(text: str) -> None:
    check(text)


@given(sources())
def test_valid_programs(drawn: tuple[str, list[str]]) -> None:
    text, _ = drawn
    assert check(text).program is not None


@given(st.binary(max_size=200))
@example(b"\xff")
@example(b"\xef\xbb\xbfdef train(w, g):\n    return g\n")
@example(b"\xc0\x80")
@example(b"\xed\xa0\x80")
@example("def train(w, g):\n    return g\n".encode("utf-16"))
@example(b"\n" * 5 + b"abc\xe2\x82")
def test_any_bytes(data: bytes) -> None:
    try:
        source = source_from_bytes("<bytes>", data)
    except OptError as error:
        (diagnostic,) = error.diagnostics
        assert diagnostic.code == "E003"
        check_diagnostics(diagnostic.span.source, error.diagnostics)
        return
    check(source.text)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_texts_are_refused(what: str) -> None:
    text, code = HOSTILE[what]
    found = check(text)
    assert found.program is None
    assert code in {diagnostic.code for diagnostic in found.diagnostics}, found.diagnostics[:3]


@pytest.mark.parametrize("what", LEGAL)
def test_odd_texts_are_accepted(what: str) -> None:
    found = check(LEGAL[what])
    assert found.program is not None, found.diagnostics[:3]


MANY_NAMES = "".join(f"    name{i:05} = g\n" for i in range(1500))

BULKY: dict[str, str] = {
    "unknown names, each like many known ones": body(
        MANY_NAMES + "".join(f"    x = nbme{i:05}\n" for i in range(1500))
    ),
    "unknown names on one line": body(f"    x = maximum({', '.join(['h'] * 10_000)})\n"),
    "unknown functions": body("".join(f"    x = sqrtt{i}(g)\n" for i in range(1500))),
    "unknown helpers": "".join(f"def helper{i:04}(x):\n    return x\n" for i in range(500))
    + body("".join(f"    x = hepler{i:04}(g)\n" for i in range(500))),
    "parameters declared twice": f"def train({'p, ' * 10_000}g):\n    return g\n",
    "functions declared twice": "def train(g):\n    return g\n" * 4_000,
    "imports of nothing": "".join(f"from m{i} import a\n" for i in range(4_000)) + body(""),
    "wrong numbers of arguments": body("".join("    x = sqrt(g, g)\n" for _ in range(3_000))),
    "an error in a loop's body": body("    for i in range(5_000):\n        x = unknown\n"),
    "an error in a helper called often": "def h(x):\n    return unknown\n"
    + body("    x = h(g)\n" * 3_000),
}
"""Texts with very many errors."""


@pytest.mark.parametrize("what", BULKY)
def test_many_errors_are_no_more_work_than_their_number(what: str) -> None:
    assert check(BULKY[what]).program is None


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.opt"
    with path.open("wb") as file:
        file.truncate(10 * 2**20)
    with pytest.raises(OptError) as caught:
        read_source(path)
    assert [d.code for d in caught.value.diagnostics] == ["E002"]


def test_the_largest_file_is_read() -> None:
    comment = b"#" * (MAX_BYTES - 100) + b"\n"
    program = b"def train(w, g):\n    return g\n"
    source = source_from_bytes("<bytes>", comment + program)
    assert check(source.text).program is not None
    with pytest.raises(OptError, match="E002"):
        source_from_bytes("<bytes>", comment + program + b"#" * 100)


def test_100_000_statements_are_too_large() -> None:
    with pytest.raises(OptError, match="E002"):
        source_from_bytes("<bytes>", body(" g=g\n" * 100_000).encode())


@pytest.mark.parametrize("name", ["", "\0", "a\0b", "x" * 5_000, ".", "/", "\ud800", "no such"])
def test_no_path_is_more_than_unreadable(name: str) -> None:
    with pytest.raises(OptError) as caught:
        find_source(name)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E001"
    assert diagnostic.help
    render(diagnostic)
