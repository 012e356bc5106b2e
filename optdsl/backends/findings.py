"""What `optdsl check` says of a text: errors, and warnings of what runs of the program show."""

from optdsl.backends.properties import Hazard, hazards
from optdsl.diagnostics import Diagnostic, Source, Span
from optdsl.frontend import elaborate
from optdsl.frontend.allow import without_allowed

HAZARDS = {
    "W201": ("divides by zero", "add a small number to the divisor, or choose with `where`"),
    "W202": ("leaves its domain", "keep the argument in it, as in `sqrt(maximum(x, 0))`"),
}
"""For a warning: what happens, and the next step."""


def findings(source: Source) -> list[Diagnostic]:
    """The diagnostics of a text in the order of its lines, without the warnings that it allows."""
    elaborated = elaborate(source)
    found = list(elaborated.diagnostics)
    if elaborated.program is not None:
        found += [_warning(source, h) for h in hazards(elaborated) if h.example is not None]
        found.sort(key=lambda d: (d.span.line, d.span.column))
    return without_allowed(found, source)


def _warning(source: Source, hazard: Hazard) -> Diagnostic:
    line = source.lines[hazard.line - 1]
    indent = len(line) - len(line.lstrip())
    span = Span(source, hazard.line, indent + 1, hazard.line, len(line.rstrip()) + 1)
    what, help = HAZARDS[hazard.code]
    message = f"`{hazard.function}` {what} {hazard.example}"
    return Diagnostic(hazard.code, message, span, label="not finite from then on", help=help)
