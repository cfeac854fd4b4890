"""Conditional-information bounds: exact on learners that can be enumerated, and estimated from masks (INFO-38, INFO-39)."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import bounds, information

CMI = {1: (0.3465735903, 0.8325546112), 3: (0.4274841732, 0.5338440304), 5: (0.4582915722, 0.4281549122)}
GAPS = {1: 0.5, 3: 0.25, 5: 0.1875}


def _cube(length):
    return np.array(list(itertools.product((0, 1), repeat=length)))


def _majority(n):
    """All supersamples z (S, n, 2) and masks u (K, n), the majority under each (S, K), and losses (S, K, n, 2)."""
    z, u = _cube(2 * n).reshape(-1, n, 2), _cube(n)
    chosen = np.where(u == 1, z[:, None, :, 1], z[:, None, :, 0])
    w = (2 * chosen.sum(axis=-1) > n).astype(int)
    return z, u, w, (w[:, :, None, None] != z[:, None]).astype(float)


def _table(labels, bits, num_labels):
    """Joint law of a label and a bit that are equally likely values, with the labels' axes in front."""
    return jnp.asarray(np.array([[np.mean((labels == a) & (bits == b)) for b in (0, 1)] for a in range(num_labels)]), float)


def _gap(losses, u):
    """Loss of the unseen example of a pair minus that of the seen one, on average over everything."""
    return float(np.mean(np.where(u == 0, 1, -1) * (losses[..., 1] - losses[..., 0])))


@pytest.mark.parametrize("n", CMI)
def test_majority_has_the_known_information_and_bound(n, rtol):
    _, u, w, losses = _majority(n)
    exact = np.mean([float(information.entropy(jnp.array([1 - p, p]))) for p in w.mean(axis=1)]) if n < 5 else CMI[n][0]
    np.testing.assert_allclose(exact, CMI[n][0], rtol=1e-6)
    np.testing.assert_allclose(bounds.cmi(CMI[n][0], n).value, CMI[n][1], rtol=1e-6)
    if n < 5:
        np.testing.assert_allclose(_gap(losses, u), GAPS[n], rtol=rtol)


@pytest.mark.heavy
def test_cmi_grows_with_the_range_and_its_ceiling_is_the_same_for_all_n(rtol):
    ceilings = bounds.cmi(jnp.array([1, 10, 1000]) * math.log(2), jnp.array([1, 10, 1000]))
    np.testing.assert_allclose(ceilings.value, math.sqrt(2 * math.log(2)), rtol=rtol)
    np.testing.assert_allclose(bounds.cmi(0.4, 3, loss_range=5.0).value, 5 * bounds.cmi(0.4, 3).value, rtol=rtol)
    assert bounds.cmi(0.4, 3).certified
    assert float(jax.grad(lambda c: bounds.cmi(c, 3).value)(0.0)) == 0


def test_loss_differences_of_the_majority_have_the_known_information(rtol):
    for n, known, value in ((3, 0.0654060180, 0.3616794657), (5, 0.0360304030, 0.2684414387)):
        _, u, _, losses = _majority(n)
        law = _table(losses[..., 0, 1] - losses[..., 0, 0] + 1, u[:, 0], 3)
        np.testing.assert_allclose(information.mutual_information(law), known, rtol=1e-6)
        np.testing.assert_allclose(bounds.pairwise_cmi([known] * n).value, value, rtol=1e-6)
        assert _gap(losses, u) <= value


