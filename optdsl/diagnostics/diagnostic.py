"""A message to the user as data; `render` is the one place that turns it into text."""

from collections.abc import Sequence
from dataclasses import dataclass

from optdsl.diagnostics.codes import CODES
from optdsl.diagnostics.span import Span


@dataclass(frozen=True)
class Label:
    """A remark on a place: the reason behind a diagnostic, or a related declaration."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a code of `CODES`, the smallest span, the reason, and a next step."""

    code: str
    message: str
    span: Span
    label: str = ""
    related: tuple[Label, ...] = ()
    note: str = ""
    help: str = ""

    @property
    def severity(self) -> str:
        """`error` or `warning`, as the code's entry says."""
        return CODES[self.code].severity

    @property
    def is_error(self) -> bool:
        """Whether the program can't be used."""
        return self.severity == "error"

    def to_json(self) -> dict[str, object]:
        """The keys of `optdsl check --json`, and the further text beside them."""
        span = self.span
        return {
            "file": span.source.name,
            "line": span.line,
            "column": span.column,
            "end_line": span.end_line,
            "end_column": span.end_column,
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "label": self.label,
            "note": self.note,
            "help": self.help,
        }


class OptError(ValueError):
    """A `.opt` text that can't be used; carries all of its diagnostics."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Keep the diagnostics in the order in which they stand in the text."""
        self.diagnostics = tuple(diagnostics)
        first = next(d for d in self.diagnostics if d.is_error)
        where = f"{first.span.source.name}:{first.span.line}:{first.span.column}"
        more = sum(d.is_error for d in self.diagnostics) - 1
        tail = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
        advice = f"; {first.help}" if first.help else ""
        super().__init__(f"{where}: {first.code}: {first.message}{advice}{tail}")
