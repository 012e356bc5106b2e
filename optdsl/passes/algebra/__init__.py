"""Simplification by algebra: programs are read into normal forms, and written with few statements.

read_program -> forms of the outputs -> reduced states (across training steps) -> write_program
"""

from optdsl.passes.algebra.forms import Algebra, Form
from optdsl.passes.algebra.reading import read_program
from optdsl.passes.algebra.rules import RULES, Level, Rule
from optdsl.passes.algebra.simplify import simplify_algebra

__all__ = ["RULES", "Algebra", "Form", "Level", "Rule", "read_program", "simplify_algebra"]
