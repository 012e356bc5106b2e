"""The intermediate representation: programs in SSA form that print as legal `.opt` text."""

from optdsl.ir.builder import Builder
from optdsl.ir.printer import annotation_text, operand_text, print_operation, print_program
from optdsl.ir.program import INPUT_KINDS, Input, Operation, Program, Role
from optdsl.ir.rewrite import keep, rewrite, take
from optdsl.ir.verify import VerificationError, verify

__all__ = [
    "INPUT_KINDS",
    "Builder",
    "Input",
    "Operation",
    "Program",
    "Role",
    "VerificationError",
    "annotation_text",
    "keep",
    "operand_text",
    "print_operation",
    "print_program",
    "rewrite",
    "take",
    "verify",
]