@pytest.mark.float64
def test_with_all_masks_estimates_are_exact_and_ordered(rtol):
    """Raw estimates over all 8 masks are informations given the supersample; the smaller the statistic the smaller the bound."""
    _, u, w, losses = _majority(3)
    predictions = np.broadcast_to(w[..., None, None], losses.shape)

    def of(losses, predictions):
        raw = {"bias_correction": False}
        found = [bounds.loss_difference_cmi(losses, u, **raw), bounds.evaluated_cmi(losses, u, **raw), bounds.f_cmi(predictions, u, 2, **raw)]
        return jnp.stack([bound.value for bound in found]), bounds.mask_information(predictions[..., 0], u, 2, **raw)

    values, informations = jax.jit(jax.vmap(of))(jnp.asarray(losses), jnp.asarray(predictions))
    difference, evaluated, predicted = np.asarray(values.mean(axis=0))
    assert 0.25 <= difference <= evaluated <= predicted * (1 + rtol) <= CMI[3][1] * (1 + rtol)
    by_hand = information.mutual_information(_table(w[5], u[:, 1], 2))
    np.testing.assert_allclose(informations[5, 1], by_hand, rtol=rtol, atol=rtol)
    single = jax.vmap(lambda losses: bounds.single_loss_cmi(losses, u, bias_correction=False).value)(jnp.asarray(losses))
    assert float(single.mean()) >= 0.25


def _memorizer():
    """All of n = 2 pairs of x uniform on {0, 1, 2} with label 1[x > 0], under all masks: a learner that knows what it saw and says 0 else."""
    x = np.array(list(itertools.product(range(3), repeat=4))).reshape(-1, 2, 2)
    u = _cube(2)
    chosen = np.take_along_axis(np.broadcast_to(x[:, None], (81, 4, 2, 2)), np.broadcast_to(u[None, ..., None], (81, 4, 2, 1)), axis=-1)[..., 0]
    known = (x[:, None, :, :, None] == chosen[:, :, None, None, :]).any(axis=-1)
    return u, ((x[:, None] > 0) & ~known).astype(float)


@pytest.mark.heavy
def test_loss_differences_give_the_risk_of_an_interpolating_learner_exactly(rtol):
    """Given the supersample the two examples of a pair differ, and the value is no less than the risk."""
    u, losses = _memorizer()
    risk = np.mean(np.where(u == 0, losses[..., 1], losses[..., 0]))
    assert not np.where(u == 0, losses[..., 0], losses[..., 1]).any()
    exact = [information.mutual_information(_table(losses[..., i, 1] - losses[..., i, 0] + 1, u[:, i], 3)) for i in (0, 1)]
    np.testing.assert_allclose(bounds.interpolating_risk(jnp.stack(exact)), risk, rtol=rtol)
    np.testing.assert_allclose(risk, _gap(losses, u), rtol=rtol)
    given = jax.vmap(lambda losses: bounds.loss_difference_information(losses, u, bias_correction=False))(jnp.asarray(losses))
    assert float(bounds.interpolating_risk(given).mean()) > risk + 0.01


def _random(key, num_masks=12, n=6, num_classes=3):
    keys = jax.random.split(key, 3)
    predictions = jax.random.randint(keys[0], (num_masks, n, 2), 0, num_classes)
    u = jax.random.bernoulli(keys[1], 0.5, (num_masks, n)).astype(int)
    return predictions, u, jax.random.bernoulli(keys[2], 0.3, (num_masks, n, 2)).astype(float)


@pytest.mark.float64
def test_estimates_are_plug_in_informations_and_the_correction_counts_cells_that_occur(key, rtol):
    predictions, u, _ = _random(key)
    labels = predictions[..., 0] * 3 + predictions[..., 1]
    raw = bounds.mask_information(labels, u, 9, bias_correction=False)
    corrected = bounds.mask_information(labels, u, 9)
    for i in range(3):
        plugin = information.plugin_mutual_information(labels[:, i], u[:, i], 9, 2, bias_correction=False)
        np.testing.assert_allclose(raw[i], plugin, rtol=rtol)
        cells, values, bits = (
            len(set(seen)) for seen in (zip(*map(np.asarray, (labels[:, i], u[:, i])), strict=True), *np.asarray((labels, u))[:, :, i].tolist())
        )
        np.testing.assert_allclose(raw[i] - corrected[i], (cells - values - bits + 1) / 24, rtol=10 * rtol, atol=rtol)


@pytest.mark.heavy
def test_a_prediction_that_never_changes_needs_no_correction(key):
    u = _random(key)[1]
    np.testing.assert_allclose(bounds.mask_information(jnp.ones_like(u), u, 9), 0, atol=1e-6)


