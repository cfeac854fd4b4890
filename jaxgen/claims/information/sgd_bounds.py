"""Claims about the bounds of Neu et al. and of Wang and Mao for SGD (INFO-25 to INFO-27)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxgen import bounds, data, gradients
from jaxgen.claims import at_most, claim, equal, greater, less, ordered
from jaxgen.claims.information._learners import (
    barely_noticed_run,
    cyclic_rows,
    exact_run,
    random_run,
    recorded,
    reference_run,
    unstable_run,
)


@claim(
    "INFO-25",
    title="Bound of Neu et al., as printed and with half of its constant",
    source="Neu, Dziugaite, Haghifam & Roy 2021, Theorem 1",
    statement=r"|\mathrm{gen}| \le \sqrt{\tfrac{2 R^2}{n} \sum_t \tfrac{\lambda_t^2}{\sigma_t^2} \mathbb{E}[\Psi^\flat_t + \tilde V_t]} + F"
    r" \le \sqrt{\tfrac{4 R^2}{n} \sum_t \tfrac{\lambda_t^2}{\sigma_t^2} \mathbb{E}[\Psi_t + \tilde V_t]} + F",
    core=True,
    budget=4.0,
)
def neu_bound(key):
    """The sharper form has noise of half the variance in the sensitivity, which cannot be left out."""
    run = random_run(key)
    return {
        "random runs": ordered(_neu_ladder(run, run.problem.data_std), strict=True),
        "unstable quadratic": ordered(_neu_ladder(unstable_run(), 1.0)[1:], strict=True),
        "known values": equal(_neu_terms(reference_run(), 0.5), jnp.array([1.426534, 2.034699]), rtol=1e-6),
    }


def _neu_terms(run, R, sensitivity: ArrayLike = 1.0, flatness: ArrayLike = 0.0):
    """The sharp bound and the printed one."""
    rate, noise, exact, n = run.learning_rate, run.noise_std, run.exact, run.problem.n
    sharp = bounds.neu(rate, noise, sensitivity * exact.flat_sensitivity, exact.neu_variance, flatness, n, R, constant=2.0)
    return jnp.stack([sharp.value, bounds.neu(rate, noise, sensitivity * exact.sensitivity, exact.neu_variance, flatness, n, R).value])


def _neu_ladder(run, R, sensitivity=1.0):
    """Gap of SGD; what exact information gives for it; the bounds."""
    flatness = _flatness(run)(run.total_variance)
    known = bounds.xu_raginsky(run.exact.mutual_information, run.problem.n, R).value + flatness
    return jnp.concatenate([jnp.stack([run.gap(), known]), _neu_terms(run, R, sensitivity, flatness)])


def _flatness(run):
    return lambda variance: jnp.abs(run.gap() - run.gap(variance))


@neu_bound.control("sensitivity dropped, in the unstable quadratic")
def _(key):
    return ordered(_neu_ladder(unstable_run(), 1.0, sensitivity=0.0)[1:])


@neu_bound.control("a constant of 1/2, in one step that is barely noticed")
def _(key):
    run = barely_noticed_run(key)
    half = bounds.neu(run.learning_rate, run.noise_std, 0.0, run.exact.neu_variance, 0.0, run.problem.n, run.problem.data_std, constant=0.5)
    return at_most(run.gap(run.total_variance), half)


@claim(
    "INFO-25.centre",
    title="The variance in the bound of Neu et al. has the population gradient for centre",
    source="Neu, Dziugaite, Haghifam & Roy 2021, Theorem 1; spec 05",
    statement=r"\tilde V_t = \mathbb{E}\|g(W_{t-1}, B_t) - \nabla L_\mu(W_{t-1})\|^2"
    r" \text{, not } \mathbb{E}\|g(W_{t-1}, B_t) - \nabla L_S(W_{t-1})\|^2",
    budget=4.0,
)
def centre_of_the_variance(key):
    """Full-batch descent on a linear loss: the gradient is the empirical one, and the sensitivity is zero. Held-out data give the centre."""
    return at_most(*_linear_loss_by_full_batches(key, _held_out_variance))


def _linear_loss_by_full_batches(key, variance):
    """What exact information gives, and the sharp trajectory term with the estimated variance; the sensitivity is zero."""
    run = exact_run(data.LinearGaussian(d=2, n=8, curvature=0.0), cyclic_rows(8, 8, 8), 0.1, 0.05)
    samples, weights, found = recorded(key, run, 64)
    spread = jax.vmap(lambda *drawn: variance(run, *drawn))(samples, weights[:, 0], found[:, 0], jax.random.split(key, 64)).mean()
    exact = bounds.xu_raginsky(run.exact.mutual_information, 8, 1.0).value
    return exact, bounds.neu(run.learning_rate, run.noise_std, run.exact.flat_sensitivity, spread, 0.0, 8, 1.0, constant=2.0)


def _held_out_variance(run, sample, weights, found, key):
    return gradients.neu_variance(run.problem.loss_fn, weights, found, run.problem.sample(jax.random.fold_in(key, 1), 16))


def _variance_given_the_sample(run, sample, weights, found, key):
    return gradients.batch_gradient_variance(run.problem.loss_fn, weights, sample, batch_size=8)


@centre_of_the_variance.control("the empirical gradient for centre")
def _(key):
    return at_most(*_linear_loss_by_full_batches(key, _variance_given_the_sample))


def _wang_mao(run, *, noise_factor: ArrayLike = 1.0, sided="two", form="linear"):
    noise, flatness = noise_factor * run.noise_std, _flatness(run)
    R, n, d = run.problem.data_std, run.problem.n, run.problem.d
    return bounds.wang_mao(run.learning_rate, noise, run.exact.dispersion, flatness, n, R, form=form, d=d, sided=sided)


@claim(
    "INFO-26",
    title="SGD bound by gradient dispersion and flatness",
    source="Wang & Mao 2022, Theorem 1 (1)",
    statement=r"|\mathrm{gen}| \le \sqrt{\tfrac{R^2}{n} \sum_t \tfrac{\lambda_t^2}{\sigma_t^2} \mathbb{E} V_t}"
    r" + |\mathbb{E}[\gamma(W_T, S) - \gamma(W_T, S')]|"
    r" \quad \forall \sigma_{1:T} > 0",
    core=True,
    budget=3.0,
)
def wang_mao_bound(key):
    """The root covers the first term only. The logarithmic form is sharper, and the noise may be chosen, since all terms are expectations."""
    run, reference = random_run(key), reference_run()
    totals = jax.lax.map(lambda factor: _wang_mao(run, noise_factor=factor).value, jnp.geomspace(1e-2, 1e2, 41))
    _, best = bounds.optimize_sigma(lambda factor: _wang_mao(run, noise_factor=factor, form="log"), jnp.geomspace(1e-2, 1e2, 41))
    rate, noise, spread = reference.learning_rate, reference.noise_std, reference.exact.dispersion
    terms = [
        bounds.trajectory_term(rate, noise, spread, 8, 0.5),
        bounds.trajectory_term(rate, noise, spread, 8, 0.5, form="log", d=2),
        bounds.trajectory_term(rate, noise, reference.exact.conditional_dispersion, 8, 0.5, form="log", d=2),
    ]
    return {
        "every noise": at_most(run.gap(), totals),
        "best noise, log form": at_most(run.gap(), best),
        "log form below linear form": less(_wang_mao(run, form="log"), _wang_mao(run)),
        "known values": equal(jnp.stack(terms), jnp.array([0.979886, 0.731780, 0.729356]), rtol=1e-6),
    }


@wang_mao_bound.control("large noise in the trajectory term, small noise in the flatness term")
def _(key):
    run = random_run(key)
    return at_most(run.gap(), _wang_mao(run, noise_factor=100.0).terms["trajectory"] + _wang_mao(run, noise_factor=1e-3).terms["flatness"])


@wang_mao_bound.control("dispersion dropped, at small noise")
def _(key):
    run = random_run(key)
    return at_most(run.gap(), _wang_mao(run, noise_factor=0.01).terms["flatness"])


@wang_mao_bound.figure
def _(key):
    """Gap and bound against the noise, in multiples of a random schedule."""
    from matplotlib import pyplot as plt

    run = random_run(key)
    factors = jnp.geomspace(0.03, 100, 61)
    linear, log = (jax.lax.map(lambda factor, form=form: _wang_mao(run, noise_factor=factor, form=form), factors) for form in ("linear", "log"))
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.loglog(factors, linear.value, color="C0", label="bound")
    axes.loglog(factors, log.value, color="C0", linestyle="--", label="bound, log form")
    axes.loglog(factors, linear.terms["trajectory"], color="C1", linewidth=1, label="trajectory term")
    axes.loglog(factors, linear.terms["flatness"], color="C2", linewidth=1, label="flatness term")
    axes.axhline(float(run.gap()), color="k", linewidth=1, label="exact gap")
    axes.set(xlabel="noise, in multiples of a random schedule", ylabel="loss", ylim=(float(run.gap()) / 30, float(run.gap()) * 300))
    axes.legend(frameon=False, ncols=2)
    return figure


@claim(
    "INFO-26.tight",
    title="Nothing in the bound of Wang and Mao can be smaller",
    source="Wang & Mao 2022, Theorem 1 (1); a Gaussian channel in many dimensions",
    statement=r"\mathrm{gen} \to \sqrt{\tfrac{R^2}{n} \sum_t \tfrac{\lambda_t^2}{\sigma_t^2} \mathbb{E} V_t} + F \text{ as } d \to \infty",
    core=True,
)
def wang_mao_is_tight(key):
    """One full-batch step under noise that hides nearly everything: the trajectory term is what is left of the gap, and flatness what went."""
    run = barely_noticed_run(key)
    linear, log = _wang_mao(run), _wang_mao(run, form="log")
    left = run.gap(run.total_variance)
    return {
        "trajectory": equal(jnp.stack([linear.terms["trajectory"], log.terms["trajectory"]]), left, rtol=1e-6),
        "flatness": equal(linear.terms["flatness"], run.gap() - left, rtol=1e-12),
        "bound": equal(jnp.stack([linear.value, log.value]), run.gap(), rtol=1e-8),
    }


@wang_mao_is_tight.control("minus the flatness term")
def _(key):
    terms = _wang_mao(barely_noticed_run(key)).terms
    return equal(terms["trajectory"] - terms["flatness"], barely_noticed_run(key).gap(), rtol=1e-8)


@wang_mao_is_tight.control("the root over both terms, as extracted from the slides")
def _(key):
    terms = _wang_mao(barely_noticed_run(key)).terms
    return equal(jnp.sqrt(terms["trajectory"] ** 2 + terms["flatness"]), barely_noticed_run(key).gap(), rtol=1e-8)


@wang_mao_is_tight.control("half the dispersion")
def _(key):
    run = barely_noticed_run(key)
    half = run._replace(exact=run.exact._replace(dispersion=run.exact.dispersion / 2))
    return equal(_wang_mao(half), run.gap(), rtol=1e-8)


@claim(
    "INFO-26.one-sided",
    title="One-sided SGD bound, without test data",
    source="Wang & Mao 2022, Theorem 1",
    statement=r"L_\mu(w) \le \mathbb{E} L_\mu(w + \Delta) \;\Rightarrow\; \mathrm{gen} \le \text{trajectory} + \mathbb{E} \gamma(W_T, S)",
)
def one_sided_bound(key):
    """For the loss -<w, z>/|w| the population risk is zero everywhere, so that E gamma(W_T, S) is the gap of W_T less that of W_T + Delta."""
    run = random_run(key)
    bound = bounds.wang_mao(
        run.learning_rate,
        run.noise_std,
        run.exact.dispersion,
        lambda variance: run.gap() - run.gap(variance),
        run.problem.n,
        run.problem.data_std,
        sided="one",
    )
    return {"gap": at_most(run.gap(), bound), "as large as the two-sided one": at_most(_wang_mao(run), bound, slack=1e-12)}


@one_sided_bound.control("noise that lowers the population risk")
def _(key):
    """The loss -|w|^2 / 2 does not depend on the data: gap and R are zero, and E gamma is -d / 2 times the variance."""
    run = random_run(key)
    rate, noise, spread, n, d = run.learning_rate, run.noise_std, run.exact.dispersion, run.problem.n, run.problem.d
    return at_most(0.0, bounds.wang_mao(rate, noise, spread, lambda variance: -d * variance / 2, n, R=0.0, sided="one"))


@claim(
    "INFO-26.invariance",
    title="Only the ratio of learning rate and noise is in the trajectory term",
    source="Wang & Mao 2022, Theorem 1",
    statement=r"(\lambda_t, \sigma_t) \to (c \lambda_t, c \sigma_t) \text{ leaves the trajectory term as it is}",
    core=True,
)
def trajectory_is_invariant(key):
    run = random_run(key)
    return _trajectory_scaled(run, run.learning_rate, 7.0 * run.learning_rate)


def _trajectory_scaled(run, rate, scaled_rate):
    def terms(rate, noise):
        return jnp.stack([bounds.trajectory_term(rate, noise, run.exact.dispersion, 8, 0.5, form=form, d=3) for form in ("linear", "log")])

    return equal(terms(rate, run.noise_std), terms(scaled_rate, 7.0 * run.noise_std), rtol=1e-12)


@trajectory_is_invariant.control("learning rates not squared")
def _(key):
    run = random_run(key)
    return _trajectory_scaled(run, jnp.sqrt(run.learning_rate), jnp.sqrt(7.0 * run.learning_rate))


def _trajectory_nats(run, spread=None):
    """The trajectory terms of one run, as the nats for which Xu and Raginsky's bound is the same."""
    exact = run.exact
    rows = bounds.compare_sgd_bounds(
        run.learning_rate,
        run.noise_std,
        exact.dispersion if spread is None else spread,
        exact.sensitivity,
        exact.neu_variance,
        run.problem.n,
        0.5,
        sharp_sensitivity=exact.flat_sensitivity,
    )
    return jnp.stack([rows[name]["mutual_information"] for name in ("wang_mao", "neu", "neu_sharp")])


