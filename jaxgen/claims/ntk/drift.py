"""Claims about how far wide nets are from their linearization, and which labels they fit fast (NTK-3, 5, 6, 8, 9, 17)."""

import jax
import jax.numpy as jnp

from jaxgen import ntk, optimization
from jaxgen.claims import at_most, claim, converges, equal, equal_in_mean, less, ordered, with_probability
from jaxgen.claims.ntk._wide import mixture, over_nets, sphere, trained, two_layer

BOOK = "Arora et al., Theory of Deep Learning"
WIDTHS = (64, 256, 1024, 4096)
DRIFT_WIDTHS = WIDTHS[:3]
ACTIVATIONS = {"relu": jax.nn.relu, "softplus": jax.nn.softplus}
SLOPES_BOUNDED_BY_ONE = ntk.infinite.quadrature(jax.nn.softplus)


def _limit(x, activation):
    return ntk.infinite.two_layer(x, activation="relu" if activation == "relu" else SLOPES_BOUNDED_BY_ONE)


def _empirical(net, weights, x):
    def apply(weights, x):
        return net(weights, x)

    return ntk.empirical(apply, weights, x, mode="trace")


@claim(
    "NTK-3",
    title="The tangent kernel of a two-layer net with its first layer trained",
    source=f"{BOOK}, section 9.2, equation (9.7)",
    statement=r"f = \frac{1}{\sqrt m} \sum_r a_r \sigma(w_r^\top x), \; a_r = \pm 1: \quad"
    r" H_{ij} = x_i^\top x_j \, \frac1m \sum_r \dot\sigma(w_r^\top x_i) \dot\sigma(w_r^\top x_j)",
    core=True,
)
def first_layer_kernel(key):
    """For ReLU and softplus, by automatic differentiation of the net."""
    x, checks = sphere(key, 5, 4), {}
    for name, activation in ACTIVATIONS.items():
        net, weights = two_layer(jax.random.fold_in(key, 1), 50, 4, activation)
        checks[name] = equal(_empirical(net, weights, x), net.kernel(weights, x, x), rtol=1e-10, atol=1e-10)
    return checks


@first_layer_kernel.control("outputs scaled by 1/m")
def _(key):
    (net, weights), (right, _) = (two_layer(key, 50, 4, power=power) for power in (1.0, 0.5))
    x = sphere(key, 5, 4)
    return equal(_empirical(net, weights, x), right.kernel(weights, x, x), rtol=1e-10, atol=1e-10)


@claim(
    "NTK-3.limit",
    title="The expected tangent kernel of a two-layer net is its limit, at any width",
    source=f"{BOOK}, section 9.2, equations (9.7) and (9.8)",
    statement=r"\mathbb{E} H(0)_{ij} = H^*_{ij} = x_i^\top x_j \, \mathbb{E}_w[\dot\sigma(w^\top x_i) \dot\sigma(w^\top x_j)]",
    statistical=True,
    budget=3.0,
)
def expected_kernel(key):
    """The source's (9.8) forgets the factor x_i.x_j."""
    x, checks = sphere(jax.random.key(0), 4, 3), {}
    for name, activation in ACTIVATIONS.items():
        net, weights = two_layer(key, 200, 3, activation)
        checks[name] = equal_in_mean(net.kernel(weights, x, x), _limit(x, name))
    return checks


@expected_kernel.control("the kernel without the factor x_i.x_j")
def _(key):
    x = sphere(jax.random.key(0), 4, 3)
    net, weights = two_layer(key, 200, 3)
    return equal_in_mean(net.kernel(weights, x, x), ntk.infinite.relu_kappa0(x @ x.T) / 2)


def _deviations(key, activation, num_nets=1):
    """|H(0) - H*| in spectral norm for each width and net, on six points in four dimensions."""
    x = sphere(key, 6, 4)
    limit = _limit(x, "softplus" if activation is jax.nn.softplus else "relu")

    def deviation(key, width):
        net, weights = two_layer(key, width, 4, activation, largest=max(WIDTHS))
        return jnp.linalg.norm(net.kernel(weights, x, x) - limit, 2)

    return over_nets(deviation, jax.random.fold_in(key, 1), WIDTHS, num_nets)


