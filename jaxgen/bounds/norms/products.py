r"""Bounds from products of layers' norms: Rademacher complexities of norm-bounded nets, and the margin bounds they give.

All of them hold for classes that were fixed before the data. A trained net chooses its norms and its margin by the data: with
`grid=True` each of these numbers is rounded up to a grid of powers whose points share $\delta$ as
$\delta \cdot \frac{2}{3 (|j| + 1)(|j| + 2)}$ for the j-th power, over all whole j.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxgen._core.checks import floating, positive_integer, require
from jaxgen._core.results import Bound
from jaxgen.bounds._inputs import at_least, failure_probability, positive, square_root, unit_interval

INDEPENDENT = "The n training examples are independent draws from the data distribution."
HOMOGENEOUS = "The net has no biases, and its activations are positively homogeneous and 1-Lipschitz, such as ReLU."
LIPSCHITZ = "The net has no biases, and its activations are 1-Lipschitz and vanish at zero."
SAMPLE_NORM = "The norm of inputs that is given covers every training input."
REFERENCE = "The (2,1) norms are those of the distances from matrices that were fixed before the data, such as the initial ones."
WIDTH = "No layer, nor the input, is wider than the width."
FIXED = "The norms and the margin are limits that were fixed before the data."
GRID = "The norms and the margin are those found; they are rounded to a grid that was fixed before the data."


def bartlett_complexity(
    spectral: Float[ArrayLike, "*k d"], two_one: Float[ArrayLike, "*k d"], lipschitz: Float[ArrayLike, "..."] = 1.0
) -> Float[Array, "*k"]:
    r"""Spectral complexity $R_A = \prod_i \rho_i \lVert A_i \rVert_2 \left(\sum_i (b_i / \lVert A_i \rVert_2)^{2/3}\right)^{3/2}$.

    Here $b_i = \lVert A_i^\top - M_i^\top \rVert_{2,1}$, the sum of the lengths of the rows of the distance from a reference.

    Args:
        spectral: spectral norms of the layers along the last axis, positive.
        two_one: b, the (2,1) norms, of the same shape: `"two_one"` or `"distance_two_one"` of `layer_norms`.
        lipschitz: Lipschitz constants of the activations, a scalar or one for each layer.

    Returns:
        The complexity; not changed where one layer is multiplied by a number and another, and their references, divided.

    Raises:
        ValueError: if the shapes differ, a spectral norm is not positive or a (2,1) norm negative (NaN results when traced).

    Source: Bartlett, Foster and Telgarsky 2017, equation (1.2); spec GEN-38.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import bounds
        >>> round(float(bounds.bartlett_complexity(jnp.ones(4), 5 * jnp.ones(4))), 4)  # d^(3/2) h for d orthogonal h x h layers
        40.0
    """
    spectral, two_one = _layerwise("spectral", spectral), at_least("two_one", two_one, 0)
    require(spectral.shape == two_one.shape, f"spectral and two_one must have one shape; got {spectral.shape} and {two_one.shape}")
    lipschitz = positive("lipschitz", lipschitz)
    ratios = jnp.where(two_one > 0, two_one / spectral, 1.0)
    total = jnp.sum(jnp.where(two_one > 0, ratios ** (2 / 3), 0.0), axis=-1)
    return jnp.prod(lipschitz * spectral, axis=-1) * square_root(total) ** 3


def golowich_rademacher(product: ArrayLike, input_norm: ArrayLike, depth: int, n: ArrayLike) -> Float[Array, "..."]:
    r"""Rademacher complexity of nets with bounded Frobenius norms, at most $\frac{B (\sqrt{2 d \ln 2} + 1) \prod_i M_i}{\sqrt n}$.

    Of the real functions $x \mapsto W_d \phi(\cdots \phi(W_1 x))$ with $\lVert W_i \rVert_F \le M_i$ on inputs of norm at most B.

    Args:
        product: product of the Frobenius norms M.
        input_norm: B, at least the largest norm of an input.
        depth: number of layers d.
        n: number of examples, at least 1.

    Returns:
        The bound on the empirical complexity $\frac1n E_\epsilon \sup_f \sum_i \epsilon_i f(x_i)$, of the broadcast shape.

    Raises:
        ValueError: if `depth` < 1, n < 1 or a norm is negative (NaN results when traced).

    Source: Golowich, Rakhlin and Shamir 2018, theorem 1; spec GEN-38.

    Example:
        >>> from jaxgen import bounds
        >>> round(float(bounds.golowich_rademacher(1.0, 1.0, 2, 100)), 6)
        0.266511
    """
    product, input_norm, n = at_least("product", product, 0), at_least("input_norm", input_norm, 0), at_least("n", n, 1)
    return input_norm * (math.sqrt(2 * positive_integer("depth", depth) * math.log(2)) + 1) * product / jnp.sqrt(n)


def golowich_bound(
    margin_loss: ArrayLike,
    frobenius: Float[ArrayLike, "*k d"],
    input_norm: ArrayLike,
    gamma: ArrayLike,
    n: ArrayLike,
    delta: float,
    *,
    num_outputs: int = 1,
    grid: bool = True,
) -> Bound:
    r"""Margin bound $L_0 \le \hat L_\gamma + \frac{c}{\gamma} \hat{\mathcal R} + 3 \sqrt{\frac{\ln(2 / \delta)}{2 n}}$ with `golowich_rademacher`.

    c = 2 for a single output and two classes, and 4 C for the margin of C outputs, each in the class of real functions.

    Args:
        margin_loss: $\hat L_\gamma$ in [0, 1], the part of the training examples with margin at most gamma.
        frobenius: Frobenius norms of the d layers, along the last axis.
        input_norm: B, at least the largest norm of a training input.
        gamma: margin, positive.
        n: number of examples.
        delta: probability of failure in (0, 1), concrete.
        num_outputs: C.
        grid: whether the choice of the product of norms and of the margin by the data is paid for.

    Returns:
        A one-sided `Bound` on the error with terms `"margin_loss"`, `"complexity"` and `"confidence"`; certified only with `grid`.

    Raises:
        ValueError: for a value outside its range, of `delta` in any case and else NaN results when traced.
        TypeError: if `delta` is traced.

    Source: Golowich, Rakhlin and Shamir 2018, theorem 1; Mohri, Rostamizadeh and Talwalkar 2018, theorems 5.8 and 9.2; spec GEN-38.
    """
    frobenius = _layerwise("frobenius", frobenius)
    product, paid = _rounded_up(jnp.prod(frobenius, axis=-1), 2.0, grid)
    complexity = golowich_rademacher(product, input_norm, frobenius.shape[-1], n)
    return _contracted(margin_loss, complexity, paid, gamma, n, delta, num_outputs, grid)


def path_norm_rademacher(path_norm: ArrayLike, input_norm: ArrayLike, depth: int, num_inputs: int, n: ArrayLike) -> Float[Array, "..."]:
    r"""Rademacher complexity of nets with bounded l1 path norm, at most $2 B_\infty \phi_1 \sqrt{(d + 1 + \ln n_{in}) / n}$.

    Args:
        path_norm: $\phi_1$, which is `path_norm` at p = 1.
        input_norm: $B_\infty$, at least the largest entry of an input in modulus.
        depth: number of layers d.
        num_inputs: length of an input.
        n: number of examples, at least 1.

    Returns:
        The bound on the empirical complexity, of the broadcast shape.

    Raises:
        ValueError: if `depth`, `num_inputs` or n < 1 or a norm is negative (NaN results when traced).

    Source: Golowich, Rakhlin and Shamir 2018, theorem 2; Neyshabur, Tomioka and Srebro 2015; spec GEN-39.
    """
    path_norm, input_norm, n = at_least("path_norm", path_norm, 0), at_least("input_norm", input_norm, 0), at_least("n", n, 1)
    size = positive_integer("depth", depth) + 1 + math.log(positive_integer("num_inputs", num_inputs))
    return 2 * input_norm * path_norm * jnp.sqrt(size / n)


def path_norm_bound(
    margin_loss: ArrayLike,
    path_norm: ArrayLike,
    input_norm: ArrayLike,
    gamma: ArrayLike,
    n: ArrayLike,
    delta: float,
    *,
    depth: int,
    num_inputs: int,
    num_outputs: int = 1,
    grid: bool = True,
) -> Bound:
    r"""Margin bound of `golowich_bound`'s form with `path_norm_rademacher`.

    Args:
        margin_loss: $\hat L_\gamma$ in [0, 1], the part of the training examples with margin at most gamma.
        path_norm: $\phi_1$, which is `path_norm` at p = 1.
        input_norm: $B_\infty$, at least the largest entry of a training input in modulus.
        gamma: margin, positive.
        n: number of examples.
        delta: probability of failure in (0, 1), concrete.
        depth: number of layers d.
        num_inputs: length of an input.
        num_outputs: C.
        grid: whether the choice of the norm and of the margin by the data is paid for.

    Returns:
        A one-sided `Bound` on the error with terms `"margin_loss"`, `"complexity"` and `"confidence"`; certified only with `grid`.

    Raises:
        ValueError: for a value outside its range, of `delta` in any case and else NaN results when traced.
        TypeError: if `delta` is traced.

    Source: Golowich, Rakhlin and Shamir 2018, theorem 2; Mohri, Rostamizadeh and Talwalkar 2018, theorems 5.8 and 9.2; spec GEN-39.
    """
    norm, paid = _rounded_up(positive("path_norm", path_norm), 2.0, grid)
    complexity = path_norm_rademacher(norm, input_norm, depth, num_inputs, n)
    return _contracted(margin_loss, complexity, paid, gamma, n, delta, num_outputs, grid)


def bartlett_bound(
    margin_loss: ArrayLike,
    spectral: Float[ArrayLike, "*k d"],
    two_one: Float[ArrayLike, "*k d"],
    data_norm: ArrayLike,
    gamma: ArrayLike,
    n: ArrayLike,
    delta: float,
    *,
    width: int,
    grid: bool = True,
) -> Bound:
    r"""Spectrally normalized margin bound with its constants.

    $L_0 \le \hat L_\gamma + \frac{72 \sqrt{\ln(2 W^2)} \ln n \; \lVert X \rVert_F R_A}{\gamma n} + \frac{8}{n^{3/2}}
    + 3 \sqrt{\frac{\ln(2 / \delta)}{2 n}}$, from the covering number $\lVert X \rVert_F^2 \ln(2 W^2) R_A^2 / \epsilon^2$ of the net's
    outputs, the factor $2 / \gamma$ of the ramp loss of a margin, and Dudley's integral from 1/n on.

    Args:
        margin_loss: $\hat L_\gamma$ in [0, 1], the part of the training examples with margin at most gamma.
        spectral: spectral norms of the d layers, along the last axis.
        two_one: (2,1) norms of the layers' distances from their references, as in `bartlett_complexity`.
        data_norm: $\lVert X \rVert_F$, the root of the sum of the inputs' squared norms.
        gamma: margin, positive.
        n: number of examples, at least 2.
        delta: probability of failure in (0, 1), concrete.
        width: W, of the widest layer, inputs and outputs among them.
        grid: whether the choice of the norms, layer by layer, and of the margin by the data is paid for.

    Returns:
        A one-sided `Bound` on the error with terms `"margin_loss"`, `"complexity"` and `"confidence"`; certified only with `grid`.

    Raises:
        ValueError: for a value outside its range, of `delta` in any case and else NaN results when traced.
        TypeError: if `delta` is traced.

    Source: Bartlett, Foster and Telgarsky 2017, theorem 3.3 and lemmas 3.1 and A.5; spec GEN-38.
    """
    delta, width = failure_probability(delta), positive_integer("width", width)
    spectral, data_norm, n = _layerwise("spectral", spectral), at_least("data_norm", data_norm, 0), at_least("n", n, 2)
    loss, inverse = unit_interval("margin_loss", margin_loss), 1 / positive("gamma", gamma)
    two_one = at_least("two_one", two_one, 0)
    # A layer that stayed where it was needs a limit too, which may be as small as one likes.
    smallest = jnp.finfo(two_one.dtype).eps
    ratio = 2 ** (1 / spectral.shape[-1])
    spectral, paid_spectral = _rounded_up(spectral, ratio, grid)
    two_one, paid_two_one = _rounded_up(jnp.maximum(two_one, smallest), ratio, grid)
    inverse, paid = _rounded_up(inverse, 2.0, grid)
    paid = paid + jnp.sum(paid_spectral + paid_two_one, axis=-1)
    complexity = bartlett_complexity(spectral, two_one)
    constant = 72 * math.sqrt(math.log(2 * width**2))
    complexity = constant * jnp.log(n) * data_norm * complexity * inverse / n + 8 / n**1.5
    assumptions = (INDEPENDENT, LIPSCHITZ, REFERENCE, WIDTH, GRID if grid else FIXED)
    return _bound(loss, complexity, paid, n, delta, grid, assumptions)


def _contracted(
    margin_loss: ArrayLike, rademacher: Array, paid: Array, gamma: ArrayLike, n: ArrayLike, delta: float, num_outputs: int, grid: bool
) -> Bound:
    """The margin bound of a class of real functions with that complexity."""
    delta, outputs = failure_probability(delta), positive_integer("num_outputs", num_outputs)
    loss, n = unit_interval("margin_loss", margin_loss), at_least("n", n, 1)
    inverse, paid_margin = _rounded_up(1 / positive("gamma", gamma), 2.0, grid)
    factor = 2 if outputs == 1 else 4 * outputs
    assumptions = (INDEPENDENT, HOMOGENEOUS, SAMPLE_NORM, GRID if grid else FIXED)
    return _bound(loss, factor * inverse * rademacher, paid + paid_margin, n, delta, grid, assumptions)


def _bound(loss: Array, complexity: Array, paid: Array, n: Array, delta: float, grid: bool, assumptions: tuple[str, ...]) -> Bound:
    confidence = 3 * jnp.sqrt((math.log(2 / delta) + paid) / (2 * n))
    terms = {"margin_loss": loss, "complexity": complexity, "confidence": confidence}
    return Bound(loss + complexity + confidence, terms, "one", grid, assumptions, 1 - delta)


def _rounded_up(value: Array, ratio: float, grid: bool) -> tuple[Array, Array]:
    """The next power of `ratio`, and minus the logarithm of the part of delta that belongs to it."""
    if not grid:
        return value, jnp.zeros_like(value)
    power = jnp.ceil(jnp.log(value) / math.log(ratio))
    return ratio**power, jnp.log(1.5 * (jnp.abs(power) + 1) * (jnp.abs(power) + 2))


def _layerwise(name: str, value: ArrayLike) -> Array:
    norms = positive(name, floating(name, value), "; every layer must differ from zero")
    require(norms.ndim >= 1 and norms.shape[-1] >= 1, f"{name} must have one value per layer along its last axis; got shape {norms.shape}")
    return norms
