"""Lie brackets of parametrizations, flows along dual vectors, and the potentials that these induce."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias

pytestmark = pytest.mark.float64

UPPER = jnp.triu_indices(2)


def _gram(factor):
    return (factor @ factor.T)[UPPER]


def _commuting(key):
    rotation = jnp.linalg.qr(jax.random.normal(key, (4, 4)))[0]
    forms = jnp.einsum("ab,kb,cb->kac", rotation, jax.random.normal(key, (3, 4)), rotation)
    u, v = jax.random.normal(jax.random.fold_in(key, 1), (2, 3))
    matrix = jax.random.normal(key, (3, 4))
    return {
        "difference of squares": (implicit_bias.diagonal_net(2), (u, v)),
        "difference of cubes": (implicit_bias.diagonal_net(3), (u, v)),
        "products": (lambda theta: theta[0] * theta[1], (u, v)),
        "linear": (lambda theta: matrix @ theta, jnp.ones(4)),
        "quadratic forms": (lambda theta: jnp.einsum("kab,a,b->k", forms, theta, theta), jax.random.normal(key, (4,))),
    }


@pytest.mark.parametrize("name", ["difference of squares", "difference of cubes", "products", "linear", "quadratic forms"])
def test_brackets_of_commuting_parametrizations_vanish(name, key, rtol):
    parametrization, theta = _commuting(key)[name]
    found = jax.jit(lambda theta: implicit_bias.commutator_residual(parametrization, theta))(theta)
    # Products of the quadratic forms have entries of about 50.
    assert max(found) <= (50 * rtol if name == "quadratic forms" else 0)


@pytest.mark.parametrize(
    ("parametrization", "shape"),
    [
        (_gram, (2, 3)),
        (lambda theta: (theta[:2] @ theta[2:].reshape(3, 2)[:2]).ravel(), (5, 2)),
        (lambda theta: jnp.stack([theta[0] ** 2 - theta[1] ** 2, 2 * theta[0] * theta[1]]), (2,)),
        (lambda theta: jnp.stack([theta[0] * theta[1], theta[0] + theta[1]]), (2,)),
    ],
)
def test_brackets_of_others_are_those_of_dense_hessians(parametrization, shape, key, rtol):
    @jax.jit
    def both(theta):
        def flat(vector):
            return parametrization(vector.reshape(shape))

        rows, hessians = jax.jacrev(flat)(theta.ravel()), jax.hessian(flat)(theta.ravel())
        found = implicit_bias.commutator_residual(parametrization, theta), implicit_bias.lie_bracket(parametrization, 0, 1, theta)
        return found, rows, hessians

    (found, one), rows, hessians = jax.tree.map(np.asarray, both(jax.random.normal(key, shape)))
    brackets = np.einsum("iab,jb->ija", hessians, rows) - np.einsum("jab,ib->ija", hessians, rows)
    pushed = np.einsum("ka,ija->ijk", rows, brackets)
    np.testing.assert_allclose(found.bracket, np.linalg.norm(brackets, axis=2).max(), rtol=10 * rtol)
    np.testing.assert_allclose(found.pushed, np.linalg.norm(pushed, axis=2).max(), rtol=10 * rtol)
    assert found.bracket > 0.5
    np.testing.assert_allclose(one.ravel(), brackets[0, 1], atol=10 * rtol)


@pytest.mark.slow
@pytest.mark.any_precision
def test_many_components_go_in_portions(key):
    """300 pairs, more than are taken at once, of which one does not commute."""

    def parametrization(theta):
        return jnp.concatenate([theta[2:] ** 2, jnp.stack([theta[0] * theta[1], theta[0] + theta[1]])])

    theta = jax.random.normal(key, (25,))
    assert implicit_bias.commutator_residual(parametrization, theta).bracket == pytest.approx(np.sqrt(2), rel=1e-6)


@pytest.mark.float64
def test_flows_of_commuting_parametrizations_can_be_taken_in_any_order():
    net, theta = implicit_bias.diagonal_net(3), (jnp.array([0.8, 1.1]), jnp.array([0.9, 0.7]))
    flow = jax.jit(lambda theta, mu: implicit_bias.dual_flow(net, theta, mu))
    first, second = jnp.array([0.05, -0.1]), jnp.array([-0.02, 0.08])
    one, other, both = flow(flow(theta, first), second), flow(flow(theta, second), first), flow(theta, first + second)
    np.testing.assert_allclose(jnp.stack(one), jnp.stack(other), rtol=1e-10)
    np.testing.assert_allclose(jnp.stack(one), jnp.stack(both), rtol=1e-10)


@pytest.mark.float64
def test_the_order_of_flows_matters_where_brackets_do_not_vanish(key):
    factor = 0.5 * jax.random.normal(key, (2, 3))
    flow = jax.jit(lambda theta, mu: implicit_bias.dual_flow(_gram, theta, mu))
    first, second = jnp.array([0.3, 0.0, 0.0]), jnp.array([0.0, 0.5, 0.0])
    gap = _gram(flow(flow(factor, first), second)) - _gram(flow(flow(factor, second), first))
    assert jnp.abs(gap).max() > 1e-2


FUNCTIONS = ("value", "mirror", "inverse_mirror", "hessian_vector", "inverse_hessian_vector", "conjugate")


def _all_functions(potential, w, z):
    arguments = {"value": (w,), "mirror": (w,), "inverse_mirror": (z,), "conjugate": (z,)}
    arguments |= {"hessian_vector": (w, z + 1), "inverse_hessian_vector": (w, z + 1)}
    return {name: getattr(potential, name)(*arguments[name]) for name in FUNCTIONS}


def test_the_difference_of_squares_induces_the_hyperbolic_entropy(precision):
    net, w = implicit_bias.diagonal_net(2), jnp.array([0.5, -1.5])
    for alpha in (0.03, 1.0):
        closed = implicit_bias.hyperbolic_entropy(alpha)
        found = implicit_bias.induced_potential(net, net.start(alpha, 2))
        z = closed.mirror(w)
        expected = _all_functions(closed, w, z)
        for name, value in _all_functions(found, w, z).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-8 if precision == "float64" else 1e-3, err_msg=name)
        assert bool(found.domain(w))


@pytest.mark.float64
def test_products_induce_a_hyperbolic_entropy_of_the_conserved_difference():
    """From any start: grad R = [asinh(2 w / |d|) - asinh(2 w_0 / |d|)] / 2 with d = u^2 - v^2."""
    theta, w = (jnp.array([1.0, 0.2]), jnp.array([0.5, -0.6])), jnp.array([-0.4, 0.9])

    def product(theta):
        return theta[0] * theta[1]

    delta = jnp.abs(theta[0] ** 2 - theta[1] ** 2)
    expected = (jnp.arcsinh(2 * w / delta) - jnp.arcsinh(2 * product(theta) / delta)) / 2
    found = implicit_bias.induced_potential(product, theta, require_commuting=False)
    np.testing.assert_allclose(found.mirror(w), expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.float64
def test_derivatives_of_the_induced_potential_are_its_own_functions():
    net, w = implicit_bias.diagonal_net(3), jnp.array([0.3, -0.8])
    potential = implicit_bias.induced_potential(net, net.start(0.6, 2), require_commuting=False)
    closed = implicit_bias.diagonal_depth(0.6, 3)
    z = closed.mirror(w)

    @jax.jit
    def derivatives(potential, w, z):
        return {"hessian": jax.jacfwd(jax.grad(potential.value))(w), "inverse": jax.jacfwd(jax.grad(potential.conjugate))(z)}

    found, expected = derivatives(potential, w, z), derivatives(closed, w, z)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.slow
@pytest.mark.float64
def test_derivatives_by_the_start_are_those_of_the_closed_form():
    net, w = implicit_bias.diagonal_net(2), jnp.array([0.5])

    def mirror(potential_of):
        return jax.grad(lambda alpha: potential_of(alpha).mirror(w)[0] + potential_of(alpha).value(w))(0.4)

    found = mirror(lambda alpha: implicit_bias.induced_potential(net, net.start(alpha, 1), require_commuting=False))
    assert float(found) == pytest.approx(float(mirror(implicit_bias.hyperbolic_entropy)), rel=1e-8)


@pytest.mark.slow
@pytest.mark.float64
def test_potentials_are_mapped_over_starts():
    net, w, alphas = implicit_bias.diagonal_net(2), jnp.array([0.5]), jnp.array([0.2, 2.0])
    found = jax.vmap(lambda alpha: implicit_bias.induced_potential(net, net.start(alpha, 1), require_commuting=False).mirror(w))(alphas)
    np.testing.assert_allclose(found, jax.vmap(lambda alpha: implicit_bias.hyperbolic_entropy(alpha).mirror(w))(alphas), rtol=1e-9)


@pytest.mark.any_precision
def test_a_parametrization_that_does_not_commute_is_refused(key):
    factor = jax.random.normal(key, (2, 3))
    with pytest.raises(ValueError, match=r"does not commute near theta0; a bracket of its gradients is [0-9]"):
        implicit_bias.induced_potential(_gram, factor)
    traced = jax.jit(lambda factor: jnp.stack(jax.tree.leaves(implicit_bias.induced_potential(_gram, factor))))(factor)
    assert jnp.isnan(traced).all()


@pytest.mark.slow
@pytest.mark.any_precision
def test_brackets_that_vanish_only_at_the_start_are_found():
    """Hessians of 1 and 1 - t^2 / 2 at theta0 = (1, 0) commute there."""

    def parametrization(theta):
        return jnp.stack([theta[0], theta[1] + theta[0] * theta[1] ** 2])

    theta = jnp.array([1.0, 0.0])
    assert implicit_bias.commutator_residual(parametrization, theta).bracket == 0
    with pytest.raises(ValueError, match="does not commute"):
        implicit_bias.induced_potential(parametrization, theta)


@pytest.mark.slow
@pytest.mark.any_precision
def test_flows_that_blow_up_and_points_out_of_reach_are_flagged():
    """Depth 4 flows to infinity along 1 / (8 alpha^2); squares stay positive."""
    deep = implicit_bias.diagonal_net(4)
    potential = implicit_bias.induced_potential(deep, deep.start(1.0, 1))
    z = jnp.array([0.2])
    with pytest.raises(ValueError, match="along z blows up before time 1"):
        potential.inverse_mirror(z)
    assert jnp.isnan(jax.jit(potential.inverse_mirror)(z)).all()
    with pytest.raises(ValueError, match="along mu blows up before time 1"):
        implicit_bias.dual_flow(deep, deep.start(1.0, 1), z)
    squares = implicit_bias.induced_potential(lambda theta: theta**2, jnp.ones(1), require_commuting=False)
    with pytest.raises(ValueError, match="w is not reached"):
        squares.mirror(jnp.array([-1.0]))
    assert not bool(squares.domain(jnp.array([-1.0])))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: implicit_bias.commutator_residual(lambda theta: theta @ theta, jnp.ones(2)), "must return a vector"),
        (lambda: implicit_bias.lie_bracket(lambda theta: theta, 0, 2, jnp.ones(2)), "components of a vector of length 2"),
        (lambda: implicit_bias.dual_flow(lambda theta: theta, jnp.ones(2), jnp.ones(3)), r"mu must have shape \(2,\)"),
        (lambda: implicit_bias.induced_potential(lambda theta: theta**2, jnp.zeros(2)), "invertible at theta0"),
        (lambda: implicit_bias.induced_potential(lambda theta: theta, jnp.ones(2)).value(jnp.ones(3)), r"w must have shape \(2,\)"),
        (lambda: implicit_bias.induced_potential(lambda theta: jnp.concatenate([theta, theta]), jnp.ones(2)), "at least d parameters"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