@claim(
    "NTK-5",
    title="The tangent kernel concentrates at initialization",
    source=f"{BOOK}, lemma 9.2.2, with its constants",
    statement=r"\lVert H(0) - H^* \rVert \le n \sqrt{\tfrac2m \log \tfrac{2 n^2}{\delta}} \text{ with probability } 1 - \delta",
    statistical=True,
    budget=4.0,
)
def concentration(key):
    """The source's union bound needs entries within epsilon / n, and prints epsilon / n^2. The bound is far from tight."""
    bound = ntk.concentration_bound(6, jnp.array(WIDTHS), 0.1)
    return {name: with_probability(_deviations(key, activation)[:, 0] <= bound, at_least=0.9) for name, activation in ACTIVATIONS.items()}


@concentration.control("the activation z^3, whose slope is not bounded")
def _(key):
    x = sphere(key, 6, 4)
    net, weights = two_layer(key, 64, 4, lambda z: z**3)
    # E[9 u^2 v^2] = 9 (1 + 2 rho^2).
    limit = (x @ x.T) * 9 * (1 + 2 * (x @ x.T) ** 2)
    deviation = jnp.linalg.norm(net.kernel(weights, x, x) - limit, 2)
    return with_probability(deviation <= ntk.concentration_bound(6, 64, 0.1), at_least=0.9)


@claim(
    "NTK-5.rate",
    title="The kernel's distance from its limit falls with the root of the width",
    source=f"{BOOK}, lemma 9.2.2",
    statement=r"\mathbb{E} \lVert H(0) - H^* \rVert \sim m^{-1/2}",
    budget=3.0,
)
def concentration_rate(key):
    """Mean over 100 nets a width."""
    return converges(_deviations(key, jax.nn.relu, 100).mean(axis=1), order=-0.5, steps=jnp.array(WIDTHS), tolerance=0.1)


@concentration_rate.control("a rate of 1/m")
def _(key):
    return converges(_deviations(key, jax.nn.relu, 100).mean(axis=1), order=-1.0, steps=jnp.array(WIDTHS), tolerance=0.1)


def _drift(key, power=0.5):
    """Movement, drift (absolute, and over the norm at the start) and the bounds on them, at the end of time 5, for each width."""
    x, y = sphere(key, 6, 4), jax.random.normal(jax.random.fold_in(key, 1), (6,))

    def of_net(key, width):
        net, weights = two_layer(key, width, 4, jax.nn.softplus, power, largest=max(DRIFT_WIDTHS))
        rate = 0.05 * jnp.asarray(width, float) ** (2 * power - 1)
        end, residuals = trained(net, weights, x, y, rate, 100, lambda w: jnp.abs(net(w, x) - y).max())
        bounds = ntk.stability_bound(6, 5.0, width, residuals.max())
        kernels = jnp.stack([net.kernel(w, x, x) for w in (weights, end)])
        movement = ntk.neuron_movement(jnp.stack([weights, end]))[-1]
        return movement, ntk.kernel_drift(kernels, relative=False).frobenius[-1], ntk.kernel_drift(kernels).frobenius[-1], bounds

    return over_nets(of_net, jax.random.fold_in(key, 2), DRIFT_WIDTHS, 8)


def _slope(values):
    return jnp.polyfit(jnp.log(jnp.array(DRIFT_WIDTHS, float)), jnp.log(values), 1)[0]


@claim(
    "NTK-6",
    title="The tangent kernel of a wide net hardly changes in training",
    source=f"{BOOK}, lemma 9.2.3",
    statement=r"|u_i - y_i| \le C: \quad \lVert w_r(t) - w_r(0) \rVert \le \frac{C n t}{\sqrt m}, \qquad"
    r" \lVert H(t) - H(0) \rVert_F \le \frac{2 C n^2 t}{\sqrt m}",
    num_seeds=8,
    budget=8.0,
)
def stability(key):
    """The source sums entries to n^3. With random signs the kernel moves by O(1/m): its slope is steeper than -1/2, weights' is -1/2."""
    movement, drift, _, bounds = _drift(key)
    checks = {"movement": at_most(movement, bounds.movement), "kernel": at_most(drift, bounds.kernel)}
    moved, drifted = movement.mean(axis=1), drift.mean(axis=1)
    return checks | {"slope of weights": equal(_slope(moved), -0.5, rtol=0, atol=0.15), "slope of kernel": at_most(_slope(drifted), -0.6)}


@stability.control("outputs scaled by 1/m and the step size by m, where the kernel moves at any width")
def _(key):
    return at_most(_slope(_drift(key, power=1.0)[2].mean(axis=1)), -0.6)


