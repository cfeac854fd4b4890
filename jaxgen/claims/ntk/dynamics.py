"""Claims about training under the tangent kernel: velocities of outputs, predictions, gradient descent, general losses (NTK-1, 2, 7, 22)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen import models, ntk
from jaxgen.claims import at_least, at_most, claim, converges, equal, equal_in_mean
from jaxgen.claims.ntk._wide import over_nets, sphere, trained, two_layer

BOOK = "Arora et al., Theory of Deep Learning"
WIDTHS = (256, 1024, 4096)
TRAINED_WIDTHS = (128, 512, 2048)
RATE = 0.5
N, M, C = 5, 3, 2


class Net(NamedTuple):
    """A net at initialization, linear in a vector of parameters, and a problem."""

    outputs: Callable[[jax.Array], jax.Array]
    vector: jax.Array
    jacobian: jax.Array
    kernel: jax.Array
    y: jax.Array


def _net(key):
    """A tanh net on five training and three test points, with the tangent kernels of all of them, (N + M, N, C, C)."""
    net = models.mlp((8, C), activation="tanh", parametrization="ntk")
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (N + M, 4))
    params = net.init(keys[1], x)
    vector, restore = ravel_pytree(params)

    def outputs(v):
        return net.apply(restore(v), x)

    kernel = ntk.empirical(net.apply, params, x, x[:N])
    return Net(outputs, vector, jax.jacrev(outputs)(vector), kernel, jax.random.normal(keys[2], (N, C)))


def _velocity(net, loss):
    """d/dt of all outputs along gradient flow on a loss of the training outputs, by the chain rule, and the loss's slope."""
    u = net.outputs(net.vector)[:N]
    gradient = jax.grad(lambda v: loss(net.outputs(v)[:N]))(net.vector)
    return jax.jvp(net.outputs, (net.vector,), (-gradient,))[1], jax.grad(loss)(u)


def _residual(net):
    """u - y at the start."""
    return net.outputs(net.vector)[:N] - net.y


@claim(
    "NTK-1",
    title="Outputs move by the tangent kernel times the slope of the loss",
    source=f"{BOOK}, lemma 9.1.1, equations (9.1) to (9.4)",
    statement=r"\dot w = -\nabla \ell, \; \ell = \tfrac12 \sum_i \lVert u_i - y_i \rVert^2: \quad \dot u = -H(t) (u - y), \qquad"
    r" H_{ij} = \langle \partial_w f(w, x_i), \partial_w f(w, x_j) \rangle \succeq 0",
    budget=4.0,
)
def velocity(key):
    """With several outputs and at test points too; for cross-entropy -H grad_u l; and the loss falls by the slope's norm in H."""
    net = _net(key)
    checks = {}
    losses = {
        "squares": lambda u: 0.5 * jnp.sum((u - net.y) ** 2),
        "cross-entropy": lambda u: models.softmax_cross_entropy(u, jnp.arange(N) % C).sum(),
    }
    for name, loss in losses.items():
        moved, slope = _velocity(net, loss)
        checks[name] = equal(moved, -jnp.einsum("nmcd,md->nc", net.kernel, slope), rtol=1e-10, atol=1e-10)
        without = ntk.velocity(lambda v, rows: net.outputs(v)[rows], net.vector, jnp.arange(N), slope, jnp.arange(N + M))
        checks[f"{name}, no kernel formed"] = equal(without, moved, rtol=1e-10, atol=1e-10)
    matrix = net.kernel[:N].transpose(0, 2, 1, 3).reshape(N * C, N * C)
    rate = jnp.sum(_velocity(net, losses["squares"])[0][:N] * _residual(net))
    return checks | {
        "loss": equal(rate, -_residual(net).ravel() @ matrix @ _residual(net).ravel(), rtol=1e-10),
        "semidefinite": at_least(jnp.linalg.eigvalsh(matrix), 0.0, slack=1e-10 * jnp.trace(matrix)),
    }


@velocity.control("the half in the loss forgotten")
def _(key):
    net = _net(key)
    moved, _ = _velocity(net, lambda u: jnp.sum((u - net.y) ** 2))
    return equal(moved, -jnp.einsum("nmcd,md->nc", net.kernel, _residual(net)), rtol=1e-10, atol=1e-10)


