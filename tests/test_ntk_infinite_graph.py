"""Kernels of infinitely wide graph nets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.ntk import infinite

OPTIONS = {"blocks": 2, "layers": 2, "aggregate": "mean"}


def _random_graph(seed, nodes):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.uniform(size=(nodes, nodes)) < 0.5, 1)
    return (upper + upper.T).astype(float), rng.normal(size=(nodes, 3))


def _dense(graphs, blocks, layers, mean, jumping):
    """The recursion of the two graphs and of each with itself, node by node, in float64."""
    pairs = {(i, j): graphs[i][1] @ graphs[j][1].T for i, j in ((0, 0), (0, 1), (1, 1))}
    ntk = pairs[0, 1]
    readouts = [ntk.sum()]
    hops = [a + np.eye(len(a)) for a, _ in graphs]
    hops = [hop / hop.sum(1, keepdims=True) if mean else hop for hop in hops]
    for _ in range(blocks):
        pairs = {(i, j): hops[i] @ k @ hops[j].T for (i, j), k in pairs.items()}
        ntk = hops[0] @ ntk @ hops[1].T
        for _ in range(layers):
            own = [np.diagonal(pairs[i, i]) for i in (0, 1)]
            for (i, j), k in pairs.items():
                scale = np.sqrt(np.outer(own[i], own[j]))
                angle = np.arccos(np.clip(k / scale, -1, 1))
                pairs[i, j] = scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
                if i != j:
                    ntk = (1 - angle / np.pi) * ntk + pairs[i, j]
        readouts.append(ntk.sum())
    return (sum(readouts) if jumping else readouts[-1]), pairs[0, 1].sum()


@pytest.mark.heavy
@pytest.mark.parametrize(("aggregate", "jumping"), [("mean", False), ("sum", True)])
def test_kernels_follow_the_recursion(aggregate, jumping, precision):
    graphs = _random_graph(0, 4), _random_graph(1, 5)
    found = infinite.graph(*graphs[0], *graphs[1], blocks=2, layers=2, aggregate=aggregate, jumping_knowledge=jumping)
    ntk, nngp = _dense(graphs, 2, 2, aggregate == "mean", jumping)
    tolerance = {"float32": 2e-5, "float64": 1e-12}[precision]
    np.testing.assert_allclose(found.ntk, ntk, rtol=tolerance)
    if not jumping:
        np.testing.assert_allclose(found.nngp, nngp, rtol=tolerance)


@pytest.mark.float64
def test_relabelled_nodes_do_not_matter_and_padded_ones_neither(rtol):
    first, second = _random_graph(0, 4), _random_graph(1, 5)
    order = np.array([2, 0, 3, 1])
    options = {**OPTIONS, "bias_variance": 0.1}
    expected = infinite.graph(*first, *second, **options)
    relabelled = infinite.graph(first[0][np.ix_(order, order)], first[1][order], *second, **options)
    padded = np.pad(first[0], ((0, 1), (0, 1)), constant_values=1.0), np.pad(first[1], ((0, 1), (0, 0)), constant_values=7.0)
    masked = infinite.graph(*padded, *second, **options, mask1=np.arange(5) < 4)
    for found in (relabelled, masked):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=10 * rtol)


@pytest.mark.heavy
def test_an_isolated_node_is_a_fully_connected_net(key, rtol):
    x = jax.random.normal(key, (2, 1, 3))
    edge = jnp.zeros((1, 1))
    found = infinite.graph(edge, x[0], edge, x[1], blocks=1, layers=3, activation="erf")
    expected = infinite.fully_connected(x[0], x[1], depth=3, activation="erf")
    np.testing.assert_allclose(found.ntk, expected.ntk[0, 0], rtol=10 * rtol)


@pytest.mark.any_precision
def test_masked_graphs_are_mapped_over_and_differentiated(rtol):
    graphs = [_random_graph(seed, 4) for seed in range(3)]
    adjacency, features = (jnp.stack([jnp.asarray(g[i]) for g in graphs]) for i in (0, 1))
    masks = jnp.arange(4) < jnp.array([2, 3, 4])[:, None]

    def kernel(h, a, m):
        return infinite.graph(a, h, adjacency[0], features[0], blocks=1, layers=1, mask1=m, mask2=masks[0]).ntk

    mapped, gradients = jax.jit(jax.vmap(jax.value_and_grad(kernel)))(features, adjacency, masks)
    alone = infinite.graph(adjacency[2], features[2], adjacency[0, :2, :2], features[0, :2], blocks=1, layers=1).ntk
    np.testing.assert_allclose(mapped[2], alone, rtol=10 * rtol)
    # The first pair is a graph with itself, where the derivative counts as zero.
    assert np.all(np.isfinite(gradients))
    assert not np.any(gradients[0][2:])


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 1))), {}, "adjacency1 must be square"),
        ((np.ones((0, 0)), np.ones((0, 1))), {}, "at least one node"),
        ((np.ones((2, 2)), np.ones((3, 1))), {}, "features1 must have shape"),
        ((np.ones((2, 2)), np.ones((2, 1)), np.ones((2, 2))), {}, "given together"),
        ((np.ones((2, 2)), np.ones((2, 1)), np.ones((2, 2)), np.ones((2, 3))), {}, "same length"),
        ((np.ones((2, 2)), np.ones((2, 1))), {"mask1": np.ones(3, bool)}, "mask1 must have shape"),
        ((np.ones((2, 2)), np.ones((2, 1))), {"mask2": np.ones(2, bool)}, "mask2 has no meaning"),
        ((-np.ones((2, 2)), np.ones((2, 1))), {}, "no negative entry"),
        ((np.ones((2, 2)), np.ones((2, 1))), {"blocks": 0}, "blocks"),
        ((np.ones((2, 2)), np.ones((2, 1))), {"aggregate": "max"}, "aggregate must be one of"),
    ],
)
def test_wrong_input_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        infinite.graph(*args, **{**OPTIONS, **options})
