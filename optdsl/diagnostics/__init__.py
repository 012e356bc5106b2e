"""Spans, diagnostics, their codes, and how they are shown to people."""

from optdsl.diagnostics.codes import CODES, Code
from optdsl.diagnostics.diagnostic import Diagnostic, Label, OptError
from optdsl.diagnostics.render import render
from optdsl.diagnostics.span import Source, Span
from optdsl.diagnostics.suggest import did_you_mean, nearest

__all__ = [
    "CODES",
    "Code",
    "Diagnostic",
    "Label",
    "OptError",
    "Source",
    "Span",
    "did_you_mean",
    "nearest",
    "render",
]