@velocity.control("outputs that depend on the batch, with the kernel of single examples")
def _(key):
    net = _net(key)
    coupled = net._replace(outputs=lambda v: net.outputs(v) - net.outputs(v)[:N].mean(axis=0))
    moved, slope = _velocity(coupled, lambda u: 0.5 * jnp.sum((u - net.y) ** 2))
    return equal(moved, -jnp.einsum("nmcd,md->nc", net.kernel, slope), rtol=1e-10, atol=1e-10)


def _errors(key, widths, num_nets, steps, *, power=0.5, corrected=True, **options):
    """RMS distance of trained two-layer ReLU nets from the prediction by the limiting kernel, for each width, over nets and test points."""
    keys = jax.random.split(key, 4)
    x, z, y = sphere(keys[0], 10, 8), sphere(keys[1], 6, 8), jax.random.normal(keys[2], (10,))

    def outputs(key, width):
        net, weights = two_layer(key, width, 8, power=power, largest=max(widths))
        end, _ = trained(net, weights, x, y, RATE, steps)
        return net(weights, x), net(weights, z), net(end, z)

    columns = [part.reshape(-1, part.shape[-1]).T for part in over_nets(outputs, keys[3], widths, num_nets)]
    starts = columns[:2] if corrected else (0.0, 0.0)
    targets = jnp.broadcast_to(y[:, None], columns[0].shape)
    errors = columns[2] - ntk.predict(ntk.infinite.two_layer(x), targets, ntk.infinite.two_layer(z, x), *starts, **options)
    return jnp.sqrt(jnp.mean(errors.reshape(6, len(widths), num_nets) ** 2, axis=(0, 2)))


@claim(
    "NTK-2",
    title="Trained ultra-wide nets predict by kernel regression on what their start leaves",
    source=f"{BOOK}, section 9.1.1, equations (9.5) and (9.6)",
    statement=r"f_\infty(x) = f_0(x) + k(x, X) (H^*)^{-1} (y - f_0(X))",
    num_seeds=4,
    budget=15.0,
)
def wide_nets(key):
    """The source forgets the function at the start. First layers of ReLU nets are trained on 10 points, 3 nets a width."""
    errors = _errors(key, TRAINED_WIDTHS, 3, 200)
    return {"widest": at_most(errors[-1], 0.1), "falls": at_most(errors[-1], 0.6 * errors[0])}


@wide_nets.control("equation (9.6) as printed, without the function at the start")
def _(key):
    return at_most(_errors(key, TRAINED_WIDTHS, 3, 200, corrected=False)[-1], 0.1)


@claim(
    "NTK-2.flow",
    title="Predictions under a constant kernel solve its equation, and need no start where the net begins at zero",
    source=f"{BOOK}, section 9.1.1; Zhang et al. 2020",
    statement=r"f_t(x) = f_0(x) + k(x, X) H^{-1} (I - e^{-H t}) (y - u(0)), \qquad n = 1: u_t = y + (u_0 - y) e^{-H t}",
    budget=6.0,
)
def flow(key):
    """Against an adaptive solver with the kernel frozen."""
    net, times = _net(key), jnp.array([0.1, 1.0, 5.0])
    f0 = net.outputs(net.vector)
    problem = net.kernel[:N], net.y, net.kernel[N:], f0[:N], f0[N:]
    closed, solved = ntk.predict(*problem, t=times), ntk.predict_flow(models.half_squared_error, *problem, t=times)
    model = models.mlp((8, 1), activation="tanh")
    pair = ntk.antisymmetrize(model.init, model.apply)
    x = jax.random.normal(key, (4, 3))
    params = pair.init(key, x)
    single = ntk.empirical(model.apply, params[0], x, mode="trace")
    one = ntk.predict(jnp.array([[1.7]]), jnp.ones(1), jnp.array([[1.7]]), 3.0, 3.0, t=times)[:, 0]
    return {
        "solver": equal(closed, solved.test, rtol=1e-6, atol=1e-7),
        "one point": equal(one, 1 + 2 * jnp.exp(-1.7 * times), rtol=1e-10),
        "starts at zero": equal(pair.apply(params, x), 0.0, rtol=0),
        "same kernel": equal(ntk.empirical(pair.apply, params, x, mode="trace"), single, rtol=1e-10, atol=1e-10),
    }


@flow.control("the start left out")
def _(key):
    net = _net(key)
    f0 = net.outputs(net.vector)
    solved = ntk.predict_flow(models.half_squared_error, net.kernel[:N], net.y, net.kernel[N:], f0[:N], f0[N:], t=jnp.array([1.0]))
    return equal(ntk.predict(net.kernel[:N], net.y, net.kernel[N:], t=1.0), solved.test[0], rtol=1e-6, atol=1e-7)


