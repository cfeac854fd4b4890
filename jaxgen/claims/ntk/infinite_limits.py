"""Claims about wide nets and the kernels they tend to (NTK-14, NTK-16, NTK-23, NTK-24)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen.claims import claim, converges, equal, equal_in_mean
from jaxgen.ntk import infinite

C_RELU = 2.0
WIDTHS = (32, 128, 512)


def _weights(key, widths):
    """Standard normal matrices of shape (fan_out, fan_in)."""
    keys = jax.random.split(key, len(widths) - 1)
    return [jax.random.normal(k, (out, into)) for k, into, out in zip(keys, widths[:-1], widths[1:], strict=True)]


def _features(weights, x, constant=C_RELU):
    """g^(0), ..., g^(L) of a ReLU net: inputs, and activations times the root of the constant over the width."""
    features = [x]
    for weight in weights[:-1]:
        features.append(jnp.sqrt(constant / weight.shape[0]) * jax.nn.relu(features[-1] @ weight.T))
    return features


def _outputs(weights, x):
    return _features(weights, x)[-1] @ weights[-1][0]


def _empirical(net, weights, x, z):
    """Inner products of the gradients of one output."""
    rows, columns = (jax.vmap(lambda row: ravel_pytree(row)[0])(jax.jacrev(lambda w, v=v: net(w, v))(weights)) for v in (x, z))
    return rows @ columns.T


def _unit(key, n, d):
    x = jax.random.normal(key, (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@claim(
    "NTK-14",
    title="Normalization by c_sigma keeps norms from layer to layer",
    source="Arora et al., Theory of Deep Learning, section 9.4, eq. (9.12)",
    statement=r"g^{(h)} = \sqrt{c_\sigma / d_h} \, \sigma(W^{(h)} g^{(h-1)}), \; c_\sigma = \mathbb{E}[\sigma(z)^2]^{-1}:"
    r" \quad \mathbb{E} \|g^{(h)}(x)\|^2 = \|x\|^2 \text{ for the ReLU}",
    statistical=True,
    num_seeds=128,
)
def norms_are_kept(key):
    """c_sigma is printed without its brackets. For other activations norms are kept at |x| = 1 alone: one layer of erf is such a case."""
    key_w, key_x = jax.random.split(key)
    x = 2 * _unit(key_x, 1, 5)
    layers = jnp.stack([jnp.sum(g**2) for g in _features(_weights(key_w, (5, 32, 32, 32, 1)), x)[1:]])
    return {"relu": equal_in_mean(layers, 4.0), "erf": equal_in_mean(_norm_after_erf(key_w, x / 2), 1.0)}


def _norm_after_erf(key, x):
    c = infinite.dual_activation("erf").normalization
    return c * jnp.mean(jax.scipy.special.erf(x @ jax.random.normal(key, (5, 32))) ** 2)


@norms_are_kept.control("without c_sigma")
def _(key):
    key_w, key_x = jax.random.split(key)
    layers = [jnp.sum(g**2) for g in _features(_weights(key_w, (5, 32, 32, 32, 1)), 2 * _unit(key_x, 1, 5), constant=1.0)[1:]]
    return equal_in_mean(jnp.stack(layers), 4.0)


@norms_are_kept.control("erf away from norm 1")
def _(key):
    key_w, key_x = jax.random.split(key)
    return equal_in_mean(_norm_after_erf(key_w, 2 * _unit(key_x, 1, 5)), 4.0)


def _backward(features, weights):
    """b^(1), ..., b^(L + 1) at the features of the way forth."""
    found = [jnp.ones((len(features[0]), 1))]
    for feature, weight in zip(features[:0:-1], weights[:0:-1], strict=True):
        found.append(jnp.sqrt(C_RELU / feature.shape[1]) * (feature > 0) * (found[-1] @ weight))
    return found[::-1]


def _layers(features, backward):
    """<g^(h-1), g^(h-1)> <b^(h), b^(h)> for h = 1, ..., L + 1."""
    return [(g @ g.T) * (b @ b.T) for g, b in zip(features, backward, strict=True)]


def _layerwise(weights, x):
    features = _features(weights, x)
    return sum(_layers(features, _backward(features, weights)))


@claim(
    "NTK-14.layers",
    title="The kernel of a net is a sum over layers of products of forward and backward Gram matrices",
    source="Arora et al., Theory of Deep Learning, section 9.4, eq. (9.13)-(9.14)",
    statement=r"\langle \partial_{W^{(h)}} f(x), \partial_{W^{(h)}} f(x') \rangle = \langle g^{(h-1)}(x), g^{(h-1)}(x') \rangle"
    r" \, \langle b^{(h)}(x), b^{(h)}(x') \rangle",
)
def forward_times_backward(key):
    weights, x = _weights(key, (5, 32, 24, 16, 1)), jax.random.normal(key, (6, 5))
    return equal(_layerwise(weights, x), _empirical(_outputs, weights, x, x), rtol=1e-10, atol=1e-10)


@forward_times_backward.control("without the last layer")
def _(key):
    weights, x = _weights(key, (5, 32, 24, 16, 1)), jax.random.normal(key, (6, 5))
    last = _features(weights, x)[-1]
    return equal(_layerwise(weights, x) - last @ last.T, _empirical(_outputs, weights, x, x), rtol=1e-10, atol=1e-10)


def _mean_errors(key, empirical, kernel, widths=WIDTHS, num_draws=16):
    """Mean relative distance of empirical kernels `empirical(key, width)` from `kernel`, for each width."""

    def error(key, width):
        return jnp.linalg.norm(empirical(key, width) - kernel) / jnp.linalg.norm(kernel)

    keys = jax.random.split(key, num_draws)
    return jnp.stack([jax.lax.map(lambda k, m=width: error(k, m), keys).mean() for width in widths])


def _falls(errors, widths=WIDTHS):
    return converges(errors, order=-0.5, steps=jnp.array(widths, float), tolerance=0.25)


@claim(
    "NTK-16",
    title="The kernel of a finite net tends to the recursion's, with errors as one over the root of the width",
    source="Jacot, Gabriel & Hongler 2018; Arora et al. 2019, Theorem 3.1",
    statement=r"\langle \partial_w f(x), \partial_w f(x') \rangle \to \Theta^{(L)}(x, x'), \quad \text{error } O(m^{-1/2})",
    num_seeds=8,
    chunk_size=1,
    budget=12.0,
)
def wide_nets(key):
    """Three hidden ReLU layers, widths 32, 128 and 512, mean over 16 nets each."""
    return _wide_errors(key, lambda key, weights, x: _layerwise(weights, x))


def _wide_errors(key, kernel_of):
    x = _unit(key, 3, 4)

    def empirical(key, width):
        return kernel_of(key, _weights(key, _shape(width)), x)

    return _falls(_mean_errors(key, empirical, infinite.fully_connected(x, depth=3, activation="relu").ntk))


def _shape(width):
    return 4, width, width, width, 1


@wide_nets.control("the third matrix tied to the second, which makes gradients depend on the forward pass")
def _(key):
    return _wide_errors(key, lambda key, weights, x: _layerwise([*weights[:2], weights[1].T, weights[3]], x))


@wide_nets.control("the standard parametrization, whose weights hold the factor sqrt(c / d): the kernel grows with the width")
def _(key):
    def kernel_of(key, weights, x):
        features = _features(weights, x)
        first, *others = _layers(features, _backward(features, weights))
        return first + len(weights[0]) / C_RELU * sum(others)

    return _wide_errors(key, kernel_of)


@wide_nets.control("the covariance of the outputs in place of the tangent kernel")
def _(key):
    x = _unit(key, 3, 4)
    nngp = infinite.fully_connected(x, depth=3, activation="relu").nngp
    return _falls(_mean_errors(key, lambda k, width: _layerwise(_weights(k, (4, width, width, width, 1)), x), nngp))


@claim(
    "NTK-16.fresh",
    title="On the way back the weights may be fresh copies, independent of those of the way forth, with the same limit",
    source="Arora et al., Theory of Deep Learning, section 9.4 (independence of gradients); Yang 2019",
    statement=r"b^{(h)} = \sqrt{c_\sigma / d_h} \, D^{(h)} (\tilde W^{(h+1)})^\top b^{(h+1)}, \; \tilde W \text{ independent of } W: \quad"
    r" \langle b^{(h)}(x), b^{(h)}(x') \rangle \to \prod_{h'=h}^{L} \dot\Sigma^{(h')}(x, x')",
    num_seeds=4,
    chunk_size=1,
    budget=8.0,
)
def fresh_copies(key):
    return _fresh_errors(key, lambda copies: copies)


def _fresh_errors(key, change):
    def kernel_of(key, weights, x):
        features = _features(weights, x)
        copies = change(_weights(jax.random.fold_in(key, 1), _shape(len(weights[0]))))
        return sum(_layers(features, _backward(features, copies)))

    return _wide_errors(key, kernel_of)


@fresh_copies.control("copies of the same second moment, with a mean")
def _(key):
    return _fresh_errors(key, lambda copies: [jnp.abs(copy) for copy in copies])


CHANNELS = (12, 36, 108)
IMAGE = (4, 4, 3)


def _cnn(weights, x, pooling):
    """Two convolutions of 3 x 3 with zero padding, the first not normalized, and a dense layer."""
    *filters, last = weights
    for weight in filters:
        wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = jnp.concatenate([wide[:, a : a + IMAGE[0], b : b + IMAGE[1]] for a in range(3) for b in range(3)], axis=-1)
        x = jax.nn.relu(patches @ weight.T) * jnp.sqrt(C_RELU / (9 * weight.shape[0]))
    return x.mean(axis=(1, 2)) @ last[: x.shape[-1]] if pooling == "gap" else x.reshape(len(x), -1) @ last


def _cnn_errors(key, kernels):
    """Slopes of the errors for both ways of reading out."""
    x = jax.random.normal(key, (2, *IMAGE))
    checks = {}
    for pooling in ("flatten", "gap"):

        def empirical(key, width, pooling=pooling):
            keys = jax.random.split(key, 3)
            shapes = ((width, 9 * IMAGE[2]), (width, 9 * width), (width * (16 if pooling == "flatten" else 1),))
            weights = [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]
            return _empirical(lambda w, x: _cnn(w, x, pooling), weights, x, x)

        checks[pooling] = _falls(_mean_errors(key, empirical, kernels(x, pooling), CHANNELS, 24), CHANNELS)
    return checks


@claim(
    "NTK-23",
    title="Wide convolutional nets have the convolutional kernel, read out flat or by global average pooling",
    source="Arora et al. 2019, section 4",
    statement=r"\Theta^{(h)} = T(\dot K^{(h)} \odot \Theta^{(h-1)} + K^{(h)}), \; \Theta^{(L)} = \dot K^{(L)} \odot \Theta^{(L-1)} + K^{(L)}:"
    r" \quad \sum_{ij} \Theta^{(L)}_{ij,ij}, \; \frac{1}{(PQ)^2} \sum_{ij,kl} \Theta^{(L)}_{ij,kl}",
    num_seeds=4,
    chunk_size=1,
    budget=20.0,
)
def wide_convolutional_nets(key):
    """Images of 4 x 4 x 3, two convolutions of 3 x 3; the source mentions these kernels and gives no formula."""
    return _cnn_errors(key, lambda x, pooling: infinite.convolutional(x, depth=2, filter_size=3, activation="relu", pooling=pooling).ntk)


@wide_convolutional_nets.control("circular padding in the kernel")
def _(key):
    options = {"depth": 2, "filter_size": 3, "activation": "relu", "padding": "circular"}
    return _cnn_errors(key, lambda x, pooling: infinite.convolutional(x, pooling=pooling, **options).ntk)


@wide_convolutional_nets.control("without 1 / q^2 in the kernel")
def _(key):
    options = {"depth": 2, "filter_size": 3, "activation": "relu", "weight_variance": 9.0}
    return _cnn_errors(key, lambda x, pooling: infinite.convolutional(x / 3, pooling=pooling, **options).ntk)


def _random_graph(key, nodes):
    key_edges, key_features = jax.random.split(key)
    upper = jnp.triu(jax.random.bernoulli(key_edges, 0.5, (nodes, nodes)), 1).astype(float)
    return upper + upper.T, _unit(key_features, nodes, 3)


def _graph_errors(key, *, self_loops=True):
    """Two graphs of 4 and 5 nodes, two blocks of mean aggregation and two ReLU layers; nets with or without self loops."""
    keys = jax.random.split(key, 3)
    graphs = [_random_graph(keys[0], 4), _random_graph(keys[1], 5)]
    hops = [adjacency + (jnp.eye(len(adjacency)) if self_loops else 0) for adjacency, _ in graphs]
    hops = [hop / jnp.maximum(hop.sum(axis=1, keepdims=True), 1) for hop in hops]

    def net(weights, which):
        hop, h = hops[which], graphs[which][1]
        for layer, weight in enumerate(weights[:-1]):
            h = hop @ h if layer % 2 == 0 else h
            h = jnp.sqrt(C_RELU / weight.shape[0]) * jax.nn.relu(h @ weight.T)
        return jnp.sum(h @ weights[-1][0])[None]

    def empirical(key, width):
        weights = _weights(key, (3, width, width, width, width, 1))
        return _empirical(net, weights, 0, 1)

    kernel = infinite.graph(*graphs[0], *graphs[1], blocks=2, layers=2, aggregate="mean").ntk
    return _falls(_mean_errors(keys[2], empirical, kernel[None, None], num_draws=32))


@claim(
    "NTK-24",
    title="Wide graph nets have the graph kernel",
    source="Du, Hou, Salakhutdinov, Poczos, Wang & Xu 2019",
    statement=r"\Sigma, \Theta \leftarrow c_u c_{u'} \sum_{v \in N(u) \cup u} \sum_{v' \in N(u') \cup u'} (\Sigma, \Theta)_{v v'},"
    r" \text{ then the layers of a deep net}, \quad k(G, G') = \sum_{u, u'} \Theta_{u u'}",
    num_seeds=4,
    chunk_size=1,
    budget=15.0,
)
def wide_graph_nets(key):
    return _graph_errors(key)


@wide_graph_nets.control("nets without self loops", fails="some")
def _(key):
    return _graph_errors(key, self_loops=False)
