r"""Kernels and their least squares: feature maps, expansions of dot-product kernels, interpolants of least norm.

Kernel functions take points, with features along the last axis, and broadcast over the others; `gram` pairs sets of points.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental.jet import jet
from jaxtyping import Array, ArrayLike, Float, Num

from jaxgen._core.checks import checked, floating, positive_integer, require
from jaxgen.optimization.kernel_spectrum import KernelSpectrum, dual_coefficients, kernel_spectrum

KernelFn = Callable[[Array, Array], Array]
HIGHEST = jax.lax.Precision.HIGHEST


def polynomial_kernel(x: Float[ArrayLike, "*b d"], z: Float[ArrayLike, "*b d"], *, degree: int, c: ArrayLike = 1.0) -> Float[Array, "*b"]:
    r"""$(c + x \cdot z)^p$.

    Args:
        x: points, features along the last axis.
        z: points with as many features; other axes broadcast.
        degree: p, at least 1.
        c: constant, at least 0.

    Returns:
        The kernel, elementwise.

    Raises:
        ValueError: if features differ in number, `degree` < 1 or `c` < 0 (NaN results when traced).

    Source: Theory of Deep Learning, example 3.2.1; spec LS-4.
    """
    x, z = _points(x, z)
    c = floating("c", c)
    c = checked(c, (c >= 0, f"c must be at least 0; got {c}"))
    return (c + jnp.sum(x * z, axis=-1)) ** positive_integer("degree", degree)


def gaussian_kernel(x: Float[ArrayLike, "*b d"], z: Float[ArrayLike, "*b d"], *, length_scale: ArrayLike = 1.0) -> Float[Array, "*b"]:
    r"""$\exp(-\lVert x - z \rVert^2 / \ell^2)$.

    Args:
        x: points, features along the last axis.
        z: points with as many features; other axes broadcast.
        length_scale: l > 0, a scalar.

    Returns:
        The kernel, elementwise.

    Raises:
        ValueError: if features differ in number or `length_scale` is not positive (NaN results when traced).

    Source: Theory of Deep Learning, problem 3.2.2; spec LS-5.
    """
    x, z = _points(x, z)
    return jnp.exp(-jnp.sum(jnp.square((x - z) / _length(length_scale)), axis=-1))


def laplace_kernel(x: Float[ArrayLike, "*b d"], z: Float[ArrayLike, "*b d"], *, length_scale: ArrayLike = 1.0) -> Float[Array, "*b"]:
    r"""$\exp(-\lVert x - z \rVert / \ell)$ with the Euclidean norm; its kink at coincident points is given the derivative zero.

    Args:
        x: points, features along the last axis.
        z: points with as many features; other axes broadcast.
        length_scale: l > 0, a scalar.

    Returns:
        The kernel, elementwise.

    Raises:
        ValueError: if features differ in number or `length_scale` is not positive (NaN results when traced).

    Source: Theory of Deep Learning, problem 3.2.2; spec LS-5.
    """
    x, z = _points(x, z)
    squared = jnp.sum(jnp.square((x - z) / _length(length_scale)), axis=-1)
    apart = squared > 0
    return jnp.exp(-jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0))


def gram(kernel_fn: KernelFn, x: Float[ArrayLike, "n d"], z: Float[ArrayLike, "m d"] | None = None) -> Float[Array, "n m"]:
    """K(x_i, z_j) for all pairs.

    Args:
        kernel_fn: `kernel_fn(x, z)` of two points of shape (d,), to a scalar.
        x: points in rows.
        z: points in rows; default `x`.

    Returns:
        The Gram matrix.

    Raises:
        ValueError: if `x` and `z` are not matrices with as many features, or `kernel_fn` does not return scalars.

    Source: spec LS-6. Cost: n m evaluations of the kernel.
    """
    x = floating("x", x)
    z = x if z is None else floating("z", z)
    require(x.ndim == z.ndim == 2 and x.shape[1] == z.shape[1], f"x and z must have shapes (n, d) and (m, d); got {x.shape} and {z.shape}")
    matrix = jax.vmap(lambda point: jax.vmap(lambda other: kernel_fn(point, other))(z))(x)
    require(matrix.ndim == 2, f"kernel_fn must return a scalar for two points; got shape {matrix.shape[2:]}")
    return matrix


def quadratic_features(x: Float[ArrayLike, "*b d"]) -> Float[Array, "*b f"]:
    r"""$\phi(x) = (1, \sqrt2 x_i, \sqrt2 x_i x_j \, (i < j), x_i^2)$, with $\phi(x) \cdot \phi(z) = (1 + x \cdot z)^2$.

    Args:
        x: points, features along the last axis.

    Returns:
        The features, (d + 1)(d + 2) / 2 of them along the last axis.

    Raises:
        ValueError: if `x` is a scalar.

    Source: Theory of Deep Learning, example 3.2.1; spec LS-4.
    """
    x = floating("x", x)
    require(x.ndim >= 1 and x.shape[-1] >= 1, f"x must hold features along its last axis; got shape {x.shape}")
    first, second = jnp.triu_indices(x.shape[-1], 1)
    root = math.sqrt(2)
    return jnp.concatenate([jnp.ones_like(x[..., :1]), root * x, root * x[..., first] * x[..., second], x**2], axis=-1)


def dot_product_kernel_coefficients(kappa: Callable[[Array], Array], order: int) -> Float[Array, " k"]:
    r"""Taylor coefficients $a_0, \dots, a_p$ of $\kappa(s) = \sum_k a_k s^k$ at zero, for kernels $\kappa(x \cdot z)$.

    On the unit sphere the Gaussian kernel is $\kappa(s) = e^{2 s - 2}$ and the Laplace kernel $\kappa(s) = e^{-\sqrt{2 - 2 s}}$.

    Args:
        kappa: function of a scalar, smooth at zero.
        order: p, at least 1.

    Returns:
        The coefficients, shape (order + 1,), by Taylor arithmetic. Orders above 30 overflow float32.

    Raises:
        ValueError: if `order` < 1, or `kappa` uses an operation without a Taylor rule.

    Source: Schoenberg 1942; Theory of Deep Learning, problem 3.2.2, where the Laplace kernel is printed with a wrong sign and
    constant; spec LS-5.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import optimization
        >>> [round(float(a), 4) for a in optimization.dot_product_kernel_coefficients(lambda s: jnp.exp(-jnp.sqrt(2 - 2 * s)), 2)]
        [0.2431, 0.1719, 0.1038]
    """
    order = positive_integer("order", order)
    zero = jnp.zeros(())
    direction = [jnp.ones_like(zero), *[zero] * (order - 1)]
    try:
        first, rest = jax.jit(lambda: jet(kappa, (zero,), (direction,)))()
    except (KeyError, NotImplementedError) as error:
        raise ValueError(f"kappa must be made of operations with Taylor rules; there is none for {error}") from error
    factorials = jnp.array([math.factorial(k) for k in range(order + 1)], first.dtype)
    return jnp.stack([first, *rest]) / factorials


def tensor_power_features(x: Float[ArrayLike, "*b d"], coefficients: Float[ArrayLike, " k"], *, unit_norm: bool = True) -> Float[Array, "*b f"]:
    r"""$\phi(x) = \bigoplus_k \sqrt{a_k} \, x^{\otimes k}$, with $\phi(x) \cdot \phi(z) = \sum_k a_k (x \cdot z)^k$.

    Args:
        x: points, features along the last axis.
        coefficients: a_0, ..., a_p, none negative.
        unit_norm: whether points must have norm one, where expansions of Gaussian and Laplace kernels hold. Those of
            polynomials in x . z hold everywhere.

    Returns:
        The features, 1 + d + ... + d^p of them along the last axis.

    Raises:
        ValueError: if a coefficient is negative, or a norm is not one where it must be (NaN results when traced).

    Source: Theory of Deep Learning, problem 3.2.2; spec LS-5. Cost: O(d^p) for each point.
    """
    x, coefficients = floating("x", x), floating("coefficients", coefficients)
    require(x.ndim >= 1, "x must hold features along its last axis; got a scalar")
    require(coefficients.ndim == 1 and coefficients.size > 0, f"coefficients must be a vector; got shape {coefficients.shape}")
    coefficients = checked(coefficients, (coefficients >= 0, "coefficients must be at least 0: with a negative one there is no feature map"))
    if unit_norm:
        distance = jnp.abs(jnp.sum(x**2, axis=-1) - 1)
        allowed = 100 * jnp.finfo(x.dtype).eps
        x = checked(x, (distance <= allowed, "x must have rows of norm one, on which the expansion holds; or give unit_norm=False"))
    power, features = jnp.ones_like(x[..., :1]), []
    for k, root in enumerate(jnp.sqrt(coefficients)):
        power = power if k == 0 else (power[..., :, None] * x[..., None, :]).reshape(*x.shape[:-1], -1)
        features.append(root * power)
    return jnp.concatenate(features, axis=-1)


class KernelInterpolant(eqx.Module):
    """h(x) = sum_i alpha_i K(x, x_i); made by `kernel_interpolant` or `kernel_gd`.

    Attributes:
        kernel_fn: function of two points, static.
        x: the points x_i.
        alpha: coefficients, shape (n,) or (n, C).
    """

    kernel_fn: KernelFn = eqx.field(static=True)
    x: Float[Array, "n d"]
    alpha: Float[Array, "n *c"]

    def __call__(self, x: Float[ArrayLike, "m d"]) -> Float[Array, "m *c"]:
        """Values at the rows of `x`."""
        return jnp.matmul(gram(self.kernel_fn, x, self.x), self.alpha, precision=HIGHEST)  # pyright: ignore[reportArgumentType]


def kernel_interpolant(kernel_fn: KernelFn, x: Float[ArrayLike, "n d"], y: Float[ArrayLike, "n *c"], *, ridge: ArrayLike = 0.0) -> KernelInterpolant:
    r"""$h(x) = k(x)^\top (G + r I)^{-1} y$: without a ridge, of all interpolants the one of least RKHS norm.

    It is also where gradient descent from zero in the feature space ends.

    Args:
        kernel_fn: positive semidefinite, a function of two points of shape (d,).
        x: points in rows.
        y: values, shape (n,) or (n, C).
        ridge: r, a scalar of at least 0.

    Returns:
        A function of points, which holds its coefficients `alpha`.

    Raises:
        ValueError: if shapes do not fit, `ridge` is negative, the Gram matrix is not positive semidefinite, or it is singular, as for
            points given twice, and there is no ridge (NaN results when traced).

    Source: Theory of Deep Learning, equations (3.8) and (3.9); spec LS-6. Cost: one eigendecomposition of n x n.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import optimization
        >>> h = optimization.kernel_interpolant(optimization.gaussian_kernel, jnp.array([[0.0], [1.0]]), jnp.array([1.0, -1.0]))
        >>> [round(float(value), 4) for value in h(jnp.array([[0.0], [0.5], [1.0]]))]
        [1.0, 0.0, -1.0]
    """
    x, ridge = floating("x", x), floating("ridge", ridge)
    spectrum = kernel_spectrum(gram(kernel_fn, x), name="the Gram matrix")
    alpha = dual_coefficients(spectrum, _values(y, len(x)), ridge=ridge)
    regular = (spectrum.rank == len(x)) | (ridge > 0)
    message = f"the Gram matrix is singular, of rank {spectrum.rank} for {len(x)} points (are there duplicates?); give a ridge"
    return KernelInterpolant(kernel_fn, x, checked(alpha, (regular, message)))


def kernel_gd(
    kernel_fn: KernelFn,
    x: Float[ArrayLike, "n d"],
    y: Float[ArrayLike, "n *c"],
    *,
    learning_rate: ArrayLike,
    num_steps: Num[ArrayLike, ""],
    momentum: ArrayLike = 0.0,
) -> KernelInterpolant:
    r"""The function that gradient descent from zero on $\frac12 \sum_i (\phi(x_i) \cdot w - y_i)^2$ has reached.

    At the points themselves, $u_{k + 1} - y = (I - \eta G)(u_k - y)$.

    Args:
        kernel_fn: positive semidefinite, a function of two points of shape (d,).
        x: points in rows.
        y: values, shape (n,) or (n, C).
        learning_rate: eta > 0, a scalar.
        num_steps: k, a whole number of at least 0.
        momentum: as in `gradient_descent_filter`.

    Returns:
        A function of points, which holds its coefficients `alpha`.

    Raises:
        ValueError: if shapes do not fit, a value is out of its range, or the Gram matrix is not positive semidefinite (NaN results
            when traced).

    Source: Theory of Deep Learning, section 3.2; spec LS-6. Cost: one eigendecomposition of n x n.
    """
    x = floating("x", x)
    require(jnp.ndim(num_steps) == 0, f"num_steps must be a scalar; got shape {jnp.shape(num_steps)}")
    spectrum = kernel_spectrum(gram(kernel_fn, x), name="the Gram matrix")
    alpha = dual_coefficients(spectrum, _values(y, len(x)), learning_rate=learning_rate, num_steps=num_steps, momentum=momentum)
    return KernelInterpolant(kernel_fn, x, alpha)


def rkhs_squared_norm(kernel: Float[ArrayLike, "n n"], y: Float[ArrayLike, "n *c"]) -> Float[Array, "*c"]:
    r"""$y^\top G^{-1} y$, the squared RKHS norm of the interpolant of least norm; infinite if nothing interpolates.

    Args:
        kernel: G, a positive semidefinite matrix.
        y: values, shape (n,), or (n, C) for one norm a column.

    Returns:
        The squared norm. On a singular matrix it is that of its pseudo-inverse if y lies in the range up to sqrt(eps) |y|.

    Raises:
        ValueError: if `y` has not n rows or `kernel` is not positive semidefinite (NaN results when traced).

    Source: Theory of Deep Learning, equation (3.9); spec LS-6, NTK-10. Cost: one eigendecomposition of n x n.
    """
    spectrum = kernel_spectrum(kernel)
    y = _values(y, len(spectrum.eigenvalues))
    return _squared_norm(spectrum, y)


@jax.jit
def _squared_norm(spectrum: KernelSpectrum, y: Array) -> Array:
    projections = jnp.matmul(spectrum.eigenvectors.T, y, precision=HIGHEST)
    values = jnp.expand_dims(spectrum.eigenvalues, range(1, y.ndim))
    outside = jnp.sum(jnp.where(values > 0, 0.0, projections**2), axis=0)
    inside = jnp.sum(jnp.where(values > 0, projections**2 / jnp.where(values > 0, values, 1.0), 0.0), axis=0)
    return jnp.where(outside > jnp.finfo(y.dtype).eps * jnp.sum(y**2, axis=0), math.inf, inside)


def _points(x: ArrayLike, z: ArrayLike) -> tuple[Array, Array]:
    x, z = floating("x", x), floating("z", z)
    require(x.ndim >= 1 and z.ndim >= 1, f"x and z must hold features along their last axis; got shapes {x.shape} and {z.shape}")
    require(x.shape[-1] == z.shape[-1], f"x and z must have as many features; got {x.shape[-1]} and {z.shape[-1]}")
    return x, z


def _length(length_scale: ArrayLike) -> Array:
    length = floating("length_scale", length_scale)
    require(length.ndim == 0, f"length_scale must be a scalar; got shape {length.shape}")
    return checked(length, (length > 0, f"length_scale must be positive; got {length}"))


def _values(y: ArrayLike, n: int) -> Array:
    y = floating("y", y)
    require(y.ndim in (1, 2) and y.shape[0] == n, f"y must have shape ({n},) or ({n}, C); got {y.shape}")
    return y
