"""Claims about all bounds for one net (GEN-43)."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import bounds, models, processes
from jaxgen.claims import at_least, claim, greater, less

CLASSICAL = ("bits", "cover", "frobenius", "path_norm", "spectral")
SAYING = ("compression", "pac_bayes_trained")
MODEL = models.mlp((64, 2), bias=False)
BUDGET = bounds.Budget(posterior_steps=400, compression_steps=150, batch_size=200, num_draws=3, num_probes=50)
NUM_TRAIN, NUM_TEST = 1000, 2000


def _sample(key, count, random_labels):
    """Points in twenty dimensions, labelled by one of them or by coins."""
    x_key, coin_key = jax.random.split(key)
    x = jax.random.normal(x_key, (count, 20))
    return x, jnp.where(random_labels, jax.random.randint(coin_key, (count,), 0, 2), (x[:, 0] > 0).astype(int))


def _report(key, random_labels=False):
    """The report of a net with more parameters than examples."""
    keys = jax.random.split(key, 4)
    train, test = (_sample(k, count, random_labels) for k, count in zip(keys[:2], (NUM_TRAIN, NUM_TEST), strict=True))
    start = MODEL.init(keys[2], train[0])
    batches = processes.batch_indices(keys[3], NUM_TRAIN, 100, 300)
    loss_fn = models.loss_fn(MODEL.apply, "cross_entropy")
    params, _ = processes.train(keys[3], loss_fn, start, train, batches, optimizer=optax.adam(0.01))
    return bounds.bound_report(MODEL.apply, "cross_entropy", params, start, train, test, key=keys[3], measures=False, budget=BUDGET)


def _values(report, names):
    return jnp.array([report[name].value for name in names])


@claim(
    "GEN-43",
    title="Classical bounds of one net are vacuous, PAC-Bayes and compression say something, and a test set says most",
    source="Theory of Deep Learning, sections 5.2 and 5.6",
    statement=r"\text{hold-out} < \text{PAC-Bayes}, \text{compression} < 1 < \text{counting}, \text{covers}, \text{norms}",
    num_seeds=2,
    jittable=False,
    budget=40.0,
)
def vacuity_table(key):
    """1,408 parameters, 1,000 examples."""
    report = _report(key)
    certified = [row.name for row in report.rows if row.certified and row.name not in ("holdout", "holdout_hoeffding")]
    return {
        "classical": greater(_values(report, CLASSICAL), 1.0),
        "the others": less(_values(report, SAYING), 1.0),
        "hold-out": less(report["holdout"].value, _values(report, certified)),
        "above the test error": at_least(_values(report, certified), report.test_error),
    }


@vacuity_table.control("random labels, of which no bound may say that they are learned")
def _(key):
    report = _report(key, random_labels=True)
    return less(min(row.value for row in report.rows if row.certified), 0.45)
