"""Simplification: exact, algebraic, and by evidence from training."""
