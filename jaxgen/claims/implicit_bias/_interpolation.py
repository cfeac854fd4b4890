"""Underdetermined regressions that the claims on limits draw."""

import jax
import jax.numpy as jnp

BOOK = "Arora et al., Theory of Deep Learning"
LARGEST = 4.0
"""The largest eigenvalue of X X^T; the smallest is 1."""


def regression(key, n, d, *, positive=False):
    """X (n, d) with singular values from 1 to 2, and y = X w of a Gaussian w, or of one with entries in (1/2, 3/2)."""
    left, right, weights = jax.random.split(key, 3)
    small = min(n, d)
    rows = jnp.linalg.qr(jax.random.normal(right, (d, small)))[0].T
    x = jnp.linalg.qr(jax.random.normal(left, (n, small)))[0] @ (jnp.linspace(1.0, 2.0, small)[:, None] * rows)
    w = jax.random.uniform(weights, (d,), minval=0.5, maxval=1.5) if positive else jax.random.normal(weights, (d,))
    return x, x @ w


def gradient(x, y):
    """w -> the gradient of (8.1), 2 X^T (X w - y); examples and w may be matrices."""
    return lambda w: 2 * jnp.tensordot(jnp.tensordot(x, w, w.ndim) - y, x, 1)


def example_gradient(x, y):
    """(w, i) -> the gradient of example i."""
    return lambda w, i: 2 * (x[i] @ w - y[i]) * x[i]


def iterate(w, gradient, t):
    """What to record for the path."""
    return w
