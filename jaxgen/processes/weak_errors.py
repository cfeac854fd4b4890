"""Weak error: how far two processes are in the expectations of test functions, and at which order it falls with the step size."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgen._core.checks import checked, floating, leading_axis, require
from jaxgen._core.results import Estimate

TestFunction = Callable[[PyTree], ArrayLike]


def weak_error(x: PyTree, y: PyTree, test_functions: Sequence[TestFunction], *, coupled: bool = False) -> Estimate:
    """|E g(X) - E g(Y)| for every test function g, from samples of both.

    The maximum over the test functions is the integral probability distance of their list.

    Args:
        x: M >= 2 samples of X, a pytree whose leaves have leading axis M.
        y: samples of Y, M' >= 2 of them; M with `coupled`.
        test_functions: F functions of one sample, to a scalar.
        coupled: whether sample i of both was made from the same randomness; the standard error is then that of the mean
            of the differences, which a good coupling makes small.

    Returns:
        The F errors, shape (F,), with standard errors. The mean of an absolute value is not 0 for equal laws: an error
        within a few standard errors of 0 is noise.

    Raises:
        ValueError: if there are no test functions or fewer than two samples, the numbers of samples differ with
            `coupled`, the structures or shapes of samples differ, or a test function does not return a scalar.

    Source: Arora et al., Theory of Deep Learning, Definition 12.3.1; spec SDE-10.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import processes
        >>> x = jnp.array([0.0, 1.0, 2.0])
        >>> processes.weak_error(x, x + 0.5, [lambda x: x], coupled=True).value.tolist()
        [0.5]
    """
    difference = _difference(_values(x, y, test_functions, num_axes=1), coupled)
    return Estimate(jnp.abs(difference.value), difference.stderr)


def trajectory_distance(x: PyTree, y: PyTree, test_functions: Sequence[TestFunction], *, coupled: bool = False) -> Estimate:
    """max_k max_g |E g(x_k) - E g(y_k)| over K common times and a list of test functions, from sampled paths.

    Args:
        x: M >= 2 paths, a pytree whose leaves have leading axes (M, K).
        y: paths at the same K times, M' >= 2 of them; M with `coupled`.
        test_functions: F functions of one point of a path, to a scalar.
        coupled: whether path i of both was made from the same randomness.

    Returns:
        The distance, and the standard error of the difference at the time and function where it is largest. A maximum of
        K F noisy differences is above 0 for equal laws: to test for 0 at level p, compare with the quantile of level
        p / (K F) (Bonferroni).

    Raises:
        ValueError: if the numbers K of times differ; otherwise as `weak_error`.

    Source: Arora et al., Theory of Deep Learning, Definitions 12.3.1 and 12.3.2; spec SDE-10.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import processes
        >>> x = jnp.array([[0.0, 1.0], [0.0, 3.0]])
        >>> distance = processes.trajectory_distance(x, x + jnp.array([0.25, 0.5]), [lambda x: x], coupled=True)
        >>> float(distance.value), float(distance.stderr)
        (0.5, 0.0)
    """
    difference = _difference(_values(x, y, test_functions, num_axes=2), coupled)
    errors = jnp.abs(difference.value).ravel()
    largest = jnp.argmax(errors)
    return Estimate(errors[largest], difference.stderr.ravel()[largest])


def weak_order(errors: Estimate | Float[Array, "E *rest"], step_sizes: Float[Array, " E"]) -> Estimate:
    """The order at which errors fall with the step size: slope of log error against log step size, by least squares.

    The order is that of a weak approximation only where the equation that is approximated is the same for all step sizes:
    for SGD, where learning rate times sigma^2 is fixed.

    Args:
        errors: E >= 2 positive errors, one per step size, and as many more axes as there are functions; an `Estimate`
            where they are known up to independent standard errors.
        step_sizes: the E step sizes, positive, not all equal.

    Returns:
        The slope and its standard error: propagated from those of `errors` if they have any, else from the residuals of
        the fit (NaN with two sizes, which leave none). Errors that are not positive, below what sampling noise lets one
        see, are left out of the fit, and the standard error is then infinite, as a warning; NaN for the slope if fewer
        than two are left, or where an error is NaN.

    Raises:
        ValueError: if there are fewer than two step sizes, all of them equal or one not positive, or their number is not
            that of `errors`.

    Source: Arora et al., Theory of Deep Learning, Definition 12.3.3; spec SDE-11.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import processes
        >>> sizes = jnp.array([0.4, 0.2, 0.1])
        >>> order = processes.weak_order(3 * sizes**2, sizes)
        >>> round(float(order.value), 3), float(order.stderr) < 1e-5
        (2.0, True)
    """
    stderr = None
    if isinstance(errors, Estimate):
        errors, stderr = floating("errors", errors.value), floating("the standard error of errors", errors.stderr)
        require(stderr.shape == errors.shape, f"errors must have one standard error each; got shapes {errors.shape} and {stderr.shape}")
    errors, sizes = floating("errors", errors), floating("step_sizes", step_sizes)
    require(sizes.ndim == 1 and sizes.size >= 2, f"step_sizes must hold at least two step sizes in one axis; got shape {sizes.shape}")
    require(errors.ndim >= 1 and len(errors) == len(sizes), f"errors must have one row per step size, {len(sizes)}; got shape {errors.shape}")
    sizes = checked(
        sizes,
        (sizes > 0, f"step_sizes must be positive; got {step_sizes}"),
        (jnp.any(sizes != sizes[0]), f"step_sizes must hold at least two different step sizes; got {step_sizes}"),
    )
    sizes = sizes.reshape(-1, *[1] * (errors.ndim - 1)).astype(errors.dtype)
    used = ~(errors <= 0)
    logs = jnp.log(jnp.where(used, errors, 1))
    centred = jnp.where(used, jnp.log(sizes) - _mean(jnp.log(sizes), used), 0)
    weights = centred / jnp.sum(centred**2, axis=0)
    slope = jnp.sum(weights * logs, axis=0)
    if stderr is None:
        residuals = jnp.where(used, logs - _mean(logs, used) - slope * centred, 0)
        freedom = used.sum(axis=0) - 2
        variance = jnp.sum(residuals**2, axis=0) / jnp.where(freedom > 0, freedom, jnp.nan) / jnp.sum(centred**2, axis=0)
    else:
        variance = jnp.sum(jnp.where(used, weights * stderr / jnp.where(used, errors, 1), 0) ** 2, axis=0)
    return Estimate(slope, jnp.where(jnp.all(used, axis=0), jnp.sqrt(variance), jnp.inf))


def _mean(values: Array, used: Array) -> Array:
    return jnp.sum(jnp.where(used, values, 0), axis=0) / used.sum(axis=0)


def _values(x: PyTree, y: PyTree, test_functions: Sequence[TestFunction], *, num_axes: int) -> tuple[Array, Array]:
    """Test functions at all samples of both, stacked along the last axis; samples have `num_axes` leading axes."""
    require(len(test_functions) > 0, "test_functions must hold at least one function")
    shapes = [[jnp.shape(leaf)[1:] for leaf in jax.tree.leaves(tree)] for tree in (x, y)]
    if num_axes == 2:
        counts = [leading_axis(name, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), tree)) for name, tree in (("x", x), ("y", y))]
        require(counts[0] == counts[1], f"x and y must have the same number of times; got {counts[0]} and {counts[1]}")
    same = jax.tree.structure(x) == jax.tree.structure(y) and shapes[0] == shapes[1]
    require(same, f"samples of x and y must have the same structure and shapes; got {shapes[0]} and {shapes[1]}")

    def at_one(sample):
        values = [floating("values of test functions", g(sample)) for g in test_functions]
        for value in values:
            require(value.ndim == 0, f"test_functions must return a scalar; got shape {value.shape}")
        return jnp.stack(values)

    mapped = at_one
    for _ in range(num_axes):
        mapped = jax.vmap(mapped)
    for name, tree in (("x", x), ("y", y)):
        require(leading_axis(name, tree) >= 2, f"{name} must hold at least two samples, or there is no standard error")
    return mapped(x), mapped(y)


def _difference(values: tuple[Array, Array], coupled: bool) -> Estimate:
    """E g(X) - E g(Y) with its standard error."""
    x, y = values
    if coupled:
        require(len(x) == len(y), f"coupled samples must be as many of both; got {len(x)} and {len(y)}")
        return Estimate(jnp.mean(x - y, axis=0), jnp.std(x - y, axis=0, ddof=1) / jnp.sqrt(len(x)))
    variances = [jnp.var(part, axis=0, ddof=1) / len(part) for part in (x, y)]
    return Estimate(x.mean(axis=0) - y.mean(axis=0), jnp.sqrt(variances[0] + variances[1]))
