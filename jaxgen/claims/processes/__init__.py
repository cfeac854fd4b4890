"""Claims of the chapter on stochastic gradient descent as a random process (SDE)."""
