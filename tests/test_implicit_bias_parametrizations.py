"""Parametrizations: their metrics and flows, what diagonal nets conserve, and those made from separable potentials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import implicit_bias

pytestmark = pytest.mark.float64

START = np.array([0.6, 1.3])


def _pairs(key, d=3):
    """Parametrizations with potentials that have their metric, and parameters."""
    root = jnp.eye(d) + 0.3 * jax.random.normal(key, (d, d)) / d
    sigma = root @ root.T
    theta = 0.5 + jax.random.uniform(key, (d,))
    u, v = 0.5 + jax.random.uniform(jax.random.fold_in(key, 1), (2, d))
    return {
        "linear": (lambda theta: root @ theta, implicit_bias.quadratic(jnp.linalg.inv(sigma)), theta),
        "square": (lambda theta: theta**2, implicit_bias.entropy(0.25), theta),
        "cube": (implicit_bias.diagonal_net(3, sign=False), implicit_bias.power_positive(3), theta),
        "hyperbolic": (implicit_bias.diagonal_net(2), implicit_bias.hyperbolic_entropy(products=u * v), (u, v)),
    }


@pytest.mark.parametrize("name", ["linear", "square", "cube", "hyperbolic"])
def test_matched_pairs_have_one_metric(name, key, precision):
    """To machine epsilon times a condition number below 100, for three eigenvalues."""
    parametrization, potential, theta = _pairs(key)[name]
    mismatch = jax.jit(lambda theta: implicit_bias.metric_mismatch(parametrization, potential, theta))(theta)
    assert mismatch < (1e-12 if precision == "float64" else 3e-5)


def test_the_entropy_without_its_quarter_has_another_metric(key):
    assert implicit_bias.metric_mismatch(lambda theta: theta**2, implicit_bias.entropy(), START) == pytest.approx(np.sqrt(2) * 3, rel=1e-5)


def test_metrics_of_products_and_differences_of_squares(rtol):
    u, v = jnp.array([1.0, 2.0]), jnp.array([0.5, -3.0])
    product = implicit_bias.pushforward_metric(lambda theta: theta["u"] * theta["v"], {"u": u, "v": v})
    np.testing.assert_allclose(product, jnp.diag(u**2 + v**2), rtol=rtol)
    np.testing.assert_allclose(implicit_bias.pushforward_metric(implicit_bias.diagonal_net(2), (u, v)), jnp.diag(4 * (u**2 + v**2)), rtol=rtol)


def test_no_potential_fits_two_points_of_the_signed_square_with_one_image(rtol):
    net = implicit_bias.diagonal_net(2)
    points = [(jnp.array([1.0]), jnp.array([0.0])), (jnp.array([2.0]) ** 0.5, jnp.array([1.0]))]
    np.testing.assert_allclose([net(point)[0] for point in points], 1, rtol=rtol)
    np.testing.assert_allclose([implicit_bias.pushforward_metric(net, point)[0, 0] for point in points], [4, 12], rtol=rtol)


@pytest.mark.slow
@pytest.mark.float64
def test_flows_of_a_matched_pair_agree_for_a_loss_that_is_not_convex(key):
    """Within 1e-7, a hundred times the solver's tolerance."""
    parametrization, potential, theta = _pairs(key)["hyperbolic"]
    target = jnp.array([0.3, 2.0, 1.0])

    def grad_fn(w):
        return jnp.sin(w - target) + 0.1 * (w - target) ** 3

    times = jnp.linspace(0.0, 1.5, 5)
    found = implicit_bias.reparametrized_flow(parametrization, grad_fn, theta, times)
    expected = implicit_bias.mirror_flow(potential, grad_fn, parametrization(theta), times)
    np.testing.assert_allclose(found.w, expected, atol=1e-7)
    assert jnp.abs(found.w[-1] - found.w[0]).max() > 0.1


@pytest.mark.any_precision
def test_the_flow_of_the_square_is_the_logistic_curve():
    """Within a hundred times the solver's tolerance."""
    b, times = jnp.array([0.7, 2.0]), jnp.array([0.0, 0.3, 1.0])
    flow = implicit_bias.reparametrized_flow(lambda theta: theta**2, lambda w: w - b, START, times)
    expected = b / (1 + (b / START**2 - 1) * jnp.exp(-4 * b * times[:, None]))
    np.testing.assert_allclose(flow.w, expected, rtol=1e-3)
    np.testing.assert_allclose(flow.theta**2, flow.w, rtol=1e-6)


@pytest.mark.float64
@pytest.mark.parametrize("depth", [4, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (1, 2))])
def test_gradient_flow_keeps_what_is_conserved_and_descent_to_first_order(depth):
    net = implicit_bias.diagonal_net(depth)
    theta, target = (jnp.array([0.9, 1.1]), jnp.array([1.2, 0.7])), jnp.array([0.5, -0.8])
    before = net.conserved(theta)
    flow = implicit_bias.reparametrized_flow(net, lambda w: w - target, theta, jnp.array([2.0]))
    after = jax.tree.map(lambda leaf: leaf[0], flow.theta)
    np.testing.assert_allclose(net.conserved(after), before, rtol=1e-7)
    assert jnp.abs(after[0] - theta[0]).max() > 0.02

    def drift(rate):
        def step(theta, _):
            w, pull = jax.vjp(net, theta)
            return jax.tree.map(lambda leaf, g: leaf - rate * g, theta, pull(w - target)[0]), None

        steps = round(0.5 / rate)
        return jnp.abs(net.conserved(jax.lax.scan(step, theta, None, length=steps)[0]) - before).max()

    if depth > 1:
        np.testing.assert_allclose(drift(0.002) / drift(0.001), 2, rtol=0.1)


