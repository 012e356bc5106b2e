"""Diagnostics as text: the source line, carets under the span, the reason, a next step."""

import unicodedata

from optdsl.diagnostics.diagnostic import Diagnostic, Label

MAX_WIDTH = 100
"""Source lines longer than this are cut around the span."""


def render(diagnostic: Diagnostic) -> str:
    """One diagnostic as several lines of plain text, without a final line end.

    Characters that could move the cursor or reorder the text are shown as `?`.
    """
    span = diagnostic.span
    labels = [*diagnostic.related, Label(span, diagnostic.label)]
    labels = [label for label in labels if label.span.source == span.source]
    labels.sort(key=lambda label: (label.span.line, label.span.column))
    gutter = len(str(max(label.span.line for label in labels)))
    pad = " " * gutter
    out = [
        f"{diagnostic.severity}[{diagnostic.code}]: {_visible(diagnostic.message)}",
        f"{pad}--> {_visible(span.source.name)}:{span.line}:{span.column}",
    ]
    if not span.source.text:
        labels = []
    out += [f"{pad} |"] if labels else []
    shown = 0
    for label in labels:
        mark = "^" if label.span == span and label.text == diagnostic.label else "-"
        source_line, underline = _underlined(label, mark)
        if label.span.line != shown:
            out.append(f"{label.span.line:>{gutter}} | {source_line}".rstrip())
            shown = label.span.line
        out.append(f"{pad} | {underline}".rstrip())
    for label in diagnostic.related:
        if label.span.source != span.source:
            where = f"{label.span.source.name}:{label.span.line}:{label.span.column}"
            out.append(f"{pad} = note: {_visible(label.text)} at {_visible(where)}")
    if diagnostic.note:
        out.append(f"{pad} = note: {_visible(diagnostic.note)}")
    if diagnostic.help:
        out.append(f"{pad} = help: {_visible(diagnostic.help)}")
    return "\n".join(out)


def _underlined(label: Label, mark: str) -> tuple[str, str]:
    """The label's source line, cut to a window, and the line of marks under it."""
    span = label.span
    lines = span.source.lines
    text = lines[span.line - 1] if span.line <= len(lines) else ""
    begin = min(span.column - 1, len(text))
    end = span.end_column - 1 if span.end_line == span.line else len(text)
    end = max(min(end, len(text)), begin + 1)
    window = max(0, begin - MAX_WIDTH // 2)
    head, tail = ("..." if window else ""), ("..." if len(text) > window + MAX_WIDTH else "")
    text = head + text[window : window + MAX_WIDTH] + tail
    begin, end = begin - window + len(head), min(end - window + len(head), len(text) + 1)
    left = sum(_width(char) for char in text[:begin])
    marks = max(1, sum(_width(char) for char in text[begin:end]))
    underline = " " * left + mark * marks
    return _visible(text), f"{underline} {_visible(label.text)}" if label.text else underline


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _visible(text: str) -> str:
    """Tabs as a space; control, format and surrogate characters as `?`."""
    text = text.replace("\t", " ")
    return "".join(
        "?" if unicodedata.category(char) in ("Cc", "Cf", "Cs") else char for char in text
    )
