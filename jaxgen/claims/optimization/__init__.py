"""Claims of the chapter on optimization (OPT)."""
