"""Analyses and transformations of programs."""
