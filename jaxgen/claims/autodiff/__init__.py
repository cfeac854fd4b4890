"""Claims of the chapter on automatic differentiation (AD)."""
