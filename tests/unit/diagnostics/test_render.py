"""How a diagnostic is shown where the plain cases of tests/filecheck don't reach."""

from optdsl.diagnostics import Diagnostic, Label, OptError, Source, Span, render


def at(text: str, line: int, column: int, end: int) -> Span:
    return Span(Source("a.opt", text), line, column, line, end)


def lines(diagnostic: Diagnostic) -> list[str]:
    return render(diagnostic).splitlines()


def test_wide_and_combining_characters_take_their_columns() -> None:
    shown = lines(Diagnostic("E101", "x", at("漢字 e\u0301 = nope", 1, 9, 13)))
    assert shown[3] == "1 | 漢字 e\u0301 = nope"
    assert shown[4] == "  | " + " " * 9 + "^^^^"


def test_long_lines_are_cut_around_the_span() -> None:
    shown = lines(Diagnostic("E101", "x", at("a" * 300 + "!" + "b" * 300, 1, 301, 302)))
    assert max(map(len, shown)) < 120
    assert shown[3].index("!") == shown[4].index("^")


def test_a_span_of_several_lines_is_marked_on_the_first() -> None:
    span = Span(Source("a.opt", "x = (g\n  + w)\n"), 1, 5, 2, 7)
    shown = lines(Diagnostic("E101", "x", span))
    assert shown[3:] == ["1 | x = (g", "  |     ^^"]


def test_what_could_move_the_cursor_is_a_question_mark() -> None:
    source = Source("\x1b[2J.opt", "x = \x1b[31m\u202e\n")
    shown = render(Diagnostic("E003", "\x07", Span(source, 1, 5, 1, 6), help="\r"))
    assert not any(char in shown for char in "\x1b\u202e\x07\r")


def test_a_label_in_another_file_is_a_note() -> None:
    other = Span(Source("b.opt", "y\n"), 1, 1, 1, 2)
    found = Diagnostic("E504", "x", at("x\n", 1, 1, 2), related=(Label(other, "broken here"),))
    assert "  = note: broken here at b.opt:1:1" in lines(found)


def test_an_error_says_the_first_thing_and_how_many_more() -> None:
    first = Diagnostic("E101", "unknown name `x`", at("x\n", 1, 1, 2), help="declare it")
    warning = Diagnostic("W101", "unused", at("x\n", 1, 1, 2))
    assert str(OptError([warning, first])) == "a.opt:1:1: E101: unknown name `x`; declare it"
    assert str(OptError([first, first])).endswith("(and 1 more error)")
    assert str(OptError([first] * 3)).endswith("(and 2 more errors)")