@pytest.mark.float64
def test_negative_estimates_count_as_zero_in_a_bound_and_are_reported(key, rtol):
    """Predictions that do not depend on the mask: most corrected informations are negative."""
    _, u, losses = _random(key, 40, 50)
    informations = np.asarray(bounds.loss_difference_information(losses, u))
    assert informations.min() < 0
    bound = bounds.loss_difference_cmi(losses, u)
    np.testing.assert_allclose(bound.value, np.sqrt(2 * np.maximum(informations, 0)).mean(), rtol=10 * rtol)
    np.testing.assert_allclose(bound.terms["counted_as_zero"], (informations < 0).mean(), rtol=rtol)
    np.testing.assert_allclose(bounds.interpolating_risk(informations), informations.mean() / math.log(2), rtol=10 * rtol)
    raw = bounds.loss_difference_cmi(losses, u, bias_correction=False)
    assert float(raw.terms["counted_as_zero"]) == 0
    assert float(raw.value) > 1.2 * float(bound.value)
    assert not bound.certified
    assert not raw.certified
    with pytest.raises(ValueError, match="mutual_informations must be at least -1e-08"):
        bounds.pairwise_cmi(informations)
    with pytest.raises(ValueError, match="mutual_informations must be at most log 2"):
        bounds.pairwise_cmi([0.1, 0.7])


@pytest.mark.float64
def test_corrected_estimates_are_right_on_average_where_there_is_no_information(key):
    """2000 pairs whose tables fill all cells, 40 masks: the mean within 4 standard errors of 0 and 1/(80) below the raw one."""
    _, u, losses = _random(key, 40, 2000)
    corrected = bounds.mask_information(losses[..., 0].astype(int), u, 2)
    assert abs(float(corrected.mean())) < 4 * float(corrected.std()) / math.sqrt(2000) + 2 / 40**2
    assert float(bounds.mask_information(losses[..., 0].astype(int), u, 2, bias_correction=False).mean()) > 0.01


@pytest.mark.float64
def test_comparison_has_every_bound_raw_and_corrected_with_jackknife_intervals(key, rtol):
    predictions, u, losses = _random(key, num_classes=2)
    found = jax.jit(lambda *args: bounds.compare_cmi_bounds(*args, 2, level=0.9))(losses, predictions, u)
    assert set(found) == {"f_cmi", "evaluated_cmi", "loss_difference_cmi", "single_loss_cmi", "interpolating_risk"}
    value = jax.jit(lambda losses, u: bounds.loss_difference_cmi(losses, u).value)
    one = found["loss_difference_cmi"]
    np.testing.assert_allclose(one.corrected.value, value(losses, u), rtol=rtol)
    left_out = np.array([value(np.delete(losses, k, axis=0), np.delete(u, k, axis=0)) for k in range(12)])
    np.testing.assert_allclose(one.corrected.stderr, np.sqrt(11 * left_out.var()), rtol=1e3 * rtol)
    half = (one.corrected_interval[1] - one.corrected_interval[0]) / 2
    np.testing.assert_allclose(half, 1.6448536269514722 * one.corrected.stderr, rtol=1e2 * rtol)
    assert float(found["loss_difference_cmi"].raw.value) <= float(found["evaluated_cmi"].raw.value)


@pytest.mark.float64
def test_losses_are_rounded_to_levels(key, rtol):
    """Five levels of a loss that has them are a label of their own."""
    _, u, _ = _random(key)
    levels = jax.random.randint(key, (12, 6, 2), 0, 5)
    found = bounds.loss_difference_information(levels / 4 + 0.05 * (levels < 4), u, num_levels=5, bias_correction=False)
    np.testing.assert_allclose(found, bounds.mask_information(levels[..., 1] - levels[..., 0] + 4, u, 9, bias_correction=False), rtol=rtol)


