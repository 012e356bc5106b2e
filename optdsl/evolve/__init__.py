"""The search: mutations, population, run folder, driver."""
