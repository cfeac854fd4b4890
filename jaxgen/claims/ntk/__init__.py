"""Claims of the chapter on ultra-wide nets (NTK)."""
