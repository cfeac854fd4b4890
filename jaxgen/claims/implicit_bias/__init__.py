"""Claims of the chapter on implicit bias (BIAS)."""
