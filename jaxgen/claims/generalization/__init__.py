"""Claims of the chapter on generalization (GEN)."""
