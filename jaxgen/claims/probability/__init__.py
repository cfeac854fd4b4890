"""Claims about concentration of measure (PROB)."""