def _descended(net, slope, rate, num_steps, momentum=0.0):
    """All outputs of the linearized net after descent on its parameters, where `slope` is the loss's in the training outputs."""
    f0, rows = net.outputs(net.vector), net.jacobian

    def step(state, _):
        moved, velocity = state
        velocity = momentum * velocity + jnp.einsum("ncp,nc->p", rows[:N], slope((f0 + rows @ moved)[:N]))
        return (moved - rate * velocity, velocity), None

    zeros = jnp.zeros_like(net.vector)
    return f0 + rows @ jax.lax.scan(step, (zeros, zeros), None, length=num_steps)[0][0]


def _descent_prediction(net, momentum=0.0, factor=0.3, num_steps=500):
    f0, rate = net.outputs(net.vector), factor * ntk.max_stable_learning_rate(net.kernel[:N], momentum)
    options = {"learning_rate": rate, "num_steps": num_steps, "momentum": momentum}
    return rate, ntk.predict(net.kernel[:N], net.y, net.kernel, f0[:N], f0, **options)


@claim(
    "NTK-7",
    title="Gradient descent of a linearized net in closed form, with momentum and up to its largest stable step",
    source=f"{BOOK}, section 9.2, remark 4; the formula is derived",
    statement=r"f_k(x) = f_0(x) + k(x, X) H^{-1} (I - (I - \eta H)^k) (y - u_0), \qquad \eta < \frac{2 + 2 \beta}{\lambda_{\max}}",
    budget=5.0,
)
def discrete_descent(key):
    """500 steps on the parameters; the residual falls for a step 5 % below the threshold."""
    net = _net(key)
    checks = {}
    for momentum in (0.0, 0.7):
        rate, found = _descent_prediction(net, momentum)
        expected = _descended(net, lambda u: u - net.y, rate, 500, momentum)
        checks[f"momentum {momentum:g}"] = equal(found, expected, rtol=1e-9, atol=1e-9)
    _, found = _descent_prediction(net, factor=0.95)
    h = jnp.diag(jnp.array([1.0, 0.0]))
    fractions = ntk.predict(h, jnp.ones(2), h, learning_rate=0.1, num_steps=10)
    return checks | {
        "stable": at_most(jnp.linalg.norm(found[:N] - net.y), jnp.linalg.norm(_residual(net))),
        "null mode": equal(fractions, jnp.array([0.6513215599, 0.0]), rtol=1e-9),
    }


@discrete_descent.control("gradient flow for the time of as many steps")
def _(key):
    net = _net(key)
    rate, found = _descent_prediction(net, factor=0.7, num_steps=5)
    f0 = net.outputs(net.vector)
    return equal(found, ntk.predict(net.kernel[:N], net.y, net.kernel, f0[:N], f0, t=5 * rate), rtol=1e-9, atol=1e-9)


@discrete_descent.control("a step above the threshold")
def _(key):
    net = _net(key)
    _, found = _descent_prediction(net, factor=1.05)
    return at_most(jnp.linalg.norm(found[:N] - net.y), jnp.linalg.norm(_residual(net)))


@claim(
    "NTK-7.width",
    title="Early in training, gradient descent of a wide net is that of its limiting kernel up to an error that falls with width",
    source="Du, Zhai, Poczos & Singh 2019",
    statement=r"\lVert u_k - u_k^{lin} \rVert \sim m^{-1/2}, \quad k = 50",
    num_seeds=4,
    budget=8.0,
)
def wide_descent(key):
    """Over 16 nets for each of three widths."""
    return converges(_early_errors(key), order=-0.5, steps=jnp.array(WIDTHS), tolerance=0.4)


def _early_errors(key, power=0.5):
    return _errors(key, WIDTHS, 16, 50, power=power, learning_rate=RATE, num_steps=50)


@wide_descent.control("outputs scaled by 1/m, whose kernel vanishes with width")
def _(key):
    return converges(_early_errors(key, power=1.0), order=-0.5, steps=jnp.array(WIDTHS), tolerance=0.4)


