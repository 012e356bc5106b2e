"""A language, a compiler and a search for neural-network optimizers."""
