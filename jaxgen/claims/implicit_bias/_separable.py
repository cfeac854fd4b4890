"""Separable data that the claims on margins draw."""

import math

import jax
import jax.numpy as jnp

from jaxgen import implicit_bias

BOOK = "Arora et al., Theory of Deep Learning"
NORMS = {f"l{name}": implicit_bias.lp_norm(p) for name, p in (("1", 1), ("4/3", 4 / 3), ("2", 2), ("3", 3), ("inf", math.inf))}
TWO_POINTS = ((2.0, 0.5), (0.5, 2.0))
"""Label-absorbed examples with margins 1.25, 2.5 / sqrt 2 and 2.5 in l1, l2 and linf."""


def planted(key, n=8, d=4, least=0.5):
    """n label-absorbed rows in d dimensions, whose products with a hidden direction of norm one are at least `least`."""
    direction_key, row_key = jax.random.split(key)
    direction = jax.random.normal(direction_key, (d,))
    direction = direction / jnp.linalg.norm(direction)
    rows = jax.random.normal(row_key, (n, d))
    along = rows @ direction
    return rows + (jnp.abs(along) - along + least)[:, None] * direction


def unit(w):
    return w / jnp.linalg.norm(w)


def ratio(trace, gamma):
    """The last normalized margin over the largest."""
    return trace.margin[-1] / trace.norm[-1] / gamma
