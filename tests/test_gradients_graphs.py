"""Derivatives with respect to nodes, and sweeps over acyclic graphs, against automatic differentiation and sums over paths."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import gradients


def _net(node, weights, x):
    u = node("u", weights["first"] @ x)
    h = node("h", jnp.tanh(u))
    return jnp.sum(node("v", weights["second"] @ h) ** 2)


@pytest.fixture
def weights():
    rng = np.random.default_rng(1)
    return {"first": jnp.asarray(rng.normal(size=(4, 3))), "second": jnp.asarray(rng.normal(size=(2, 4)))}


@pytest.mark.heavy
def test_gradients_of_nodes_are_those_of_the_rest_of_the_program(weights, rtol):
    x = jnp.arange(3.0)
    found = jax.jit(lambda *args: gradients.node_sensitivities(_net, *args))(weights, x)
    h = jnp.tanh(weights["first"] @ x)
    expected = {
        "h": jax.grad(lambda h: jnp.sum((weights["second"] @ h) ** 2))(h),
        "u": jax.grad(lambda u: jnp.sum((weights["second"] @ jnp.tanh(u)) ** 2))(weights["first"] @ x),
        "v": 2 * weights["second"] @ h,
    }
    np.testing.assert_allclose(found.output, jnp.sum((weights["second"] @ h) ** 2), rtol=rtol)
    np.testing.assert_allclose(found.values["h"], h, rtol=rtol)
    assert set(found.gradients) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found.gradients[name], gradient, rtol=10 * rtol, atol=rtol)


def test_weight_gradients_are_outer_products_of_messages(weights, rtol):
    x = jnp.arange(3.0)
    found = gradients.node_sensitivities(_net, weights, x)
    direct = jax.grad(lambda weights: _net(lambda name, value: value, weights, x))(weights)
    np.testing.assert_allclose(jnp.outer(found.gradients["u"], x), direct["first"], rtol=10 * rtol, atol=rtol)
    np.testing.assert_allclose(jnp.outer(found.gradients["v"], found.values["h"]), direct["second"], rtol=10 * rtol, atol=rtol)


@pytest.mark.any_precision
def test_node_sensitivities_are_mapped_over_examples(weights):
    x = jnp.asarray(np.random.default_rng(2).normal(size=(5, 3)), jnp.float32)
    found = jax.jit(jax.vmap(lambda x: gradients.node_sensitivities(_net, weights, x).gradients["h"]))(x)
    np.testing.assert_allclose(found[3], gradients.node_sensitivities(_net, weights, x[3]).gradients["h"], rtol=1e-5, atol=1e-6)


@pytest.mark.any_precision
def test_bad_nodes_are_named():
    with pytest.raises(ValueError, match="the node 'h' is tagged twice"):
        gradients.node_sensitivities(lambda node: node("h", 1.0) + node("h", 2.0))
    with pytest.raises(ValueError, match="fn must tag at least one node"):
        gradients.node_sensitivities(lambda node: jnp.float32(1.0))
    with pytest.raises(ValueError, match=r"fn must return a scalar; got shape \(2,\)"):
        gradients.node_sensitivities(lambda node: node("h", jnp.ones(2)))
    with pytest.raises(TypeError, match="node 'h' must be real"):
        gradients.node_sensitivities(lambda node: jnp.abs(node("h", 1j)))


@pytest.fixture
def graph():
    """Local derivatives of a random graph of 7 nodes."""
    rng = np.random.default_rng(3)
    return np.tril(rng.normal(size=(7, 7)) * (rng.random((7, 7)) < 0.6), -1)


def _sum_over_paths(graph, source, target):
    total = 0.0
    between = range(source + 1, target)
    for length in range(len(between) + 1):
        for middle in itertools.combinations(between, length):
            path = (source, *middle, target)
            total += np.prod([graph[u, z] for z, u in itertools.pairwise(path)])
    return total if source != target else 1.0


def test_backpropagation_sums_over_paths(graph, rtol):
    pairs = jax.jit(gradients.dag_forward_all_pairs)(graph)
    expected = np.array([[_sum_over_paths(graph, z, u) if z <= u else 0.0 for z in range(7)] for u in range(7)])
    np.testing.assert_allclose(pairs, expected, rtol=0, atol=10 * rtol * np.abs(expected).max())
    for output in (6, 3, -2):
        found = jax.jit(gradients.dag_backprop, static_argnums=1)(graph, output)
        np.testing.assert_allclose(found, expected[output], rtol=0, atol=10 * rtol * np.abs(expected).max())


@pytest.mark.any_precision
def test_graphs_are_mapped_and_differentiated(graph):
    both = np.stack([graph, 2 * graph])
    found = jax.jit(jax.vmap(lambda d: gradients.dag_backprop(d, 6)))(both)
    np.testing.assert_allclose(found[1], gradients.dag_backprop(2 * graph, 6), rtol=1e-5, atol=1e-5)
    pairs = gradients.dag_forward_all_pairs(graph)
    slope = jax.jit(jax.grad(lambda d: gradients.dag_backprop(d, 6)[0]))(jnp.asarray(graph))
    np.testing.assert_allclose(jnp.tril(slope, -1), jnp.tril(jnp.outer(pairs[6], pairs[:, 0]), -1), rtol=1e-4, atol=1e-4)


@pytest.mark.any_precision
def test_cycles_and_wrong_shapes_are_named(graph):
    cyclic = graph.copy()
    cyclic[0, 6] = 1
    loop = graph + np.diag([0, 0, 1, 0, 0, 0, 0])
    for bad in (cyclic, loop):
        with pytest.raises(ValueError, match="strictly lower triangular"):
            gradients.dag_backprop(bad, 6)
        with pytest.raises(ValueError, match="strictly lower triangular"):
            gradients.dag_forward_all_pairs(bad)
        assert jnp.isnan(jax.jit(gradients.dag_forward_all_pairs)(bad)).any()
    assert jnp.isnan(jax.jit(lambda d: gradients.dag_backprop(d, 6))(cyclic)).any()
    with pytest.raises(ValueError, match=r"local_derivatives must be a square matrix; got shape \(7, 6\)"):
        gradients.dag_backprop(graph[:, :6], 0)
    with pytest.raises(ValueError, match="output must be the index of one of 7 nodes; got 7"):
        gradients.dag_backprop(graph, 7)
    with pytest.raises(TypeError, match="local_derivatives must be real"):
        gradients.dag_backprop(graph * 1j, 0)
