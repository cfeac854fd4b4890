"""Kernels of infinitely wide graph neural nets."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxgen._core.checks import checked, choice, floating, positive_integer, require
from jaxgen.ntk.infinite.activations import DualActivation, dual_activation
from jaxgen.ntk.infinite.fully_connected import Kernels, propagate
from jaxgen.ntk.infinite.gaussians import from_distances, square_root
from jaxgen.ntk.infinite.inputs import variances


def graph(
    adjacency1: Float[ArrayLike, "u u"],
    features1: Float[ArrayLike, "u d"],
    adjacency2: Float[ArrayLike, "v v"] | None = None,
    features2: Float[ArrayLike, "v d"] | None = None,
    *,
    blocks: int,
    layers: int,
    activation: str | DualActivation = "relu",
    aggregate: str = "sum",
    jumping_knowledge: bool = False,
    mask1: Bool[ArrayLike, " u"] | None = None,
    mask2: Bool[ArrayLike, " v"] | None = None,
    weight_variance: Float[ArrayLike, ""] = 1.0,
    bias_variance: Float[ArrayLike, ""] = 0.0,
) -> Kernels:
    r"""Graph NTK and NNGP kernel of two graphs.

    From $\Sigma = \Theta = \langle h_u, h'_{u'} \rangle$, each block sums both over neighbourhoods,
    $c_u c'_{u'} \sum_{v \in N(u) \cup u} \sum_{v' \in N(u') \cup u'}$, and then takes `layers` steps of the recursion of
    `fully_connected`. The readout sums over all pairs of nodes, after the last block or, with jumping knowledge, after each of
    them and of the features.

    Graphs of different sizes are padded to one size and masked, and then mapped over by `vmap`. Within a graph and between
    graphs covariances are inner products: coincident nodes of two graphs have in float32 an error of 2e-4 in the degree-0 kernel.

    Args:
        adjacency1: symmetric adjacency matrix of the first graph, shape (u, u), entries at least 0; self loops are added.
        features1: of its nodes, shape (u, d).
        adjacency2: of the second graph, shape (v, v); default the first graph.
        features2: shape (v, d).
        blocks: number of aggregations, at least 1.
        layers: R >= 1, fully connected layers in each block.
        activation: a name or a `DualActivation`, see `dual_activation`.
        aggregate: `"sum"` (c_u = 1) or `"mean"` (c_u = 1 / (degree + 1)).
        jumping_knowledge: whether the readout adds up the blocks.
        mask1: which nodes of the first graph there are, shape (u,); default all.
        mask2: which nodes of the second graph there are, shape (v,).
        weight_variance: w >= 0, as in `fully_connected`, of the layers inside of the blocks.
        bias_variance: beta >= 0.

    Returns:
        `Kernels` of shape (). Cost O((u + v)^2 (u + v + layers) blocks).

    Raises:
        ValueError: if a matrix is not square, features, masks and matrix differ in the number of nodes, only one of
            `adjacency2` and `features2` is given, features differ in length, an edge is negative, or as `fully_connected`.
        TypeError: as `fully_connected`.

    Source: Du, Hou, Salakhutdinov, Poczos, Wang & Xu 2019; NTK-24.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxgen import ntk
        >>> edge, features = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.eye(2)
        >>> ntk.infinite.graph(edge, features, blocks=1, layers=1).ntk.round(3)
        Array(16., dtype=float32)
    """
    require((adjacency2 is None) == (features2 is None), "adjacency2 and features2 must be given together")
    blocks, layers = positive_integer("blocks", blocks), positive_integer("layers", layers)
    choice("aggregate", aggregate, ("sum", "mean"))
    first = _graph("1", adjacency1, features1, mask1, aggregate)
    if adjacency2 is None or features2 is None:
        require(mask2 is None, "mask2 has no meaning without adjacency2 and features2")
        second = first
    else:
        second = _graph("2", adjacency2, features2, mask2, aggregate)
    require(
        first[1].shape[1] == second[1].shape[1],
        f"features1 and features2 must have the same length; got {first[1].shape[1]} and {second[1].shape[1]}",
    )
    dtype = jnp.result_type(*first[:2], *second[:2])
    first, second = (tuple(array.astype(dtype) for array in part) for part in (first, second))
    weight, bias = variances(weight_variance, bias_variance, dtype)
    options = {"blocks": blocks, "layers": layers, "dual": dual_activation(activation), "jumping_knowledge": bool(jumping_knowledge)}
    return _kernel(first, second, weight, bias, **options)


def _graph(which: str, adjacency: ArrayLike, features: ArrayLike, mask: ArrayLike | None, aggregate: str) -> tuple[Array, Array, Array]:
    """Aggregation matrix, features and mask of a graph."""
    matrix, rows = floating(f"adjacency{which}", adjacency), floating(f"features{which}", features)
    require(matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1], f"adjacency{which} must be square; got shape {matrix.shape}")
    size = matrix.shape[0]
    require(size > 0, f"adjacency{which} must have at least one node; got none")
    require(rows.ndim == 2 and rows.shape[0] == size, f"features{which} must have shape ({size}, d); got {rows.shape}")
    present = jnp.ones(size, bool) if mask is None else jnp.asarray(mask)
    require(present.shape == (size,), f"mask{which} must have shape ({size},), one entry a node; got {present.shape}")
    matrix = checked(matrix, (matrix >= 0, f"adjacency{which} must have no negative entry"))
    present = present.astype(matrix.dtype)
    matrix = matrix * present[:, None] * present
    matrix = jnp.where(jnp.eye(size, dtype=bool), present, matrix)
    if aggregate == "mean":
        degree = matrix.sum(axis=1, keepdims=True)
        matrix = matrix / jnp.where(degree > 0, degree, 1)
    return matrix, rows * present[:, None].astype(rows.dtype), present


@functools.partial(jax.jit, static_argnames=("blocks", "layers", "dual", "jumping_knowledge"))
def _kernel(
    first: tuple[Array, ...],
    second: tuple[Array, ...],
    weight: Array,
    bias: Array | None,
    *,
    blocks: int,
    layers: int,
    dual: DualActivation,
    jumping_knowledge: bool,
) -> Kernels:
    """Both graphs as one of u + v nodes, whose covariances the recursion needs, and the readout of the block between them."""
    u = first[0].shape[0]
    aggregation = jax.scipy.linalg.block_diag(first[0], second[0])
    nodes, present = jnp.concatenate([first[1], second[1]]), jnp.concatenate([first[2], second[2]])
    highest = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)

    def gather(k: Array) -> Array:
        return highest(highest(aggregation, k), aggregation.T)

    def readout(k: Array) -> Array:
        return jnp.sum(k[:u, u:] * present[:u, None] * present[u:])

    def block(state: Kernels, _: None) -> tuple[Kernels, Kernels]:
        ntk, nngp = gather(state.ntk), gather(state.nngp)
        variance = jnp.diagonal(nngp)
        std = square_root(variance)
        pairs = from_distances(std[:, None], std, jnp.maximum(variance[:, None] + variance - 2 * nngp, 0))
        kernels = propagate(pairs, weight, bias, layers, dual, ntk)
        return kernels, jax.tree.map(readout, kernels)

    gram = highest(nodes, nodes.T)
    start = Kernels(gram, gram)
    _, readouts = lax.scan(block, start, None, length=blocks)
    last = jax.tree.map(lambda k: k[-1], readouts)
    return jax.tree.map(lambda k, g: k.sum() + readout(g), readouts, start) if jumping_knowledge else last
