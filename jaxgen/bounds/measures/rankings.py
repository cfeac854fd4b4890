r"""How well a measure ranks nets by their generalization gap."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from jaxgen._core.checks import checked, choice, floating, require

VARIANTS = ("a", "b")


def kendall_tau(measure: Num[Array, " n"], gap: Num[Array, " n"], *, variant: str = "a") -> Float[Array, ""]:
    r"""Kendall's rank correlation $\tau = \frac{1}{n (n - 1)} \sum_{i \ne j} \mathrm{sgn}(\mu_i - \mu_j) \, \mathrm{sgn}(g_i - g_j)$.

    Variant b divides by $\sqrt{\sum_{i \ne j} |\mathrm{sgn}(\mu_i - \mu_j)| \sum_{i \ne j} |\mathrm{sgn}(g_i - g_j)|}$ in place of n (n - 1),
    which is the same where there are no ties. Infinities are ranked as such.

    Args:
        measure: $\mu$ of n >= 2 nets.
        gap: g of the same nets.
        variant: `"a"` or `"b"`.

    Returns:
        A number in [-1, 1]; with variant b NaN where all of one side are equal.

    Raises:
        ValueError: if n < 2, the lengths differ, `variant` is unknown, or a value is NaN (NaN results when traced).

    Source: Kendall 1938; Jiang et al. 2020; spec GEN-42. Cost: O(n^2).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> round(float(bounds.kendall_tau(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 3.0, 2.0]))), 4)
        0.3333
    """
    choice("variant", variant, VARIANTS)
    orders = _orders(measure, gap)
    return _tau(*orders, jnp.ones_like(orders[0], bool), variant)[0]


def granulated_kendall(
    measure: Num[Array, " n"], gap: Num[Array, " n"], hyperparameters: Num[Array, "n k"], *, variant: str = "a", per_axis: bool = False
) -> Float[Array, "*k"]:
    r"""Kendall's $\tau$ within groups of nets that differ in one hyperparameter alone, averaged over groups, then over hyperparameters.

    $\Psi = \frac1k \sum_a \psi_a$ with $\psi_a$ the mean of $\tau$ over the groups in which all columns but a are equal and column a
    takes two values or more. It asks whether a measure tells what one hyperparameter does, while $\tau$ may be high since
    the measure follows another. To keep seeds apart, give them as a column.

    Args:
        measure: $\mu$ of n >= 2 nets.
        gap: g of the same nets.
        hyperparameters: a row for each net and a column for each hyperparameter.
        variant: `"a"` or `"b"`, as in `kendall_tau`.
        per_axis: whether to return every $\psi_a$.

    Returns:
        $\Psi$, over the hyperparameters that vary alone; NaN where none does. With `per_axis` (k,) values, NaN for one that does not.

    Raises:
        ValueError: as `kendall_tau`, or if `hyperparameters` has not a row for each net.

    Source: Jiang et al. 2020, section 3; spec GEN-42. Cost: O(n^2 k).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> widths_and_rates = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> measure, gap = jnp.array([1.0, 2.0, 5.0, 6.0]), jnp.array([2.0, 1.0, 4.0, 3.0])
        >>> bounds.granulated_kendall(measure, gap, widths_and_rates, per_axis=True).tolist()
        [1.0, -1.0]
    """
    choice("variant", variant, VARIANTS)
    orders = _orders(measure, gap)
    columns = jnp.asarray(hyperparameters)
    require(
        columns.ndim == 2 and len(columns) == len(orders[0]) and columns.shape[1] > 0,
        f"hyperparameters must have shape ({len(orders[0])}, k); got {columns.shape}",
    )
    equal = columns[:, None] == columns[None]
    found = jnp.stack([_over_groups(orders, equal, axis, variant) for axis in range(columns.shape[1])])
    return found if per_axis else jnp.nanmean(found)


def _over_groups(orders: tuple[Array, Array], equal: Array, axis: int, variant: str) -> Array:
    """The mean of tau over the groups in which one column alone varies, every net counting by its share of its group."""
    together = jnp.delete(equal, axis, axis=2, assume_unique_indices=True).all(axis=2)
    varies = (together & ~equal[:, :, axis]).any(axis=1)
    share = jnp.where(varies, 1 / together.sum(axis=1), 0.0)
    taus = _tau(*orders, together, variant)
    total = jnp.sum(jnp.where(varies, share * taus, 0.0))
    return jnp.where(varies.any(), total / jnp.where(varies.any(), share.sum(), 1.0), jnp.nan).astype(orders[0].dtype)


def _tau(measure: Array, gap: Array, together: Array, variant: str) -> Array:
    """For every net tau of its group, from signs of all pairs."""

    def over_group(pairs: Array) -> Array:
        return jnp.sum(jnp.where(together, jnp.sum(jnp.where(together, pairs, 0), axis=1), 0), axis=1)

    size = together.sum(axis=1).astype(measure.dtype)
    pairs = jnp.sqrt(over_group(jnp.abs(measure)) * over_group(jnp.abs(gap))) if variant == "b" else size * (size - 1)
    return over_group(measure * gap) / pairs


def _orders(measure: Array, gap: Array) -> tuple[Array, Array]:
    """Signs of the differences of all pairs."""
    measure, gap = floating("measure", measure), floating("gap", gap)
    require(measure.ndim == 1 and len(measure) >= 2, f"a ranking needs measures of at least two nets, shape (n,); got shape {measure.shape}")
    require(gap.shape == measure.shape, f"gap must have the shape of measure, {measure.shape}; got {gap.shape}")

    def signs(name: str, values: Array) -> Array:
        known = checked(values, (~jnp.isnan(values), f"{name} must hold no NaN"))
        above = (known[:, None] > known).astype(known.dtype) - (known[:, None] < known)
        return jnp.where(jnp.isnan(known).any(), jnp.nan, above)

    dtype = jnp.result_type(measure, gap)
    return signs("measure", measure).astype(dtype), signs("gap", gap).astype(dtype)
