"""What every bound owes its callers: monotone, transformable, honest about wrong values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen
from jaxgen import bounds

RATE = np.array([0.1, 0.2, 0.05, 0.3])
NOISE = np.array([0.3, 0.2, 0.4, 0.1])
DISPERSION = np.array([1.0, 0.3, 2.0, 0.7])

# Each case is a function of (learning_rate, noise_std, dispersion, n, R) that plays the bound's spread as the dispersion,
# with the power of 1/n that the bound has.
CASES = {
    "xu_raginsky": (lambda rate, noise, spread, n, R: bounds.xu_raginsky(jnp.sum((rate / noise) ** 2 * spread), n, R), 1 / 2),
    "xu_raginsky_decoupling": (
        lambda rate, noise, spread, n, R: bounds.xu_raginsky_decoupling(jnp.sum((rate / noise) ** 2 * spread), jnp.asarray(R) / jnp.sqrt(n)),
        1 / 2,
    ),
    "sgld log": (lambda rate, noise, spread, n, R: bounds.sgld(rate, noise, spread, 3, n, R, form="log"), 1 / 2),
    "sgld linear": (lambda rate, noise, spread, n, R: bounds.sgld(rate, noise, spread, None, n, R, form="linear"), 1 / 2),
    "neu": (lambda rate, noise, spread, n, R: bounds.neu(rate, noise, spread / 2, spread, 0.0, n, R), 1 / 2),
    "wang_mao": (lambda rate, noise, spread, n, R: bounds.wang_mao(rate, noise, spread, 0.0, n, R), 1 / 2),
    "wang_mao log": (lambda rate, noise, spread, n, R: bounds.wang_mao(rate, noise, spread, 0.0, n, R, form="log", d=5), 1 / 2),
    "wang_mao_optimized": (lambda rate, noise, spread, n, R: bounds.wang_mao_optimized(rate, spread, 0.7, n, R), 1 / 3),
    "wang_mao_optimized free": (lambda rate, noise, spread, n, R: bounds.wang_mao_optimized(rate, spread, 0.7, n, R, schedule="free"), 1 / 3),
    "wang_mao_linear": (lambda rate, noise, spread, n, R: bounds.wang_mao_linear(rate, spread, n, R), 1 / 3),
    "wang_mao_two_layer_relu": (lambda rate, noise, spread, n, R: bounds.wang_mao_two_layer_relu(rate, spread, 0.4, n, R), 1 / 3),
}
WITH_NOISE = [name for name in CASES if name.startswith(("sgld", "neu", "wang_mao")) and not name.startswith(("wang_mao_",))]


def changed(array, index, new):
    array = array.copy()
    array[index] = new
    return array


ARGUMENTS = {"rate": RATE, "noise": NOISE, "spread": DISPERSION, "n": 50, "R": 0.5}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param][0]


def value(case, **changes):
    return case(**{**ARGUMENTS, **changes}).value


def test_every_bound_says_what_it_is(case):
    bound = case(**ARGUMENTS)
    assert isinstance(bound, jaxgen.Bound)
    assert bound.sided in ("one", "two")
    assert bound.confidence is None
    assert bound.assumptions
    assert all(sentence.endswith(".") for sentence in bound.assumptions)
    summands = [term for name, term in bound.terms.items() if name != "noise_std"]
    np.testing.assert_allclose(sum(summands), bound.value, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_value_falls_with_n_by_its_power_and_is_vacuous_where_it_is(name, rtol):
    case, power = CASES[name]
    sizes = jnp.array([1, 2, 50, 10**6])
    values = value(case, n=sizes)
    np.testing.assert_allclose(values, values[0] / sizes**power, rtol=rtol)
    assert value(case, R=1e6, n=1) > 1e3


@pytest.mark.parametrize("name", CASES)
def test_value_grows_with_R_by_its_power(name, rtol):
    case, power = CASES[name]
    constants = jnp.array([0.0, 0.1, 1.0, 8.0])
    values = value(case, R=constants)
    np.testing.assert_allclose(values, values[2] * constants ** (2 * power), rtol=rtol)


def test_value_grows_with_every_dispersion(case):
    reference = value(case)
    for t in range(4):
        assert value(case, spread=changed(DISPERSION, t, 1.5 * DISPERSION[t])) > reference
        assert value(case, rate=changed(RATE, t, 1.5 * RATE[t])) > reference
    assert value(case, spread=0 * DISPERSION) == 0


def test_jit_is_eager(case, rtol):
    eager, compiled = case(**ARGUMENTS), jax.jit(case)(**ARGUMENTS)
    np.testing.assert_allclose(compiled.value, eager.value, rtol=rtol)
    assert (compiled.sided, compiled.certified, compiled.assumptions) == (eager.sided, eager.certified, eager.assumptions)
    assert compiled.terms.keys() == eager.terms.keys()


def test_vmap_is_a_loop(case, rtol):
    factors = jnp.array([0.5, 1.0, 3.0])

    def scaled(factor):
        return case(RATE * factor, NOISE, DISPERSION / factor, 10 * factor, 0.5)

    mapped = jax.jit(jax.vmap(scaled))(factors)
    for row, factor in enumerate(factors):
        jax.tree.map(lambda rows, single, row=row: np.testing.assert_allclose(rows[row], single, rtol=rtol), mapped, scaled(factor))


def test_n_and_R_are_elementwise(case, rtol):
    sizes, constants = jnp.array([[10.0], [20.0]]), jnp.array([0.5, 1.0, 2.0])
    table = value(case, n=sizes, R=constants)
    assert table.shape == (2, 3)
    np.testing.assert_allclose(table[1, 2], value(case, n=20, R=2.0), rtol=rtol)


@pytest.mark.float64
def test_gradients_are_those_of_finite_differences_and_finite_where_the_bound_vanishes(case):
    arguments = {name: jnp.asarray(argument, float) for name, argument in ARGUMENTS.items()}
    direction = {name: 0.3 * argument for name, argument in arguments.items()}
    gradient = jax.jit(jax.grad(lambda arguments: case(**arguments).value))
    slope = sum(jnp.vdot(g, direction[name]) for name, g in gradient(arguments).items())
    ahead, behind = (case(**jax.tree.map(lambda x, v, h=h: x + h * v, arguments, direction)).value for h in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-8)  # step^2 and rounding / step are both below 1e-9
    for zero in ("rate", "spread", "R"):
        gradients = gradient(arguments | {zero: 0 * arguments[zero]})
        assert all(jnp.isfinite(leaf).all() for leaf in gradients.values())


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n must be at least 1; got 0"),
        ({"n": np.nan}, "n must be at least 1; got nan"),
        ({"R": -0.5}, r"(R|R_total) must be at least 0; got -0\.5"),
    ],
)
@pytest.mark.parametrize("name", [name for name in CASES if name != "xu_raginsky_decoupling"])
def test_wrong_sizes_raise_when_concrete_and_give_nan_when_traced(name, changes, message):
    _refuses(name, changes, message)


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spread": changed(DISPERSION, 2, -1e-3)}, r"(dispersion|sensitivity|loss) must be at least 0; its smallest value is -0\.00"),
        ({"spread": changed(DISPERSION, 2, np.nan)}, r"(dispersion|sensitivity|loss) must be at least 0; its smallest value is nan"),
        ({"rate": changed(RATE, 1, -0.1)}, "learning_rate must be at least 0"),
    ],
)
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("xu_raginsky")])
def test_wrong_paths_raise_when_concrete_and_give_nan_when_traced(name, changes, message):
    _refuses(name, changes, message)


@pytest.mark.any_precision
@pytest.mark.parametrize("noise", [changed(NOISE, 3, 0.0), changed(NOISE, 3, -0.1), changed(NOISE, 3, np.nan), changed(NOISE, 3, np.inf)])
@pytest.mark.parametrize("name", WITH_NOISE)
def test_wrong_noise_raises_when_concrete_and_gives_nan_when_traced(name, noise):
    _refuses(name, {"noise": noise}, "noise_std must be positive and finite")


@functools.cache
def batched(name):
    return jax.jit(jax.vmap(lambda arguments: CASES[name][0](**arguments).value))


def _refuses(name, changes, message):
    with pytest.raises(ValueError, match=message):
        value(CASES[name][0], **changes)
    pairs = {argument: jnp.stack([jnp.asarray(x, float), jnp.asarray(changes.get(argument, x), float)]) for argument, x in ARGUMENTS.items()}
    right, wrong = batched(name)(pairs)
    assert jnp.isfinite(right)
    assert jnp.isnan(wrong)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("xu_raginsky")])
def test_lengths_must_agree_and_scalars_stand_for_every_step(name, rtol):
    case = CASES[name][0]
    with pytest.raises(ValueError, match=r"learning_rate: 4.*: 3"):
        value(case, spread=DISPERSION[:3])
    with pytest.raises(ValueError, match="scalar or have one value per step"):
        value(case, rate=RATE[None], spread=DISPERSION)
    with pytest.raises(ValueError, match="at least one step"):
        value(case, rate=RATE[:0], noise=0.3, spread=DISPERSION[:0])
    np.testing.assert_allclose(value(case, rate=0.1, noise=0.3), value(case, rate=jnp.full(4, 0.1), noise=jnp.full(4, 0.3)), rtol=rtol)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.sgld(RATE, NOISE, DISPERSION, None, 10, 0.5), "needs d"),
        (lambda: bounds.wang_mao(RATE, NOISE, DISPERSION, 0.0, 10, 0.5, form="log"), "needs d"),
        (lambda: bounds.sgld(RATE, NOISE, DISPERSION, 0, 10, 0.5), "d must be at least 1"),
        (lambda: bounds.sgld(RATE, NOISE, DISPERSION, 2, 10, 0.5, form="loglog"), "form must be one of 'log', 'linear'"),
        (lambda: bounds.wang_mao(RATE, NOISE, DISPERSION, 0.0, 10, 0.5, sided="both"), "sided must be one of"),
        (lambda: bounds.wang_mao(RATE, NOISE, DISPERSION, -0.1, 10, 0.5), "sided='one'"),
        (lambda: bounds.wang_mao(RATE, NOISE, DISPERSION, lambda variance: -variance, 10, 0.5), "sided='one'"),
        (lambda: bounds.wang_mao(RATE, NOISE, DISPERSION, np.nan, 10, 0.5, sided="one"), "flatness must be a number"),
        (lambda: bounds.neu(RATE, NOISE, DISPERSION, DISPERSION, -0.1, 10, 0.5), "flatness"),
        (lambda: bounds.neu(RATE, NOISE, DISPERSION, -DISPERSION, 0.1, 10, 0.5), "variance must be at least 0"),
        (lambda: bounds.neu(RATE, NOISE, DISPERSION, DISPERSION, 0.1, 10, 0.5, constant=0.0), "constant must be positive"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_flatness_is_added_and_may_be_negative_one_sided(rtol):
    two = bounds.wang_mao(RATE, NOISE, DISPERSION, 0.2, 10, 0.5)
    one = bounds.wang_mao(RATE, NOISE, DISPERSION, -0.2, 10, 0.5, sided="one")
    np.testing.assert_allclose(two.value, two.terms["trajectory"] + 0.2, rtol=rtol)
    np.testing.assert_allclose(one.value, two.terms["trajectory"] - 0.2, rtol=rtol)
    assert (two.sided, one.sided) == ("two", "one")
    assert len(one.assumptions) == len(two.assumptions) + 1


def test_a_flatness_function_is_given_the_total_variance_of_the_noise(rtol):
    bound = bounds.wang_mao(RATE, NOISE, DISPERSION, lambda variance: 3 * variance, 10, 0.5)
    np.testing.assert_allclose(bound.terms["flatness"], 3 * jnp.sum(NOISE**2), rtol=rtol)
    assert len(bound.assumptions) == len(bounds.wang_mao(RATE, NOISE, DISPERSION, 0.9, 10, 0.5).assumptions) - 1


def test_scalar_noise_is_counted_at_every_step(rtol):
    bound = bounds.wang_mao(0.1, 0.2, DISPERSION, lambda variance: variance, 10, 0.5)
    np.testing.assert_allclose(bound.terms["flatness"], 4 * 0.2**2, rtol=rtol)


def test_neu_is_certified_down_to_the_constant_that_is_proved():
    certified = [bounds.neu(RATE, NOISE, DISPERSION, DISPERSION, 0.1, 10, 0.5, constant=c).certified for c in (4.0, 2.0, 1.9)]
    assert certified == [True, True, False]


@pytest.mark.heavy
def test_bounds_can_be_optimized_over_the_noise_by_gradient():
    def total(log_noise):
        return bounds.wang_mao(RATE, jnp.exp(log_noise), DISPERSION, lambda variance: 0.5 * 0.7 * variance, 50, 0.5, sided="one").value

    best = bounds.wang_mao_optimized(RATE, DISPERSION, 0.7, 50, 0.5, schedule="free")
    gradient = jax.grad(total)(jnp.log(best.terms["noise_std"]))
    np.testing.assert_allclose(gradient, 0, atol=1e-5)
