"""Information measures of tables of probabilities, against enumeration and known values."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.experimental import checkify

from jaxgen import information

XOR = np.zeros((2, 2, 2))
for _x in range(2):
    for _y in range(2):
        XOR[_x, _y, _x ^ _y] = 0.25


@pytest.fixture
def atol(precision):
    """Known values are printed to ten digits; float32 tables are rounded to 6e-8 in entries below one."""
    return {"float32": 1e-6, "float64": 1e-9}[precision]


def _symmetric_channel(error):
    return np.array([[1 - error, error], [error, 1 - error]]) / 2


def _tables(shape, count):
    return np.random.default_rng(1948).dirichlet(np.ones(math.prod(shape)), count).reshape(count, *shape)


def _expected_log(pxy, ratio):
    """E log ratio(index), term by term in Python floats."""
    return sum(float(p) * math.log(ratio(index)) for index, p in np.ndenumerate(pxy) if p > 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda: information.entropy([0.25] * 4), 1.3862943611),
        (lambda: information.entropy([0.1, 0.9]), 0.3250829734),
        (lambda: information.entropy([[0.0, 1.0], [0.0, 0.0]]), 0.0),
        (lambda: information.mutual_information(_symmetric_channel(0.1)), 0.3680642072),
        (lambda: information.mutual_information(_symmetric_channel(0.18)), 0.2217536937),
        (lambda: information.mutual_information(XOR.sum(2)), 0.0),
        (lambda: information.conditional_mutual_information(XOR), 0.6931471806),
        (lambda: information.information_diagram(XOR)["I(X;Y;Z)"], -0.6931471806),
    ],
)
def test_known_values(value, expected, atol):
    np.testing.assert_allclose(value(), expected, rtol=0, atol=atol)


def test_integer_tables_are_taken_in_the_default_float(precision):
    assert information.entropy(np.array([0, 1])).dtype == precision


def test_measures_agree_with_enumeration(rtol):
    pxy, qxy = _tables((5, 7), 2)
    px, py = pxy.sum(1), pxy.sum(0)
    close = lambda value, expected: np.testing.assert_allclose(value, expected, rtol=5 * rtol)  # noqa: E731
    close(information.entropy(pxy), -_expected_log(pxy, lambda i: pxy[i]))
    close(information.conditional_entropy(pxy, 1), -_expected_log(pxy, lambda i: pxy[i] / py[i[1]]))
    close(information.conditional_entropy(pxy, 0), -_expected_log(pxy, lambda i: pxy[i] / px[i[0]]))
    close(information.mutual_information(pxy), _expected_log(pxy, lambda i: pxy[i] / (px[i[0]] * py[i[1]])))
    close(information.kl_divergence(qxy, pxy), _expected_log(qxy, lambda i: qxy[i] / pxy[i]))
    qx = qxy.sum(1)
    close(information.conditional_kl(qxy, pxy), _expected_log(qxy, lambda i: qxy[i] / qx[i[0]] / (pxy[i] / px[i[0]])))


def test_conditional_information_agrees_with_enumeration_for_every_z(rtol):
    pxyz = _tables((3, 4, 5), 1)[0]
    pz = pxyz.sum((0, 1))
    values = []
    for z in range(5):
        pxy = pxyz[:, :, z] / pz[z]
        values.append(_expected_log(pxy, lambda i, pxy=pxy: pxy[i] / (pxy.sum(1)[i[0]] * pxy.sum(0)[i[1]])))
    np.testing.assert_allclose(information.conditional_mutual_information(pxyz, disintegrated=True), values, rtol=5 * rtol)
    np.testing.assert_allclose(information.conditional_mutual_information(pxyz), np.dot(pz, values), rtol=5 * rtol)


@jax.jit
@jax.vmap
def _forms(pxy):
    px, py = pxy.sum(1), pxy.sum(0)
    h, hx, hy = information.entropy(pxy), information.entropy(px), information.entropy(py)
    x_given_y, y_given_x = information.conditional_entropy(pxy, 1), information.conditional_entropy(pxy, 0)
    rows = jax.vmap(information.kl_divergence, in_axes=(0, None))(pxy.T / py[:, None], px)
    forms = jnp.stack(
        [
            information.mutual_information(pxy),
            information.mutual_information(pxy.T),
            information.kl_divergence(pxy, jnp.outer(px, py)),
            hx - x_given_y,
            hy - y_given_x,
            hx + hy - h,
            py @ rows,
        ]
    )
    worst = information.entropy(pxy / py, axis=0).max()
    return forms, h - (hy + x_given_y), hx - x_given_y, math.log(5) - hx, worst - hx


@pytest.mark.heavy
def test_all_forms_of_mutual_information_agree_on_a_thousand_tables(precision):
    rounding = {"float32": 2e-6, "float64": 1e-12}[precision]
    forms, chain, reduction, room, worst = _forms(_tables((5, 7), 1000))
    np.testing.assert_allclose(forms, np.broadcast_to(forms[:, :1], forms.shape), rtol=0, atol=rounding)
    np.testing.assert_allclose(chain, 0, atol=rounding)
    assert (forms[:, 0] >= 0).all()
    assert (reduction >= -rounding).all()
    assert (room >= -rounding).all()
    assert (worst > 0).any(), "conditioning on a single y may raise the entropy"


@jax.jit
def _identities(pxy):
    px, py = pxy.sum(1), pxy.sum(0)
    hx, hy, h = information.entropy(px), information.entropy(py), information.entropy(pxy)
    forms = [hx + hy - h, hx - information.conditional_entropy(pxy, 1), information.kl_divergence(pxy, jnp.outer(px, py))]
    value, gradient = jax.value_and_grad(information.mutual_information)(pxy)
    return value, jnp.stack(forms), gradient


@pytest.mark.heavy
@settings(deadline=None, derandomize=True, max_examples=30)
@given(arrays(np.int64, (3, 4), elements=st.integers(0, 4)).filter(lambda counts: counts.sum() > 0))
def test_tables_with_zeros_obey_the_identities(counts):
    value, forms, gradient = _identities(counts / counts.sum())
    np.testing.assert_allclose(forms, np.full(3, value), atol=2e-6)
    assert jnp.isfinite(gradient).all()


@jax.jit
def _chains(p, q):
    h, i = information.entropy, information.mutual_information
    entropies = h(p), h(p.sum((1, 2))) + information.conditional_entropy(p.sum(2), 0) + information.conditional_entropy(p, (0, 1))
    informations = i(p.reshape(12, 5)), i(p.sum(1)) + information.conditional_mutual_information(p.transpose(1, 2, 0))
    q, p = q.reshape(3, 20), p.reshape(3, 20)
    qx, px = q.sum(1), p.sum(1)
    total, first = information.kl_divergence(q, p), information.kl_divergence(qx, px)
    rows = jax.vmap(information.kl_divergence)(q / qx[:, None], p / px[:, None])
    return entropies, informations, (total, first + information.conditional_kl(q, p)), total - (first + px @ rows)


@pytest.mark.float64
def test_chain_rules_hold():
    *equal, wrong_average = _chains(*_tables((3, 4, 5), 2))
    for left, right in equal:
        np.testing.assert_allclose(left, right, atol=1e-12)
    assert abs(wrong_average) > 1e-3, "averaged with P_X the chain rule of the divergence fails"


@jax.jit
@jax.vmap
def _processed(pxy, qxy, kernel, direct):
    py, qy = pxy.sum(0), qxy.sum(0)
    push = information.push_forward
    permuted = push(pxy, jnp.eye(5)[jnp.array([3, 1, 4, 0, 2])])
    before = jnp.stack([information.mutual_information(pxy), information.kl_divergence(qy, py)])
    after = jnp.stack([information.mutual_information(push(pxy, kernel)), information.kl_divergence(push(qy, kernel), push(py, kernel))])
    return before, after, information.mutual_information(permuted), information.mutual_information(pxy.sum(1)[:, None] * direct)


@pytest.mark.float64
def test_processing_never_adds_information():
    rounding = 1e-13
    pxy, qxy = _tables((4, 5), 2000).reshape(2, 1000, 4, 5)
    kernel = np.random.default_rng(7).dirichlet(np.ones(3), (1000, 9))
    before, after, permuted, not_markov = _processed(pxy, qxy, kernel[:, :5], kernel[:, 5:])
    assert (after <= before + rounding).all()
    np.testing.assert_allclose(permuted, before[:, 0], atol=rounding)
    assert (not_markov > before[:, 0]).any(), "a Z that sees X directly may know more than Y"


def test_two_symmetric_channels_in_a_row_are_one(atol):
    twice = information.push_forward(_symmetric_channel(0.1), 2 * _symmetric_channel(0.1))
    np.testing.assert_allclose(twice, _symmetric_channel(0.18), atol=atol)


def test_a_markov_chain_has_no_conditional_information(atol):
    x_given_z, y_given_z = 2 * _symmetric_channel(0.1), 2 * _symmetric_channel(0.2)
    pxyz = np.einsum("zx,zy->xyz", x_given_z, y_given_z) / 2
    np.testing.assert_allclose(information.conditional_mutual_information(pxyz), 0, atol=atol)
    assert information.mutual_information(pxyz.sum(2)) > 0.1


def test_conditioning_on_an_independent_coin_changes_nothing(atol):
    coin = np.broadcast_to(XOR.sum(2)[:, :, None] / 2, (2, 2, 2))
    np.testing.assert_allclose(information.conditional_mutual_information(coin), 0, atol=atol)


def test_a_value_of_z_that_never_occurs_carries_nothing(atol):
    pxyz = np.concatenate([XOR, np.zeros((2, 2, 1))], axis=2)
    np.testing.assert_allclose(information.conditional_mutual_information(pxyz, disintegrated=True), [math.log(2), math.log(2), 0], atol=atol)


@pytest.mark.float64
def test_the_seven_atoms_sum_to_the_joint_entropy(rtol):
    for pxyz in (XOR, *_tables((3, 4, 5), 2)):
        atoms = information.information_diagram(pxyz)
        assert len(atoms) == 7
        np.testing.assert_allclose(sum(atoms.values()), information.entropy(pxyz), rtol=5 * rtol)
    parts = [atoms[name] for name in ("I(X;Y;Z)", "I(X;Y|Z)", "I(X;Z|Y)", "H(X|Y,Z)")]
    np.testing.assert_allclose(sum(parts), information.entropy(pxyz.sum((1, 2))), rtol=5 * rtol)


def test_divergence_is_infinite_where_the_reference_has_no_mass():
    assert information.kl_divergence([0.5, 0.5], [1.0, 0.0]) == jnp.inf
    assert information.kl_divergence([1.0, 0.0], [0.5, 0.5]) < jnp.inf
    assert jax.jit(information.kl_divergence)(jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0])) == jnp.inf
    assert information.conditional_kl([[0.5, 0.0], [0.25, 0.25]], [[1.0, 0.0], [0.0, 0.0]]) == jnp.inf
    assert information.conditional_kl([[1.0, 0.0], [0.0, 0.0]], [[0.5, 0.0], [0.0, 0.5]]) == 0


def test_small_information_keeps_its_relative_precision(precision):
    shift = 2.0**-12
    expected = 8 * shift**2 + 64 / 3 * shift**4
    tables = np.array([[0.25 + shift, 0.25 - shift], [0.25 - shift, 0.25 + shift]])
    tolerance = {"float32": 1e-3, "float64": 1e-9}[precision]
    np.testing.assert_allclose(information.mutual_information(tables), expected, rtol=tolerance)
    np.testing.assert_allclose(information.kl_divergence(tables, np.full((2, 2), 0.25)), expected, rtol=tolerance)


def test_products_of_tiny_probabilities_do_not_underflow():
    tiny = 1e-25
    expected = tiny * (1 - math.log(tiny))
    np.testing.assert_allclose(information.mutual_information(np.diag([1.0, tiny])), expected, rtol=1e-5)


@pytest.mark.any_precision
def test_gradients_are_right_inside_and_finite_on_the_boundary():
    @jax.jit
    def gradients(q, p):
        return jax.grad(information.entropy)(q), *jax.grad(information.kl_divergence, (0, 1))(q, p)

    q, p = jnp.array([0.2, 0.8]), jnp.array([0.6, 0.4])
    tangents = [float(gradient[0] - gradient[1]) for gradient in gradients(q, p)]
    np.testing.assert_allclose(tangents, [math.log(4), math.log(1 / 3) - math.log(2), -1 / 3 + 2], rtol=1e-5)
    corner = jnp.array([1.0, 0.0])
    assert jnp.isfinite(jnp.stack(gradients(corner, corner))).all()
    conditional = jax.jit(jax.grad(information.conditional_mutual_information))(jnp.asarray(XOR))
    assert jnp.isfinite(conditional).all()


FUNCTIONS = {
    "entropy": (information.entropy, (3, 4)),
    "conditional_entropy": (lambda p: information.conditional_entropy(p, 1), (3, 4)),
    "mutual_information": (information.mutual_information, (3, 4)),
    "conditional_mutual_information": (information.conditional_mutual_information, (2, 3, 4)),
    "kl_divergence": (lambda p: information.kl_divergence(p, p[::-1]), (3, 4)),
    "conditional_kl": (lambda p: information.conditional_kl(p, p[::-1]), (3, 4)),
    "push_forward": (lambda p: information.push_forward(p, jnp.eye(4)[:, ::-1]), (3, 4)),
}


@pytest.mark.any_precision
@pytest.mark.parametrize("name", FUNCTIONS)
def test_eager_jit_and_vmap_agree_and_traced_bad_tables_give_nan(name):
    fn, shape = FUNCTIONS[name]
    tables = _tables(shape, 3)
    program = jax.jit(jax.vmap(fn))
    mapped = program(tables)
    for table, value in zip(tables, mapped, strict=True):
        np.testing.assert_allclose(fn(table), value, atol=1e-6)
    tables[1] *= 1.1
    tables[2].flat[:2] -= 2 * tables[2].flat[0], -2 * tables[2].flat[0]
    bad = program(tables)
    assert jnp.isfinite(bad[0]).all()
    assert jnp.isnan(bad[1:]).all()


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: information.entropy([0.5, 0.6]), r"p must sum to one within 1e-06; got sums from 1\.1"),
        (lambda: information.entropy([-0.1, 1.1]), "p must hold probabilities, neither negative nor NaN"),
        (lambda: information.entropy([math.nan, 1.0]), "p must hold probabilities"),
        (lambda: information.entropy([]), "p must not be empty"),
        (lambda: information.entropy(np.full((2, 2), 0.25), axis=1), "p must sum to one along axis 1"),
        (lambda: information.entropy([0.5, 0.5], axis=1), "axis 1 is out of bounds"),
        (lambda: information.conditional_entropy([0.5, 0.5], 0), "pxy must be a joint table"),
        (lambda: information.conditional_entropy(_symmetric_channel(0.1), 2), "given_axis"),
        (lambda: information.conditional_entropy(_symmetric_channel(0.1), (0, 1)), "given_axis must leave"),
        (lambda: information.kl_divergence([0.5, 0.5], [1.0]), "q and p must have the same shape"),
        (lambda: information.kl_divergence([0.5, 0.4], [0.5, 0.5]), "q must sum to one"),
        (lambda: information.kl_divergence([0.5, 0.5], [0.5, 0.4]), "p must sum to one"),
        (lambda: information.conditional_kl([0.5, 0.5], [0.5, 0.5]), "qxy must be an array of rank 2"),
        (lambda: information.conditional_kl([[0.5, 0.5]], [[0.5], [0.5]]), "qxy and pxy must have the same shape"),
        (lambda: information.mutual_information([0.5, 0.5]), r"pxy must be an array of rank 2; got shape \(2,\)"),
        (lambda: information.conditional_mutual_information(_symmetric_channel(0.1)), "pxyz must be an array of rank 3"),
        (lambda: information.information_diagram(_symmetric_channel(0.1)), "pxyz must be an array of rank 3"),
        (lambda: information.push_forward([0.5, 0.5], [[0.5, 0.4], [0.5, 0.5]]), "kernel must sum to one along axis 1"),
        (lambda: information.push_forward([0.5, 0.5], [[0.5, 0.5]]), "kernel must have one row"),
    ],
)
def test_bad_tables_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_tables_that_are_not_numbers_are_refused():
    with pytest.raises(TypeError, match="p must be real"):
        information.entropy(np.array([0.5 + 0j, 0.5]))


@pytest.mark.any_precision
def test_a_functionalized_check_names_the_traced_argument():
    error, _ = checkify.checkify(jax.jit(information.entropy), errors=checkify.user_checks)(jnp.array([0.5, 0.6]))
    with pytest.raises(checkify.JaxRuntimeError, match="p must sum to one"):
        error.throw()
