"""Where something stands in a source text."""

from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Source:
    """A text and the name it is reported under (a path, `<stdin>` or `<string>`)."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The text's lines without their line ends, split as the lexer splits them."""
        return tuple(line.removesuffix("\r") for line in self.text.split("\n"))


@dataclass(frozen=True)
class Span:
    """A half-open range of characters: 1-based lines and columns, counted in code points."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int

    def to(self, end: "Span") -> "Span":
        """The range from this span's beginning to the end of `end`."""
        return Span(self.source, self.line, self.column, end.end_line, end.end_column)