@claim(
    "INFO-27",
    title="Neither bound for SGD is always the smaller one",
    source="Wang & Mao 2022, remark after Theorem 1, corrected",
    statement=r"\mathbb{E} V_t \le 4 (\mathbb{E} \Psi_t + \mathbb{E} \tilde V_t) \;\Rightarrow\; \text{Wang-Mao} \le \text{Neu et al.}",
    core=True,
    budget=3.0,
)
def comparison(key):
    """Theorem 1 does not always improve Lemma 2: with dispersed initial weights V is larger; given the initial weights it is what it was."""
    run, dispersed = random_run(key), reference_run(init_std=5.0)
    exact = run.exact
    enough = jnp.all(exact.dispersion <= 4 * (exact.sensitivity + exact.neu_variance))
    ours, theirs, _ = _trajectory_nats(run)
    given_start = _trajectory_nats(dispersed, reference_run().exact.dispersion)
    rows = jax.lax.map(lambda init_std: _trajectory_nats(reference_run(init_std)), jnp.array([0.0, 1.0, 5.0]))
    known = jnp.array([[15.362815, 66.24, 32.56], [32.514351, 66.24, 32.56], [444.151226, 66.24, 32.56]])
    return {
        "sufficient condition": at_most(jnp.where(enough, ours, 0.0), theirs),
        "given the initial weights": less(given_start[0], given_start[1]),
        "given the initial weights, still above the information": less(dispersed.exact.mutual_information, given_start[0]),
        "counterexample": greater(rows[2, 0], rows[2, 1]),
        "known values": equal(rows, known, rtol=1e-6),
    }


