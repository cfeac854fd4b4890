"""Uniform convergence: bounds for one hypothesis, for finite classes, for covers of normed ones, and the gaps over all of a class."""
