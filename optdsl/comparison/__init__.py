"""Comparisons that can be believed: tuning, equal budgets, fresh seeds; and identification."""