@pytest.mark.float64
def test_traced_and_mapped_values_are_those_of_single_calls(key, rtol):
    predictions, u, losses = jax.vmap(lambda key: _random(key, 8, 4))(jax.random.split(key, 3))
    mapped = jax.jit(jax.vmap(lambda predictions, u: bounds.f_cmi(predictions, u, 3).value))(predictions, u)
    np.testing.assert_allclose(mapped[1], bounds.f_cmi(predictions[1], u[1], 3).value, rtol=rtol)
    wrong = jax.jit(lambda losses, u: bounds.evaluated_cmi(losses, u).value)
    assert jnp.isnan(wrong(losses[0].at[0, 0, 0].set(1.5), u[0]))
    assert jnp.isnan(wrong(losses[0], u[0].at[0, 0].set(2)))
    assert jnp.isnan(jax.jit(lambda c: bounds.cmi(c, 3).value)(2.2))


@pytest.mark.any_precision
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.cmi(2.1, 3), "cmi must be at most n log 2"),
        (lambda: bounds.cmi(-0.1, 3), "cmi must be at least -1e-08"),
        (lambda: bounds.cmi(0.1, 0), "n must be at least 1"),
        (lambda: bounds.cmi(0.1, 3, loss_range=0.0), "loss_range must be positive"),
        (lambda: bounds.pairwise_cmi([]), "not empty"),
        (lambda: bounds.pairwise_cmi([0.1, -0.2]), "mutual_informations must be at least"),
        (lambda: bounds.pairwise_cmi([0.1], loss_range=-1.0), "loss_range must be positive"),
        (lambda: bounds.interpolating_risk([]), "not empty"),
        (lambda: bounds.evaluated_cmi(jnp.full((4, 2, 2), 1.5), jnp.zeros((4, 2))), r"losses must lie in \[0, 1\]"),
        (lambda: bounds.loss_difference_cmi(jnp.full((4, 2, 2), -0.5), jnp.zeros((4, 2))), r"losses must lie in \[0, 1\]"),
        (lambda: bounds.single_loss_cmi(jnp.full((4, 2, 2), jnp.nan), jnp.zeros((4, 2))), r"losses must lie in \[0, 1\]"),
        (lambda: bounds.evaluated_cmi(jnp.zeros((4, 2, 2)), jnp.full((4, 2), 2)), "u must be binary"),
        (lambda: bounds.evaluated_cmi(jnp.zeros((4, 2, 2)), jnp.full((4, 2), 0.5)), "u must be binary"),
        (lambda: bounds.evaluated_cmi(jnp.zeros((4, 2, 2)), jnp.zeros((4, 3))), "one bit for each pair"),
        (lambda: bounds.evaluated_cmi(jnp.zeros((4, 2)), jnp.zeros((4, 2))), r"losses must have shape \(K, n, 2\)"),
        (lambda: bounds.evaluated_cmi(jnp.zeros((0, 2, 2)), jnp.zeros((0, 2))), "not empty"),
        (lambda: bounds.evaluated_cmi(jnp.zeros((4, 2, 2)), jnp.zeros((4, 2)), num_levels=1), "num_levels must be"),
        (lambda: bounds.f_cmi(jnp.full((4, 2, 2), 3), jnp.zeros((4, 2)), 3), r"predictions must lie in \[0, 3\)"),
        (lambda: bounds.mask_information(jnp.full((4, 2), 3), jnp.zeros((4, 2)), 3), r"labels must lie in \[0, 3\)"),
        (lambda: bounds.compare_cmi_bounds(jnp.zeros((2, 2, 2)), jnp.zeros((2, 2, 2), int), jnp.zeros((2, 2)), 2), "K >= 3"),
        (lambda: bounds.compare_cmi_bounds(jnp.zeros((3, 2, 2)), jnp.zeros((3, 2, 2), int), jnp.zeros((3, 2)), 2, level=1.0), "level must lie"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.any_precision
def test_predictions_that_are_not_classes_are_refused():
    with pytest.raises(TypeError, match="predictions must hold integers"):
        bounds.f_cmi(jnp.zeros((4, 2, 2)), jnp.zeros((4, 2)), 2)
    with pytest.raises(TypeError, match="labels must hold integers"):
        bounds.mask_information(jnp.zeros((4, 2)), jnp.zeros((4, 2)), 2)