def _labels(key):
    """The limiting kernel of 100 points of two classes, with true, random and worst-case labels."""
    x, y = mixture(key, 100)
    kernel = ntk.infinite.two_layer(x)
    alignment = ntk.eigen_alignment(kernel, y)
    worst = 10.0 * jnp.linalg.eigh(kernel)[1][:, 0]
    return kernel, alignment, (y, jax.random.rademacher(jax.random.fold_in(key, 1), (100,), float), worst)


@claim(
    "NTK-8",
    title="True labels are fitted faster than random ones, and these faster than the worst",
    source=f"{BOOK}, section 9.3, equations (9.9) and (9.10), figure 9.1",
    statement=r"v_i^\top (u(t) - y) = e^{-\lambda_i t} v_i^\top (u(0) - y)",
    budget=4.0,
)
def alignment_of_labels(key):
    """Residuals at times 1, 10 and 100 and times to a tenth, on a Gaussian mixture; and the modes of a run of small steps."""
    kernel, alignment, labels = _labels(key)
    times = jnp.array([1.0, 10.0, 100.0])
    residuals = [ntk.predicted_residual(kernel, y, times) for y in labels]
    rate = 0.5 * ntk.max_stable_learning_rate(kernel)
    u = jax.lax.fori_loop(0, 40, lambda _, u: u - rate * kernel @ (u - labels[0]), jnp.zeros(100))
    decayed = (1 - rate * alignment.eigenvalues) ** 40 * jnp.abs(alignment.projections)
    return {
        "residuals": ordered(residuals, strict=True),
        "times": ordered([ntk.time_to_error(kernel, y, 1.0) for y in labels], strict=True),
        "alignment": ordered([ntk.kernel_target_alignment(kernel, y) for y in labels], decreasing=True),
        "modes": equal(jnp.abs(ntk.eigen_alignment(kernel, u - labels[0]).projections), jnp.abs(decayed), rtol=1e-7, atol=1e-9),
    }


@alignment_of_labels.control("a kernel with a flat spectrum, which prefers no labels")
def _(key):
    _, _, labels = _labels(key)
    return less(ntk.predicted_residual(jnp.eye(100), labels[0], 1.0), 0.99 * ntk.predicted_residual(jnp.eye(100), labels[1], 1.0))


def _followed(key, width, scale):
    """Farthest that residuals of nets trained on true, random and worst-case labels get from those of the limiting kernel, over sqrt n."""
    x, y = mixture(key, 30, 8)
    kernel = ntk.infinite.two_layer(x)
    spectrum, keys = optimization.kernel_spectrum(kernel), jax.random.split(jax.random.fold_in(key, 1))
    labels = jnp.stack([y, jax.random.rademacher(keys[0], (30,), float), jnp.sqrt(30.0) * spectrum.eigenvectors[:, -1]])
    net, weights = two_layer(keys[1], width, 8)
    rate, counts = 0.5 * ntk.max_stable_learning_rate(kernel), jnp.arange(300)
    decayed = optimization.training_filter(spectrum.eigenvalues, learning_rate=rate, num_steps=counts).residual
    scaled = ntk.lazy(net, weights, scale)

    def distance(y):
        _, residuals = trained(scaled, weights, x, y, rate / scale**2, 300, lambda w: jnp.linalg.norm(scaled(w, x) - y))
        return jnp.abs(residuals - jnp.linalg.norm(decayed * (spectrum.eigenvectors.T @ y), axis=1)).max() / jnp.sqrt(30.0)

    return jax.lax.map(distance, labels)


@claim(
    "NTK-8.trained",
    title="A wide net, trained lazily, fits true, random and worst-case labels as fast as its limiting kernel says",
    source=f"{BOOK}, section 9.3, figure 9.1; Chizat, Oyallon & Bach 2019",
    statement=r"\left| \lVert u_k - y \rVert - \left( \sum_i (1 - \eta \lambda_i)^{2 k} (v_i^\top y)^2 \right)^{1/2} \right| \le 0.05 \sqrt n",
    num_seeds=4,
    budget=6.0,
)
def followed_curves(key):
    """4096 ReLU neurons on 30 points, 300 steps; without the scale the net leaves its kernel for labels that are slow to fit."""
    return at_most(_followed(key, 4096, 32.0), 0.05)


@followed_curves.control("a narrow net as it is")
def _(key):
    return at_most(_followed(key, 64, 1.0), 0.05)