def test_without_a_second_vector_signs_are_conserved():
    net = implicit_bias.diagonal_net(3, sign=False)
    theta = jnp.array([-2.0, 1.0])
    assert net(theta).tolist() == [8.0, 1.0]
    assert net.conserved(theta).tolist() == [-1.0, 1.0]
    assert net.start(0.5, 2).tolist() == [0.5, 0.5]


def _separable(name):
    """A potential, a point of its domain, other points, and their parameters if known."""
    if name == "entropy":
        ref, w = jnp.array([1.0, 0.25]), jnp.array([2.25, 4.0])
        return implicit_bias.entropy(0.25), ref, w, jnp.sqrt(w) - jnp.sqrt(ref)
    if name == "hyperbolic":
        return implicit_bias.hyperbolic_entropy(jnp.array([0.01, 0.5])), jnp.zeros(2), jnp.array([-1.5, 0.7]), None
    return implicit_bias.diagonal_depth(0.3, 4), jnp.array([0.1, 0.0]), jnp.array([-1.5, 0.02]), None


@pytest.mark.parametrize("name", ["entropy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("hyperbolic", "deep"))])
def test_parametrizations_of_separable_potentials_have_their_metric_and_an_inverse(name, precision):
    """To the accuracy that the docstring states, and half of the digits in float32."""
    potential, ref, w, known = _separable(name)
    found = implicit_bias.parametrization_from_separable_potential(potential, ref)
    tolerance = 1e-10 if precision == "float64" else 3e-4
    theta = found.inverse(w)
    np.testing.assert_allclose(found.parametrization(theta), w, rtol=tolerance)
    if known is not None:
        np.testing.assert_allclose(theta, known, rtol=tolerance)
        # Beyond the boundary of the domain there is nothing.
        assert jnp.isnan(found.inverse(-w)).all()
        assert jnp.isnan(found.parametrization(jnp.array([-1.5, 0.1]))).all()
    np.testing.assert_allclose(found.parametrization(jnp.zeros(2)), ref, atol=1e-6)
    assert jax.jit(implicit_bias.metric_mismatch)(jax.tree_util.Partial(found.parametrization), potential, theta) < tolerance


@pytest.mark.float64
def test_the_angle_of_the_hyperbolic_entropy_is_an_integral():
    """Against scipy's quadrature of sqrt(r'')."""
    from scipy.integrate import quad

    alpha = 0.1
    found = implicit_bias.parametrization_from_separable_potential(implicit_bias.hyperbolic_entropy(alpha), jnp.zeros(1))
    expected = quad(lambda w: 0.5 * (w**2 + 4 * alpha**4) ** -0.25, 0, 2.0, epsabs=1e-13, points=[0.01, 0.1])[0]
    assert float(found.inverse(jnp.array([2.0]))[0]) == pytest.approx(expected, rel=1e-11)


@pytest.mark.slow
@pytest.mark.float64
def test_derivatives_by_the_reference_point_and_the_potential_are_those_of_closed_forms():
    """For c times the entropy, G = (theta / (2 sqrt c) + sqrt w_ref)^2."""
    theta = jnp.array([0.4])

    def numeric(c, ref):
        return implicit_bias.parametrization_from_separable_potential(implicit_bias.entropy(c), ref).parametrization(theta)[0]

    def closed(c, ref):
        return ((theta / (2 * jnp.sqrt(c)) + jnp.sqrt(ref)) ** 2)[0]

    at = jnp.array(0.3), jnp.array([0.8])
    found, expected = (jax.grad(function, argnums=(0, 1))(*at) for function in (numeric, closed))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-8)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-8)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: implicit_bias.pushforward_metric(lambda theta: theta @ theta, jnp.ones(2)), r"vector, an array of shape \(d,\)"),
        (lambda: implicit_bias.pushforward_metric(lambda theta: (theta, theta), jnp.ones(2)), "must return a vector"),
        (lambda: implicit_bias.pushforward_metric(lambda theta: jnp.stack([theta, theta]), 1.0), "d = 2 and 1 parameters"),
        (lambda: implicit_bias.metric_mismatch(lambda theta: -theta, implicit_bias.entropy(), jnp.ones(2)), "domain of the potential"),
        (lambda: implicit_bias.reparametrized_flow(lambda theta: theta, lambda w: w[:1], jnp.ones(2), jnp.ones(1)), "grad_fn must return"),
        (lambda: implicit_bias.reparametrized_flow(lambda theta: theta, lambda w: w, jnp.ones(2), -jnp.ones(1)), "times must be"),
        (lambda: implicit_bias.diagonal_net(0), "depth"),
        (lambda: implicit_bias.diagonal_net(2).start(-1.0, 3), "alpha must be positive"),
        (lambda: implicit_bias.diagonal_net(2).start(jnp.ones(2), 3), "alpha must be a scalar"),
        (lambda: implicit_bias.parametrization_from_separable_potential(implicit_bias.entropy(), -jnp.ones(2)), "w_ref must be in the domain"),
        (lambda: implicit_bias.parametrization_from_separable_potential(implicit_bias.lp_squared(1.5), jnp.ones(2)), "separable"),
        (lambda: implicit_bias.parametrization_from_separable_potential(implicit_bias.entropy(), 1.0), "w_ref must be a vector"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_a_potential_that_is_not_convex_is_refused():
    concave = implicit_bias.squared_l2()._replace(hessian_vector=jax.tree_util.Partial(lambda w, v: -v))
    with pytest.raises(ValueError, match="second derivatives of potential must be positive"):
        implicit_bias.parametrization_from_separable_potential(concave, jnp.ones(2))
