"""Claims about Rademacher complexity as the ability to fit random labels (GEN-12)."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import bounds, models
from jaxgen.claims import at_least, claim, equal, equal_within, less

BOOK = "Arora et al., Theory of Deep Learning"


def _losses(key):
    first, second = jax.random.bernoulli(key, 0.2, (2, 50, 9)).astype(float)
    return first, second


@claim(
    "GEN-12",
    title="Telling two samples apart is fitting one of them with its labels flipped",
    source=f"{BOOK}, section 5.3.2",
    statement=r"\frac{1}{2m} \sup_h \left( \sum_{S_1} \ell - \sum_{S_2} \ell \right) = \frac12 - \min_h \hat L_{S_1^{flip} \cup S_2}(h)",
    core=True,
)
def flipped_labels(key):
    """The same number, to the last bit. It is the loss on S_1, not on S_2 as the source says, that becomes one less the loss."""
    first, second = _losses(key)
    found = bounds.label_flip_identity(first, second)
    by_hand = 0.5 - jnp.concatenate([1 - first, second], axis=1).mean(axis=1).min()
    return {"identity": equal(found.correlation, found.from_least_error, rtol=0), "by hand": equal(found.correlation, by_hand, rtol=1e-12)}


@flipped_labels.control("labels of the first sample left as they are")
def _(key):
    first, second = _losses(key)
    return equal(bounds.label_flip_identity(first, second).correlation, 0.5 - jnp.concatenate([first, second], axis=1).mean(axis=1).min(), rtol=1e-12)


@flipped_labels.control("labels of both samples flipped")
def _(key):
    first, second = _losses(key)
    flipped = jnp.concatenate([1 - first, 1 - second], axis=1)
    return equal(bounds.label_flip_identity(first, second).correlation, 0.5 - flipped.mean(axis=1).min(), rtol=1e-12)


def _classifiers(key):
    """Outputs of 20 classifiers on 10 points, and the labels of that with the least error."""
    outputs = jax.random.rademacher(key, (20, 10), float)

    def least_error(x, labels):
        return labels_of[jnp.argmax((labels_of == labels).sum(axis=1))]

    labels_of = (outputs > 0).astype(jnp.int32)
    return outputs, least_error


@claim(
    "GEN-12.capacity",
    title="The least error on random labels is the Rademacher complexity of classifiers",
    source=f"{BOOK}, section 5.3.2",
    statement=r"1 - 2 \, \mathbb{E}_\sigma \min_f \widehat{\mathrm{err}}_\sigma(f) = \hat R_S(\mathcal F) = 2 \hat R_S(\ell_{01} \circ \mathcal F)",
    statistical=True,
    num_seeds=32,
)
def capacity(key):
    """Over all labels of 10 points for the complexities, and 200 labellings for the capacity, which is 0 for one classifier."""
    outputs, least_error = _classifiers(key)
    y = jax.random.rademacher(jax.random.fold_in(key, 1), (10,), float)
    x, keys = jnp.zeros((10, 1)), jax.random.split(key)
    found = bounds.random_label_capacity(keys[0], least_error, x, num_draws=200)
    single = bounds.random_label_capacity(keys[1], lambda x, labels: jnp.arange(10) % 2, x, num_draws=200)
    exact, of_losses = (bounds.empirical_rademacher(None, values, num_draws=None).value for values in (outputs, (1 - y * outputs) / 2))
    return {"capacity": equal_within(found, exact), "one classifier": equal_within(single, 0.0), "losses": equal(exact, 2 * of_losses, rtol=1e-12)}


@capacity.control("the first classifier in place of the best")
def _(key):
    outputs, _ = _classifiers(key)
    found = bounds.random_label_capacity(key, lambda x, labels: (outputs[0] > 0).astype(int), jnp.zeros((10, 1)), num_draws=200)
    return equal_within(found, bounds.empirical_rademacher(None, outputs, num_draws=None).value)


def _best_half_plane(x, labels):
    """Labels of the half plane through the origin with the least error: of every two points next to each other in angle, one between them."""
    angles = jnp.sort((jnp.arctan2(x[:, 1], x[:, 0]) + jnp.pi / 2) % jnp.pi)
    between = (angles + jnp.append(angles[1:], angles[0] + jnp.pi)) / 2
    normals = jnp.stack([jnp.cos(between), jnp.sin(between)])
    predicted = jnp.concatenate([x @ normals > 0, x @ normals < 0], axis=1).T.astype(jnp.int32)
    return predicted[jnp.argmax((predicted == labels).sum(axis=1))]


def _net_fit(key, width):
    """Labels by a net of one hidden layer after 150 steps of Adam."""
    model = models.mlp((width, 1), activation="tanh")

    def fit(x, labels):
        params, optimizer = model.init(key, x[:1]), optax.adam(0.03)

        def step(state, _):
            params, momenta = state
            gradient = jax.grad(lambda params: optax.losses.sigmoid_binary_cross_entropy(model.apply(params, x)[:, 0], labels).mean())(params)
            updates, momenta = optimizer.update(gradient, momenta)
            return (optax.apply_updates(params, updates), momenta), None

        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), None, length=150)
        return (model.apply(params, x)[:, 0] > 0).astype(jnp.int32)

    return fit


@claim(
    "GEN-12.nets",
    title="An overparametrized net fits random labels, a linear classifier of the plane does not",
    source=f"{BOOK}, section 5.3.2; Zhang, Bengio, Hardt, Recht & Vinyals 2017",
    statement=r"\kappa = 1 - 2 \hat L: \quad n = 20, \; 64 \text{ hidden neurons}: \kappa = 1, \qquad d = 2, \; n = 100: \kappa < 0.35",
    num_seeds=8,
    budget=8.0,
)
def nets(key):
    """Eight labellings a seed; the best of all half planes, and a net trained on each labelling. What memorizes has capacity 1."""
    keys = jax.random.split(key, 4)
    net = bounds.random_label_capacity(keys[0], _net_fit(keys[1], 64), jax.random.normal(keys[2], (20, 10)), num_draws=8)
    linear = bounds.random_label_capacity(keys[0], _best_half_plane, jax.random.normal(keys[3], (100, 2)), num_draws=20)
    memorized = bounds.random_label_capacity(keys[0], lambda x, labels: labels, jnp.zeros((20, 1)), num_draws=2)
    return {
        "net": equal(net.value, 1.0, rtol=1e-12),
        "memorized": equal(memorized.value, 1.0, rtol=1e-12),
        "linear": less(linear.value, 0.35),
        "not nothing": at_least(linear.value, 0.05),
    }


@nets.control("the plane's linear classifiers in place of the net")
def _(key):
    found = bounds.random_label_capacity(key, _best_half_plane, jax.random.normal(key, (20, 2)), num_draws=8)
    return equal(found.value, 1.0, rtol=1e-12)


@nets.control("a net on as many points, all alike in pairs")
def _(key):
    x = jnp.repeat(jax.random.normal(key, (10, 10)), 2, axis=0)
    found = bounds.random_label_capacity(key, _net_fit(key, 64), x, num_draws=8)
    return at_least(found.value, 1.0)
