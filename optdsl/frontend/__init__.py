"""Names and scopes: from the syntax tree to the IR."""

from optdsl.frontend.elaborate import Elaborated
from optdsl.frontend.expressions import Trace
from optdsl.frontend.files import find_source, read_source, source_from_bytes, stdlib
from optdsl.frontend.load import elaborate, load

__all__ = [
    "Elaborated",
    "Trace",
    "elaborate",
    "find_source",
    "load",
    "read_source",
    "source_from_bytes",
    "stdlib",
]
