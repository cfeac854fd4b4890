"""Claims of the chapter on normalization and scale invariance (NORM)."""
