"""Lowerings of programs: NumPy reference, jitted JAX, register machine, emitted source."""
