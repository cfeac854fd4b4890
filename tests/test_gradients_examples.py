"""Gradients of single examples and their spread, against explicit differentiation and enumeration."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgen import gradients

N, WIDTHS = 7, (3, 4, 2)


_dispersion = jax.jit(gradients.dispersion, static_argnums=0)
_batch_gradient_variance = jax.jit(gradients.batch_gradient_variance, static_argnums=0, static_argnames=("batch_size", "replacement"))
_value_and_gradient = jax.jit(gradients.value_and_gradient, static_argnums=0)


def _network_loss(params, batch):
    x, y = batch
    return 0.5 * jnp.sum((jnp.tanh(x @ params["a"]) @ params["b"] + params["c"] - y) ** 2, axis=-1)


def _quadratic_loss(w, z):
    return 0.5 * jnp.sum((w - z) ** 2, axis=-1)


@pytest.fixture
def params():
    rng = np.random.default_rng(1)
    return {"a": rng.normal(size=WIDTHS[:2]), "b": rng.normal(size=WIDTHS[1:]), "c": rng.normal(size=WIDTHS[2:])}


@pytest.fixture
def batch():
    rng = np.random.default_rng(2)
    return rng.normal(size=(N, WIDTHS[0])), rng.normal(size=(N, WIDTHS[-1]))


@pytest.fixture
def rows(params, batch):
    """Per-example gradients (N, P) as the Jacobian of the batched loss."""
    blocks = jax.jit(jax.jacrev(_network_loss))(params, batch)
    return np.concatenate([np.asarray(block).reshape(N, -1) for block in jax.tree.leaves(blocks)], axis=1)


def test_the_mean_loss_and_its_gradient(params, batch, rows, rtol):
    value, gradient = _value_and_gradient(_network_loss, params, batch)
    np.testing.assert_allclose(value, np.mean(jax.jit(_network_loss)(params, batch)), rtol=rtol)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]), rows.mean(0), rtol=rtol, atol=rtol * np.abs(rows).max()
    )
    np.testing.assert_allclose(jax.jit(gradients.risk, static_argnums=0)(_network_loss, params, batch), value, rtol=rtol)


def test_per_example_gradients_are_rows_of_the_jacobian(params, batch, rows, rtol):
    found = jax.jit(lambda *args: jax.vmap(lambda g: ravel_pytree(g)[0])(gradients.per_example(_network_loss, *args)))(params, batch)
    np.testing.assert_allclose(found, rows, rtol=rtol, atol=rtol * np.abs(rows).max())


@pytest.mark.heavy
@pytest.mark.parametrize("chunk_size", [None, 1, 3, 20])
def test_norms_and_dispersion_do_not_depend_on_chunks(params, batch, rows, rtol, chunk_size):
    fns = gradients.squared_norms, gradients.dispersion
    norms, spread = jax.jit(lambda *args: [fn(_network_loss, *args, chunk_size=chunk_size) for fn in fns])(params, batch)
    np.testing.assert_allclose(norms, (rows**2).sum(1), rtol=10 * rtol)
    np.testing.assert_allclose(spread, np.trace(np.cov(rows.T, ddof=0)), rtol=10 * rtol)


def test_gram_holds_inner_products_of_gradients(params, batch, rows, rtol):
    other = jax.tree.map(lambda leaf: leaf[:3], batch)
    scale = (rows**2).sum(1).max()
    gram = jax.jit(lambda *args: gradients.gram(_network_loss, *args))
    np.testing.assert_allclose(gram(params, batch), rows @ rows.T, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(gram(params, batch, other), rows @ rows[:3].T, rtol=rtol, atol=rtol * scale)


def test_dispersion_does_not_cancel_next_to_a_large_mean(precision):
    """Mean gradient 1e3 times the spread: one pass, E|g|^2 - |E g|^2, loses 6 digits; two passes lose none."""
    z = jnp.linspace(-1.0, 1.0, 101)[:, None]
    expected = np.var(np.linspace(-1.0, 1.0, 101))
    tolerance = 1e3 * float(jnp.finfo(z.dtype).eps)
    np.testing.assert_allclose(_dispersion(_quadratic_loss, jnp.full(1, 1e3), z), expected, rtol=tolerance)


@pytest.mark.any_precision
def test_chunks_bound_the_memory_of_dispersion():
    width, count, chunk = 2000, 256, 8

    def temporary(chunk_size):
        args = jnp.zeros(width), jnp.zeros((count, width))
        compiled = jax.jit(lambda w, z: gradients.dispersion(lambda w, z: jnp.cos(z @ w), w, z, chunk_size=chunk_size)).lower(*args).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(chunk) < 4 * chunk * width * 4 < count * width * 4


@pytest.mark.float64
def test_vmap_changes_nothing(params, batch, rtol):
    def call(p):
        fns = gradients.per_example, gradients.squared_norms, gradients.gram, gradients.dispersion
        return [fn(_network_loss, p, batch) for fn in fns]

    several = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), params)
    for found, expected in zip(jax.tree.leaves(jax.jit(jax.vmap(call))(several)), jax.tree.leaves(jax.jit(call)(params)), strict=True):
        np.testing.assert_allclose(found[0], expected, rtol=10 * rtol, atol=10 * rtol * np.abs(expected).max())


@pytest.mark.any_precision
def test_integers_become_floats():
    assert gradients.dispersion(_quadratic_loss, jnp.array([1, 2]), jnp.array([[1, 2], [3, 4]])) == 2.0


@pytest.mark.float64
def test_batch_gradient_variance_is_that_of_enumerated_batches(rtol):
    """Five examples, batches of two: 25 ordered batches with replacement, 10 subsets without (SDE-2)."""
    z, w = np.random.default_rng(1).normal(size=(5, 3)), np.ones(3)
    g = w - z
    for replacement, batches in ((True, product(range(5), repeat=2)), (False, combinations(range(5), 2))):
        means = np.array([g[list(rows)].mean(0) for rows in batches])
        found = _batch_gradient_variance(_quadratic_loss, w, z, batch_size=2, replacement=replacement)
        np.testing.assert_allclose(found, ((means - g.mean(0)) ** 2).sum(1).mean(), rtol=10 * rtol)


@pytest.mark.any_precision
def test_the_full_batch_has_no_variance_given_the_training_set():
    z = np.random.default_rng(1).normal(size=(5, 3))
    assert _batch_gradient_variance(_quadratic_loss, np.ones(3), z, batch_size=5) == 0


@pytest.mark.float64
@pytest.mark.parametrize(("batch_size", "expected", "empirical"), [(8, 0.25, 0.0), (2, 1.0, 0.75)])
def test_neu_variance_is_unbiased_and_the_empirical_centre_falls_short(batch_size, expected, empirical):
    """n = 8, d = 2, s = 1: d/b, against d (1/b - 1/n) about the empirical centre; 20000 training sets, 4 standard errors."""
    z = np.random.default_rng(1).normal(size=(20000, 11, 2))

    def one(z):
        train, held_out = z[:8], z[8:]
        _, g = gradients.value_and_gradient(_quadratic_loss, jnp.zeros(2), train[:batch_size])
        return (
            gradients.neu_variance(_quadratic_loss, jnp.zeros(2), g, held_out),
            gradients.batch_gradient_variance(_quadratic_loss, jnp.zeros(2), train, batch_size=batch_size),
        )

    for values, mean in zip(jax.jit(jax.vmap(one))(z), (expected, empirical), strict=True):
        assert abs(values.mean() - mean) <= 4 * values.std() / np.sqrt(len(values))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("loss_fn", "found"),
    [
        (lambda w, z: _quadratic_loss(w, z).mean(), r"\(\)"),
        (lambda w, z: _quadratic_loss(w, z)[:, None], r"\(4, 1\)"),
        (lambda w, z: (_quadratic_loss(w, z), 0.0), r"\(\(4,\), \(\)\)"),
    ],
)
def test_a_loss_without_one_value_per_example_is_refused(loss_fn, found):
    for call in (gradients.value_and_gradient, jax.jit(gradients.risk, static_argnums=0), gradients.dispersion):
        with pytest.raises(ValueError, match=rf"loss_fn must return one loss per example, shape \(4,\); got shape {found}"):
            call(loss_fn, jnp.zeros(2), jnp.zeros((4, 2)))


@pytest.mark.any_precision
def test_bad_input_is_named():
    w, z = jnp.zeros(2), jnp.zeros((4, 2))
    with pytest.raises(ValueError, match="every leaf of batch must have the same leading axis"):
        gradients.value_and_gradient(_network_loss, w, (z, z[:3]))
    with pytest.raises(ValueError, match="batch must hold at least one example"):
        gradients.risk(_quadratic_loss, w, z[:0])
    with pytest.raises(ValueError, match="chunk_size must be an integer of at least 1; got 0"):
        gradients.squared_norms(_quadratic_loss, w, z, chunk_size=0)
    with pytest.raises(TypeError, match="params must be real; got dtype complex"):
        gradients.value_and_gradient(_quadratic_loss, w + 1j, z)
    with pytest.raises(ValueError, match="batch_size must be at most n = 4 without replacement; got 5"):
        gradients.batch_gradient_variance(_quadratic_loss, w, z, batch_size=5)
    with pytest.raises(ValueError, match="data must hold at least 2 examples; got 1"):
        gradients.batch_gradient_variance(_quadratic_loss, w, z[:1], batch_size=1)
    with pytest.raises(ValueError, match="held_out must hold at least 2 examples; got 1"):
        gradients.neu_variance(_quadratic_loss, w, w, z[:1])
    with pytest.raises(ValueError, match=r"gradient must have the structure of params, \(2,\); got \(3,\)"):
        gradients.neu_variance(_quadratic_loss, w, jnp.zeros(3), z)
