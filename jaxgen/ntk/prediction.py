r"""What training does to a model whose kernel stays as it is: predictions in closed form.

Conventions: the objective is $s \, \frac12 \sum_i \lVert u_i - y_i \rVert^2$ with `loss_scale` s, 1 for a sum and 1/N for a mean over examples.
A kernel is shared by all outputs, shape (N, N), or full, shape (N, N, C, C) with entry [n, m, c, d] for outputs c at n and d at m.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num

from jaxgen import optimization
from jaxgen._core.checks import checked, floating, require

HIGHEST = jax.lax.Precision.HIGHEST


class Problem(eqx.Module):
    """Arguments of a prediction, with a full kernel as a matrix on examples and outputs together.

    Attributes:
        k_train: shape (n, n); n = N, or N C.
        k_test: shape (m, n); m = M, or M C.
        y: targets, shape (n,) or (n, C).
        f0_train: initial outputs, of the shape of `y`.
        f0_test: the same at the test points.
        test_shape: shape of predictions as they are returned, static.
    """

    k_train: Float[Array, "n n"]
    k_test: Float[Array, "m n"]
    y: Float[Array, "n *c"]
    f0_train: Float[Array, "n *c"]
    f0_test: Float[Array, "m *c"]
    test_shape: tuple[int, ...] = eqx.field(static=True)


def predict(
    k_train: Float[ArrayLike, "N N *CC"],
    y: Float[ArrayLike, "N *C"],
    k_test: Float[ArrayLike, "M N *CC"],
    f0_train: Float[ArrayLike, "..."] = 0.0,
    f0_test: Float[ArrayLike, "..."] = 0.0,
    *,
    t: Float[ArrayLike, "*t"] = math.inf,
    learning_rate: ArrayLike | None = None,
    num_steps: Num[ArrayLike, "*t"] | None = None,
    ridge: ArrayLike = 0.0,
    loss_scale: ArrayLike = 1.0,
    momentum: ArrayLike = 0.0,
) -> Float[Array, "..."]:
    r"""Outputs at test points after training under squared loss: $f_t(x) = f_0(x) + k(x, X) \, g_t(H) \, (y - f_0(X))$.

    By gradient flow $g_t(H) = H^{-1} (I - e^{-s H t})$; by gradient descent $g_k(H) = H^{-1} (I - (I - s \eta H)^k)$; in the end
    $H^{-1}$, or $(H + r I)^{-1}$ with a ridge, the penalty $s \frac r2 \lVert \theta - \theta_0 \rVert^2$. No inverse is formed: directions
    that H does not see get the limit. Exact for a linearized model; for a wide net as far as its kernel stays constant.

    Args:
        k_train: H, kernel of the training points with themselves: shared, (N, N), or full, (N, N, C, C).
        y: targets, shape (N,) or (N, C).
        k_test: kernel of test with training points, (M, N) or (M, N, C, C).
        f0_train: outputs before training at the training points, of a shape that broadcasts to that of `y`.
        f0_test: the same at the test points.
        t: times of at least 0, of any shape.
        learning_rate: eta > 0, with `num_steps` in place of `t`. Above `max_stable_learning_rate` predictions grow, as training does.
        num_steps: k, whole numbers of at least 0, of any shape.
        ridge: r, a scalar of at least 0, in units of the kernel.
        loss_scale: s > 0.
        momentum: heavy-ball momentum in [0, 1) (`optax.sgd`), with `num_steps`.

    Returns:
        Predictions, shape (M,) or (M, C), behind the axes of `t` or `num_steps`. Eigenvalues of H below its floor (see
        `optimization.kernel_spectrum`, which also tells the rank) count as zero, and at long times as not there. Derivatives in H
        exist where its eigenvalues are distinct.

    Raises:
        ValueError: if shapes do not fit, H is not symmetric and positive semidefinite, a value is out of its range (NaN results when
            traced), or options are given that exclude one another.

    Source: Theory of Deep Learning, section 9.1.1, where equation (9.6) forgets f_0; Lee et al. 2019; spec NTK-2, NTK-7, NTK-22.
    Cost: one eigendecomposition of N x N (N C x N C for full kernels), whatever the number of outputs, times and test points.

    Example:
        One point, where u(t) = y + (u(0) - y) exp(-H t).

        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> h = jnp.array([[2.0]])
        >>> [round(float(u), 4) for u in ntk.predict(h, jnp.array([1.0]), h, 3.0, 3.0, t=jnp.array([0.0, 1.0, jnp.inf]))[:, 0]]
        [3.0, 1.2707, 1.0]
    """
    problem = stacked(k_train, y, k_test, f0_train, f0_test)
    spectrum = optimization.kernel_spectrum(problem.k_train, name="k_train")
    options = {"t": t, "learning_rate": learning_rate, "num_steps": num_steps, "ridge": ridge, "loss_scale": loss_scale, "momentum": momentum}
    alpha = optimization.dual_coefficients(spectrum, problem.y - problem.f0_train, **options)
    return add_test(problem, alpha)


def max_stable_learning_rate(kernel: Float[ArrayLike, "N N *CC"], momentum: ArrayLike = 0.0, *, loss_scale: ArrayLike = 1.0) -> Float[Array, ""]:
    r"""Step size above which gradient descent on squared loss diverges, $(2 + 2 \beta) / (s \lambda_{\max}(H))$.

    Args:
        kernel: H of the training points, (N, N) or (N, N, C, C).
        momentum: beta in [0, 1).
        loss_scale: s > 0.

    Returns:
        The threshold; infinite for a kernel of zeros.

    Raises:
        ValueError: if `kernel` is of a wrong shape, not symmetric or not positive semidefinite, or a value is out of its range (NaN
            results when traced).

    Source: Theory of Deep Learning, section 9.2, remark 4; spec NTK-7, OPT-20.
    """
    matrix = as_matrix("kernel", floating("kernel", kernel))
    scale = floating("loss_scale", loss_scale)
    scale = checked(scale, (scale > 0, f"loss_scale must be positive; got {loss_scale}"))
    return optimization.stability_threshold(scale, momentum) / optimization.kernel_spectrum(matrix).eigenvalues[0]


def stacked(k_train: ArrayLike, y: ArrayLike, k_test: ArrayLike, f0_train: ArrayLike, f0_test: ArrayLike) -> Problem:
    """Checks shapes and brings full kernels to matrices.

    Args:
        k_train: as in `predict`.
        y: as in `predict`.
        k_test: as in `predict`.
        f0_train: as in `predict`.
        f0_test: as in `predict`.

    Raises:
        ValueError: if shapes do not fit.
    """
    k_train, k_test, y = floating("k_train", k_train), floating("k_test", k_test), floating("y", y)
    matrix = as_matrix("k_train", k_train)
    n, full = len(k_train), k_train.ndim == 4
    require(y.ndim in (1, 2) and len(y) == n, f"y must have shape ({n},) or ({n}, C), a row for each of k_train; got {y.shape}")
    expected = k_train.shape[1:]
    require(k_test.ndim == k_train.ndim and k_test.shape[1:] == expected, f"k_test must have shape {('M', *expected)}; got {k_test.shape}")
    outputs = y.shape[1:]
    require(not full or outputs == k_train.shape[3:], f"y must have shape {(n, *k_train.shape[3:])} for a full kernel; got {y.shape}")
    test_shape = (len(k_test), *outputs)
    f0_train, f0_test = _initial("f0_train", f0_train, y.shape), _initial("f0_test", f0_test, test_shape)
    if full:
        y, f0_train, f0_test = y.ravel(), f0_train.ravel(), f0_test.ravel()
    return Problem(matrix, _flattened(k_test), y, f0_train, f0_test, test_shape)


def add_test(problem: Problem, alpha: Float[Array, "..."]) -> Float[Array, "..."]:
    """f_0 + k_test alpha for coefficients with axes of time before their own.

    Args:
        problem: by `stacked`.
        alpha: coefficients of the training points, shape (..., n) or (..., n, C).
    """
    times = alpha.shape[: alpha.ndim - problem.y.ndim]
    moved = jnp.einsum("mn,tnc->tmc", problem.k_test, alpha.reshape(math.prod(times), len(problem.y), -1), precision=HIGHEST)
    return (problem.f0_test + moved.reshape(times + problem.f0_test.shape)).reshape(times + problem.test_shape)


def as_matrix(name: str, kernel: Float[Array, "N N *CC"]) -> Float[Array, "n n"]:
    """A kernel of points with themselves as a matrix, (N, N) or (N C, N C).

    Args:
        name: of the argument.
        kernel: shared or full.

    Raises:
        ValueError: if `kernel` has neither shape.
    """
    n = len(kernel) if kernel.ndim else 0
    require(n > 0 and kernel.shape in ((n, n), (n, n, *kernel.shape[2:3] * 2)), f"{name} must have shape (N, N) or (N, N, C, C); got {kernel.shape}")
    return _flattened(kernel)


def _flattened(kernel: Array) -> Array:
    if kernel.ndim == 2:
        return kernel
    m, n, c, d = kernel.shape
    return kernel.transpose(0, 2, 1, 3).reshape(m * c, n * d)


def _initial(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    value = floating(name, value)
    try:
        return jnp.broadcast_to(value, shape)
    except ValueError as error:
        raise ValueError(f"{name} must have a shape that broadcasts to {shape}; got {value.shape}") from error
