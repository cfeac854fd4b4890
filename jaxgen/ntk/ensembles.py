"""The law of a prediction over initializations: mean and covariance of infinitely many wide nets trained apart."""

import math
from typing import NamedTuple, Protocol

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num

from jaxgen import optimization
from jaxgen._core.checks import floating, require
from jaxgen.ntk.prediction import HIGHEST, stacked


class KernelPair(Protocol):
    """A tangent kernel and the covariance of outputs before training, such as `ntk.infinite` returns."""

    @property
    def ntk(self) -> Array:
        """Tangent kernel."""
        ...

    @property
    def nngp(self) -> Array:
        """Covariance of the outputs at initialization."""
        ...


class Ensemble(NamedTuple):
    """Mean and covariance of predictions over initializations.

    Attributes:
        mean: shape (M,) or (M, C), behind the axes of time.
        covariance: between test points, shape (M, M) behind the axes of time: the same for every output, between which it is zero.
    """

    mean: Float[Array, "..."]
    covariance: Float[Array, "*t M M"]


def ensemble(
    train: KernelPair,
    y: Float[ArrayLike, "N *C"],
    test_train: KernelPair,
    test: KernelPair,
    *,
    t: Float[ArrayLike, "*t"] = math.inf,
    learning_rate: ArrayLike | None = None,
    num_steps: Num[ArrayLike, "*t"] | None = None,
    ridge: ArrayLike = 0.0,
    loss_scale: ArrayLike = 1.0,
    momentum: ArrayLike = 0.0,
) -> Ensemble:
    r"""Mean $A_t y$ and covariance $\Sigma_{**} + A_t \Sigma A_t^\top - (A_t \Sigma_{X *} + h.c.)$ over initializations.

    Here $A_t = \Theta_* \Theta^{-1} (I - e^{-s \Theta t})$ with the tangent kernel $\Theta$, and $f_0 \sim N(0, \Sigma)$ with the NNGP kernel.
    At infinite time, where $\Theta = \Sigma$ (only the last layer is trained), it is the posterior of the Gaussian process.

    Args:
        train: `.ntk` and `.nngp` of the training points with themselves, (N, N).
        y: targets, shape (N,) or (N, C).
        test_train: the same of test with training points, (M, N).
        test: the same of the test points with themselves, (M, M); only `.nngp` is used.
        t: as in `predict`.
        learning_rate: as in `predict`.
        num_steps: as in `predict`.
        ridge: as in `predict`.
        loss_scale: as in `predict`.
        momentum: as in `predict`.

    Returns:
        `Ensemble`.

    Raises:
        ValueError: if shapes do not fit, a kernel of points with themselves is not symmetric and positive semidefinite, or as
            `predict`.

    Source: Lee et al. 2019, equations (14) to (16); spec NTK-22. Cost: one eigendecomposition of N x N, and O(N M (N + M)) a time.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> x, x_test = jnp.eye(3)[:2], jnp.eye(3)
        >>> kernels = lambda a, b=None: ntk.infinite.fully_connected(a, b, depth=1, activation="relu")
        >>> found = ntk.ensemble(kernels(x), jnp.array([1.0, -1.0]), kernels(x_test, x), kernels(x_test))
        >>> [round(float(u), 3) + 0.0 for u in found.mean], [round(float(v), 3) + 0.0 for v in jnp.diagonal(found.covariance)]
        ([1.0, -1.0, 0.0], [0.0, 0.0, 0.875])
    """
    problem = stacked(train.ntk, y, test_train.ntk, 0.0, 0.0)
    require(problem.k_train.shape == train.ntk.shape, f"train.ntk must have shape (N, N); got {train.ntk.shape}")
    (m, n), nngp = problem.k_test.shape, []
    for name, kernel, shape in (("train", train, (n, n)), ("test_train", test_train, (m, n)), ("test", test, (m, m))):
        sigma = floating(f"{name}.nngp", kernel.nngp)
        require(sigma.shape == shape, f"{name}.nngp must have shape {shape}, as the others have it; got {sigma.shape}")
        nngp.append(sigma)
    sigma, sigma_mixed, sigma_test = nngp
    spectrum = optimization.kernel_spectrum(problem.k_train, name="train.ntk")
    sigma = optimization.positive_semidefinite(sigma, name="train.nngp")
    sigma_test = optimization.positive_semidefinite(sigma_test, name="test.nngp")
    options = {"t": t, "learning_rate": learning_rate, "num_steps": num_steps, "ridge": ridge, "loss_scale": loss_scale, "momentum": momentum}
    smoother = jnp.swapaxes(optimization.dual_coefficients(spectrum, problem.k_test.T, **options), -1, -2)
    mean = jnp.einsum("...mn,nc->...mc", smoother, problem.y.reshape(n, -1), precision=HIGHEST)
    mixed = jnp.einsum("...mn,kn->...mk", smoother, sigma_mixed, precision=HIGHEST)
    spread = jnp.einsum("...mn,np,...kp->...mk", smoother, sigma, smoother, precision=HIGHEST)
    covariance = sigma_test + spread - mixed - jnp.swapaxes(mixed, -1, -2)
    return Ensemble(mean.reshape(mean.shape[:-2] + problem.test_shape), covariance)
