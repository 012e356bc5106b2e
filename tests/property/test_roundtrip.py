"""Printing and formatting: what is read again is what was written."""

from dataclasses import fields, is_dataclass
from typing import Any

from hypothesis import assume, example, given, settings
from support.programs import EVERYTHING, programs
from support.texts import grammatical, sources

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program, print_program
from optdsl.ops import Kind
from optdsl.syntax import ast, format_file, parse_file
from optdsl.syntax.comments import find_comments


def read(text: str) -> Program:
    return load(Source("<string>", text))


def parsed(text: str) -> ast.File:
    """The tree of a text without syntax errors."""
    found = parse_file(Source("<string>", text))
    assert found.diagnostics == ()
    assert found.file is not None
    return found.file


def meaning(node: Any) -> Any:
    """A syntax tree without places, comments and depths."""
    if isinstance(node, tuple):
        return tuple(meaning(each) for each in node)
    if not is_dataclass(node):
        return node
    skipped = ("span", "comments", "end_comments", "depth")
    named = [field.name for field in fields(node) if field.name not in skipped]
    return (type(node), *(meaning(getattr(node, name)) for name in named))


def comments_of(text: str) -> list[str]:
    return [comment.text for comment in find_comments(Source("<string>", text))]


@settings(max_examples=100)
@given(programs(EVERYTHING, state_kinds=tuple(Kind)))
def test_a_printed_program_is_read_as_itself(program: Program) -> None:
    assert read(print_program(program)) == program


@given(programs(EVERYTHING))
def test_a_printed_program_is_formatted_already(program: Program) -> None:
    text = print_program(program)
    again = format_file(parsed(text))
    assert again.replace('"""\n\n\ndef', '"""\n\ndef') == text


@settings(max_examples=60)
@given(sources())
@example(('"""a" """\ndef train(w, g):\n    return g\n', []))
@example(("def train(w, g):\n    _ = g\n    x = _\n    _ = w\n    return _ + g * x\n", []))
@example(("def train(w, g):\n    _ = g\n    x = h(w)\n    return x * _\ndef h(x):\n"
          "    _ = x\n    return _\n", []))  # fmt: skip
def test_any_program_is_printed_as_itself(drawn: tuple[str, list[str]]) -> None:
    program = read(drawn[0])
    assert read(print_program(program)) == program


@settings(max_examples=60)
@given(sources())
def test_formatting_changes_no_program_and_is_final(drawn: tuple[str, list[str]]) -> None:
    text, _ = drawn
    formatted = format_file(parsed(text))
    again = parsed(formatted)
    assert meaning(again) == meaning(parsed(text))
    assert read(formatted) == read(text)
    assert format_file(again) == formatted


@settings(max_examples=60)
@given(sources())
def test_formatting_keeps_every_comment(drawn: tuple[str, list[str]]) -> None:
    text, comments = drawn
    assert comments_of(text) == comments
    formatted = format_file(parsed(text))
    kept = "  ".join(comments_of(formatted)).split()
    assert sorted(kept) == sorted("  ".join(comments).split())
    lines = "\n".join(comments_of(formatted))
    assert all(lines.count(f"# {number}") >= 1 for number in range(len(comments)))


@settings(max_examples=40)
@given(grammatical())
def test_formatting_any_text_of_the_grammar(text: str) -> None:
    found = parse_file(Source("<string>", text))
    assume(found.file is not None and not found.diagnostics)
    assert found.file
    once = format_file(found.file)
    assert meaning(parsed(once)) == meaning(found.file)
    assert format_file(parsed(once)) == once
    assert sorted(comments_of(once)) == sorted(comments_of(text))


def test_formatting_keeps_line_ends_out() -> None:
    text = "def train(w, g):\r\n    return g  # why\r\n"
    assert format_file(parsed(text)) == text.replace("\r", "")