@claim(
    "NTK-22",
    title="Any loss under a constant kernel: the exact map of gradient descent, and its limit",
    source="Lee et al. 2019; derived",
    statement=r"u_{k+1} = u_k - \eta s \Theta \nabla_u \ell, \qquad f_k(x) = f_0(x) - \Theta(x, X) \, \eta s \sum_{j < k} \nabla_u \ell(u_j)",
    budget=5.0,
)
def general_losses(key):
    """Softmax cross-entropy, 60 steps with momentum, against the linearized net; squares against the closed form; shared kernels."""
    net, labels = _net(key), jnp.arange(N) % C
    f0 = net.outputs(net.vector)
    kernels, starts = (net.kernel[:N], net.kernel[N:]), (f0[:N], f0[N:])
    options = {"learning_rate": 0.3 * ntk.max_stable_learning_rate(net.kernel[:N]), "num_steps": 60, "momentum": 0.5}
    found = ntk.predict_descent(models.softmax_cross_entropy, kernels[0], labels, kernels[1], *starts, **options)
    expected = _descended(net, lambda u: jax.nn.softmax(u) - jax.nn.one_hot(labels, C), options["learning_rate"], 60, 0.5)
    squares = ntk.predict_descent(models.half_squared_error, kernels[0], net.y, kernels[1], *starts, **options)
    shared, unit = net.kernel[:N, :, 0, 0], jnp.eye(C)
    full = ntk.predict(shared[..., None, None] * unit, net.y, shared[..., None, None] * unit, t=2.0, ridge=0.1)
    return {
        "cross-entropy": equal(found.test[-1], expected[N:], rtol=1e-9, atol=1e-9),
        "squares": equal(squares.test[-1], ntk.predict(kernels[0], net.y, kernels[1], *starts, **options), rtol=1e-8, atol=1e-8),
        "shared": equal(ntk.predict(shared, net.y, shared, t=2.0, ridge=0.1), full, rtol=1e-8, atol=1e-8),
    }


@general_losses.control("the closed form of squares for cross-entropy")
def _(key):
    net, labels = _net(key), jnp.arange(N) % C
    f0, rate = net.outputs(net.vector), 0.3 * ntk.max_stable_learning_rate(net.kernel[:N])
    found = ntk.predict(net.kernel[:N], jax.nn.one_hot(labels, C), net.kernel[N:], f0[:N], f0[N:], learning_rate=rate, num_steps=60)
    expected = _descended(net, lambda u: jax.nn.softmax(u) - jax.nn.one_hot(labels, C), rate, 60)
    return equal(found, expected[N:], rtol=1e-9, atol=1e-9)


class Pair(NamedTuple):
    """A tangent kernel and the covariance of outputs at the start."""

    ntk: jax.Array
    nngp: jax.Array


def _ensemble(key, *, swapped=False):
    """Predicted law at time 0.3, and the mean and second moments of 50 linear models with random starts, each trained."""
    keys = jax.random.split(jax.random.key(0), 2)
    x, mix = jax.random.normal(keys[0], (7, 5)), jax.random.normal(keys[1], (5, 5)) / 2
    y = jnp.array([1.0, -1.0, 0.5, 0.0])
    kernels = Pair(x @ x.T, x @ mix @ mix.T @ x.T)

    def block(rows, columns):
        cut = [kernel[rows, columns] for kernel in kernels]
        return Pair(cut[1], cut[1]) if swapped else Pair(*cut)

    first, last = slice(4), slice(4, 7)
    law = ntk.ensemble(block(first, first), y, block(last, first), block(last, last), t=0.3)
    starts = jax.random.normal(key, (50, 5)) @ mix.T @ x.T
    tangent = kernels.ntk
    ends = jax.vmap(lambda f: ntk.predict(tangent[:4, :4], y, tangent[4:, :4], f[:4], f[4:], t=0.3))(starts)
    centred = ends - law.mean
    return law, ends.mean(axis=0), centred.T @ centred / 50


@claim(
    "NTK-22.ensemble",
    title="Mean and covariance of predictions over initializations",
    source="Lee et al. 2019, equations (14) to (16)",
    statement=r"A_t = \Theta_* \Theta^{-1} (I - e^{-\Theta t}): \quad \mathbb{E} f_t = A_t y, \qquad"
    r" \operatorname{Cov} f_t = \Sigma_{**} + A_t \Sigma A_t^\top - (A_t \Sigma_{X *} + h.c.)",
    statistical=True,
    budget=4.0,
)
def ensembles(key):
    law, mean, covariance = _ensemble(key)
    return {"mean": equal_in_mean(mean, law.mean), "covariance": equal_in_mean(covariance, law.covariance)}


@ensembles.control("the covariance of outputs in place of the tangent kernel")
def _(key):
    law, mean, covariance = _ensemble(key, swapped=True)
    return {"mean": equal_in_mean(mean, law.mean), "covariance": equal_in_mean(covariance, law.covariance)}