@comparison.control("a uniform improvement, with dispersed initial weights")
def _(key):
    ours, theirs, _ = _trajectory_nats(reference_run(init_std=5.0))
    return at_most(ours, theirs)


@comparison.control("a uniform improvement, with an unstable drift")
def _(key):
    ours, theirs, _ = _trajectory_nats(unstable_run())
    return at_most(ours, theirs)


@comparison.figure
def _(key):
    """The trajectory terms against the spread of the initial weights."""
    from matplotlib import pyplot as plt

    spreads = np.linspace(0, 5, 41)
    runs = [reference_run(init_std) for init_std in spreads]
    ours, theirs, sharp = np.stack([_trajectory_nats(run) for run in runs], axis=1)
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.semilogy(spreads, ours, label="Wang and Mao")
    axes.semilogy(spreads, np.full_like(spreads, ours[0]), color="C0", linestyle="--", label="Wang and Mao, given the initial weights")
    axes.semilogy(spreads, theirs, label="Neu et al.")
    axes.semilogy(spreads, sharp, color="C1", linestyle="--", label="Neu et al., sharp")
    axes.semilogy(spreads, [run.exact.mutual_information for run in runs], color="k", linewidth=1, label="exact information")
    axes.set(xlabel="standard deviation of the initial weights", ylabel="nats", ylim=(2e-4, 1e3))
    axes.legend(frameon=False, ncols=2, loc="lower left")
    return figure
