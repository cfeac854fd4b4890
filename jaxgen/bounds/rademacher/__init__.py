"""Rademacher complexity: of loss matrices, linear and kernel classes, and of learners that fit random labels."""
