"""Text to syntax tree and back."""

from optdsl.syntax.formatter import format_expression, format_file
from optdsl.syntax.parser import Parsed, parse_file

__all__ = ["Parsed", "format_expression", "format_file", "parse_file"]