def _nullity(key, pairs):
    x = sphere(jax.random.fold_in(key, pairs), pairs, 3)
    return jnp.sum(jnp.linalg.eigvalsh(ntk.infinite.two_layer(jnp.concatenate([x, -x]))) < 1e-12)


@claim(
    "NTK-9.inputs",
    title="Opposite pairs of inputs cost the limiting kernel rank only where there are more of them than dimensions",
    source=f"{BOOK}, section 9.3; Du et al. 2019; the count of opposite pairs is derived",
    statement=r"\{\pm x_i\}_{i \le k} \subset \mathbb{R}^d: \; \operatorname{null} H^* = \max(0, k - d)",
)
def positivity(key):
    """2, 3, 4 and 6 pairs in three dimensions."""
    return {f"{pairs} pairs": equal(_nullity(key, pairs), max(0, pairs - 3), rtol=0) for pairs in (2, 3, 4, 6)}


@positivity.control("opposite pairs taken to cost nothing")
def _(key):
    return {f"{pairs} pairs": equal(_nullity(key, pairs), 0, rtol=0) for pairs in (4, 6)}


@positivity.control("every opposite pair taken to cost a rank")
def _(key):
    return {f"{pairs} pairs": equal(_nullity(key, pairs), pairs, rtol=0) for pairs in (2, 3, 4, 6)}


def _lazy_gaps(key, scales, width=8):
    """Largest distance of a narrow tanh net, scaled and trained, from the prediction by its own kernel at the start."""
    x, z, y = sphere(key, 6, 4), sphere(jax.random.fold_in(key, 1), 5, 4), 2 * jax.random.normal(jax.random.fold_in(key, 2), (6,))
    net, weights = two_layer(jax.random.fold_in(key, 3), width, 4, jnp.tanh)
    kernels = net.kernel(weights, x, x), net.kernel(weights, z, x)
    rate = 0.5 * ntk.max_stable_learning_rate(kernels[0])

    def gap(scale):
        scaled = ntk.lazy(net, weights, scale)
        end, _ = trained(scaled, weights, x, y, rate / scale**2, 200)
        return jnp.abs(scaled(end, z) - ntk.predict(kernels[0], y, kernels[1], learning_rate=rate, num_steps=200)).max()

    return jnp.stack([gap(scale) for scale in scales])


@claim(
    "NTK-17",
    title="A net of any width becomes its linearization when its output is scaled up",
    source="Chizat, Oyallon & Bach 2019",
    statement=r"f = \alpha (h(\theta) - h(\theta_0)), \; \eta / \alpha^2: \quad \lVert f_k - f_k^{lin} \rVert = O(1 / \alpha)",
    budget=4.0,
)
def lazy_training(key):
    """Eight tanh neurons, 200 steps."""
    scales = (100.0, 1000.0, 10_000.0)
    return converges(_lazy_gaps(key, scales), order=-1.0, steps=jnp.array(scales), tolerance=0.25)


@lazy_training.control("a narrow net as it is")
def _(key):
    return at_most(_lazy_gaps(key, (1.0,)), 0.03)


@claim(
    "NTK-17.diagonal",
    title="The tangent kernel of a diagonal linear net",
    source=f"{BOOK}, section 8.3; Woodworth et al. 2020",
    statement=r"f = \langle u^{\circ 2} - v^{\circ 2}, x \rangle, \; u = v = \alpha \mathbf 1: \quad H = 8 \alpha^2 X X^\top",
)
def diagonal_net(key):
    """For u, v scaled as f = <u^2 - v^2, x>, the squared gradient is 4 (u^2 + v^2) = 8 alpha^2."""
    x = jax.random.normal(key, (5, 7))
    params = {"u": jnp.full(7, 3.0), "v": jnp.full(7, 3.0)}
    found = ntk.empirical(lambda p, x: x @ (p["u"] ** 2 - p["v"] ** 2), params, x, mode="trace")
    return equal(found, 8 * 3.0**2 * x @ x.T, rtol=1e-10, atol=1e-10)


@diagonal_net.control("half of the parameters")
def _(key):
    x = jax.random.normal(key, (5, 7))
    found = ntk.empirical(lambda p, x: x @ p**2, jnp.full(7, 3.0), x, mode="trace")
    return equal(found, 8 * 3.0**2 * x @ x.T, rtol=1e-10, atol=1e-10)
