"""Claims of the chapter on information-theoretic generalization bounds (INFO)."""
