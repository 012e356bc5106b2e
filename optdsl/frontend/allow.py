"""Warnings that a file silences: a comment `# optdsl: allow[W201]` on the line, or above it."""

import re
from collections.abc import Iterable

from optdsl.diagnostics import Diagnostic, Source
from optdsl.syntax.comments import find_comments

_ALLOW = re.compile(r"\boptdsl:\s*allow\[([A-Z0-9,\s]+)\]")


def without_allowed(diagnostics: Iterable[Diagnostic], source: Source) -> list[Diagnostic]:
    """The diagnostics but for the warnings that the text allows; errors stay."""
    allowed: set[tuple[int, str]] = set()
    for comment in find_comments(source):
        if match := _ALLOW.search(comment.text):
            line = comment.line + comment.alone
            allowed.update((line, code.strip()) for code in match[1].split(","))
    return [d for d in diagnostics if d.is_error or (d.span.line, d.code) not in allowed]
