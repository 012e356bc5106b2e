"""A language, a compiler and a search for neural-network optimizers."""

from optdsl.api import OptError, OptimizerProgram, load, parse

__all__ = ["OptError", "OptimizerProgram", "load", "parse"]
