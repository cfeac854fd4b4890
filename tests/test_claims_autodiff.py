"""What the claims AD, OPT and SDE of issue 3 stand on: coverage, counts, closed forms, and that they notice wrong quantities."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import curvature, gradients
from jaxgen.claims.autodiff import costs, graphs, messages
from jaxgen.claims.optimization import sharpness
from jaxgen.claims.processes import noise

pytestmark = pytest.mark.float64

HEAVY = ["OPT-20"]


def test_the_tagged_net_is_the_net(key):
    weights, found, _ = jax.jit(graphs._messages)(key)
    np.testing.assert_allclose(found.values["h1"], jnp.tanh(weights[0] @ found.values["h0"]), rtol=1e-12)


def test_random_graphs_have_local_derivatives_below_the_diagonal_and_about_124_edges(key):
    derivatives = np.asarray(jax.jit(jax.vmap(lambda k: graphs._graph(k)[1]))(jax.random.split(key, 20)))
    assert not np.triu(derivatives).any()
    counts = np.count_nonzero(derivatives, axis=(1, 2))
    assert abs(np.mean(counts) - 124) < 5 * np.sqrt(435 * 0.285 * 0.715 / 20)


def test_multiplications_are_counted():
    assert graphs._multiplications(lambda a, b: a * b + a * 2.0 - b, 1.0, 1.0) == 2


def test_operations_of_a_matrix_product_are_counted():
    zeros = jnp.zeros((8, 16)), jnp.zeros((16, 4))
    np.testing.assert_allclose(costs._operations(jnp.matmul, *zeros), 2 * 8 * 16 * 4, rtol=0.1)


def test_which_matrices_can_be_multiplied():
    assert messages._conform((3, 4), (4, 5)) == 1
    assert messages._conform((4, 5), (3, 4)) == 0


def test_the_spectrum_of_the_rotated_matrix_and_the_bound_on_the_power_method(key):
    eigenvalues = sharpness._spectrum(key)
    operator, start = sharpness._rotated(key, eigenvalues)
    np.testing.assert_allclose(np.linalg.eigvalsh(operator.as_matrix()), np.sort(eigenvalues), rtol=0, atol=1e-12)
    for num_matvecs in (2, 10):
        top, bound = jax.jit(sharpness._largest_error)(operator.as_matrix(), start, num_matvecs)
        np.testing.assert_allclose(top, -5.0, rtol=1e-12)
        assert abs(curvature.power_iteration(operator, start, num_matvecs=num_matvecs).value - top) <= bound


def test_enumerated_batches_have_the_trace_of_the_batch_gradient(key):
    params, data = noise._problem(key)
    for replacement in (True, False):
        options = {"batch_size": 2, "replacement": replacement}
        _, covariance = jax.jit(partial(noise._enumerated, replacement=replacement))(params, data)
        variance = jax.jit(partial(gradients.batch_gradient_variance, noise._loss_fn, **options))(params, data)
        np.testing.assert_allclose(np.trace(covariance), variance, rtol=1e-10)


@pytest.mark.parametrize(
    ("room", "name", "wrong", "id"),
    [
        (gradients, "dag_backprop", lambda right: lambda d, out: right(d, out) * 1.001, "AD-2"),
        (curvature, "power_iteration", lambda right: lambda *args, **options: right(*args, num_matvecs=2), "OPT-18.tie"),
    ],
)
def test_a_wrong_quantity_makes_its_claim_fall_short(monkeypatch, registered, room, name, wrong, id):
    monkeypatch.setattr(room, name, wrong(getattr(room, name)))
    claim = registered[id]
    checks = jax.jit(claim.body)(claim.keys(1)[0])
    assert not all(bool(check.held) for check in checks.values())
