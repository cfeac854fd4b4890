"""Claims about test error against capacity, and nets that fit random labels (INFO-13)."""

import jax
import jax.numpy as jnp
import optax

from jaxgen import data, models, processes
from jaxgen.claims import claim, equal, equal_in_mean, less

NUM_POINTS = 100
WIDTHS = (5, 30, NUM_POINTS, 1000)
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)


def _coefficients(features, y, ridge):
    """Ridge regression; at ridge 0 the least-squares solution, that of the smallest norm if there are many."""
    num_points, width = features.shape
    if width < num_points:
        return jnp.linalg.solve(features.T @ features + ridge * jnp.eye(width), features.T @ y)
    return features.T @ jnp.linalg.solve(features @ features.T + ridge * jnp.eye(num_points), y)


def _excess_risks(key, widths, ridge):
    """Excess risk of regression on ReLU features of normal inputs in 20 dimensions; linear teacher, noise of variance 1/4."""
    key_vectors, key_noise = jax.random.split(key)
    vectors = jax.random.normal(key_vectors, (NUM_POINTS + 200 + 1 + max(widths), 20))
    x, x_test, teacher, weights = jnp.split(vectors, [NUM_POINTS, NUM_POINTS + 200, NUM_POINTS + 201])
    target, target_test = x @ teacher[0] / 20**0.5, x_test @ teacher[0] / 20**0.5
    y = target + 0.5 * jax.random.normal(key_noise, target.shape)
    features, features_test = jax.nn.relu(x @ weights.T / 20**0.5), jax.nn.relu(x_test @ weights.T / 20**0.5)

    def excess(width):
        coefficients = _coefficients(features[:, :width], y, ridge * width)
        return jnp.mean((features_test[:, :width] @ coefficients - target_test) ** 2)

    return jnp.stack([excess(width) for width in widths])


def _median_excess_risks(key, ridge=0.0, widths=WIDTHS):
    """Medians over 20 problems, since the mean does not exist at the peak; one for each width."""
    return jnp.median(jax.vmap(lambda k: _excess_risks(k, widths, ridge))(jax.random.split(key, 20)), axis=0)


def _descents(risks):
    few, best, peak, many = risks
    return {
        "peak at interpolation": less(5 * best, peak),
        "falls at first": less(best, few),
        "falls again": less(5 * many, peak),
        "lower than before": less(many, best),
    }


@claim(
    "INFO-13",
    title="Double descent of random-feature regression",
    source="Belkin, Hsu, Ma & Mandal 2019; Hastie, Montanari, Rosset & Tibshirani 2022",
    statement=r"Median excess risk of least squares on $p$ ReLU features of $n = 100$ noisy points, $p = 5, 30, 100, 1000$:"
    r" it falls, peaks at $p = n$ at more than $5$ times both neighbours, and falls below the first minimum",
    chunk_size=8,
    budget=8.0,
)
def double_descent(key):
    return _descents(_median_excess_risks(key))


@double_descent.control("ridge regression with the best penalty")
def _(key):
    return _descents(jax.vmap(lambda ridge: _median_excess_risks(key, ridge))(jnp.array(RIDGES)).min(axis=0))


@double_descent.figure
def _(key):
    import matplotlib.pyplot as plt

    widths = (5, 10, 20, 40, 70, 90, 100, 110, 150, 300, 1000)
    medians = jax.jit(lambda ridge: _median_excess_risks(key, ridge, widths))
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for ridge, label in ((0.0, "least squares"), (0.1, "ridge, penalty 0.1 p")):
        axes.loglog(widths, medians(ridge), marker="o", markersize=3, label=label)
    axes.axvline(NUM_POINTS, color="0.6", linewidth=0.8, linestyle="--")
    axes.set(xlabel="number of features p", ylabel="median excess risk")
    axes.legend(frameon=False)
    return figure


def _accuracies(key, hidden, fraction):
    """Training and test accuracy of a net trained on 200 digits of which that fraction has random labels."""
    key_split, key_labels, key_params, key_train = jax.random.split(key, 4)
    digits = data.load("digits", key=key_split)
    x, y = digits.x_train[:200], data.corrupt_labels(key_labels, digits.y_train[:200], fraction, digits.num_classes)
    net = models.mlp((*hidden, digits.num_classes))
    batches = jnp.broadcast_to(jnp.arange(200), (200, 200))
    loss_fn = models.loss_fn(net.apply, "cross_entropy")
    params, _ = processes.train(key_train, loss_fn, net.init(key_params, x), (x, y), batches, optimizer=optax.adam(0.01))
    error = models.loss_fn(net.apply, "zero_one")
    return 1 - error(params, (x, y)).mean(), 1 - error(params, (digits.x_test, digits.y_test)).mean()


@claim(
    "INFO-13.random-labels",
    title="A net fits random labels, and learns nothing",
    source="Zhang, Bengio, Hardt, Recht & Vinyals 2017",
    statement=r"MLP 64-256-10 on $200$ digits with uniformly random labels: training accuracy $1$, mean test accuracy $\frac{1}{10}$",
    statistical=True,
    num_seeds=32,
    chunk_size=4,
    budget=15.0,
)
def random_labels_are_fitted(key):
    train, test = _accuracies(key, (256,), fraction=1.0)
    return {"fitted": equal(train, 1.0, rtol=0.0), "chance": equal_in_mean(test, 0.1)}


@random_labels_are_fitted.control("true labels")
def _(key):
    return equal_in_mean(_accuracies(key, (256,), fraction=0.0)[1], 0.1)


@random_labels_are_fitted.control("no hidden layer")
def _(key):
    return equal(_accuracies(key, (), fraction=1.0)[0], 1.0, rtol=0.0)
