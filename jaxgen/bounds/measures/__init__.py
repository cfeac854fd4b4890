"""Complexity measures of trained nets, and how well they rank generalization gaps."""
