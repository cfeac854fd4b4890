"""Claims about derivatives on computation graphs (AD-1, AD-2)."""

import jax
import jax.numpy as jnp

from jaxgen import gradients
from jaxgen.claims import claim, equal, rejects

NUM_NODES = 30
EDGE_PROBABILITY = 0.285
ROUNDING = 1e-12


def _network(key):
    """A net x -> W_3 tanh(W_2 tanh(W_1 x)), its loss with nodes tagged, and an input."""
    keys = jax.random.split(key, 5)
    widths = (5, 7, 6, 4)
    weights = [jax.random.normal(k, (b, a)) / jnp.sqrt(a) for k, a, b in zip(keys[:3], widths[:-1], widths[1:], strict=True)]
    x, y = jax.random.normal(keys[3], (5,)), jax.random.normal(keys[4], (4,))

    def loss(node, weights):
        h = node("h0", x)
        for layer, weight in enumerate(weights, 1):
            u = node(f"u{layer}", weight @ h)
            h = node(f"h{layer}", jnp.tanh(u))
        return 0.5 * jnp.sum((u - y) ** 2)

    return weights, loss


def _messages(key):
    """Weights, what was found at the nodes, and the gradients of the weights by `jax.grad`."""
    weights, loss = _network(key)
    found = gradients.node_sensitivities(loss, weights)
    return weights, found, jax.grad(lambda weights: loss(lambda name, value: value, weights))(weights)


@claim(
    "AD-1",
    title="Derivatives at nodes suffice",
    source="Arora et al., Theory of Deep Learning, Claim 4.1.1",
    statement=r"u = \sum_k w_k z_k \; \Rightarrow \; \frac{\partial f}{\partial w_k} = \frac{\partial f}{\partial u} z_k,"
    r" \qquad \frac{\partial f}{\partial z} = \sum_j \frac{\partial f}{\partial u_j} \frac{\partial u_j}{\partial z}",
    core=True,
)
def node_derivatives(key):
    """u is a weighted sum; the figures' captions call it an average, which would need weights that sum to one."""
    weights, found, expected = _messages(key)
    outer = [jnp.outer(found.gradients[f"u{layer}"], found.values[f"h{layer - 1}"]) for layer in (1, 2, 3)]
    sums = [weights[layer].T @ found.gradients[f"u{layer + 1}"] for layer in (1, 2)]
    return {
        "weights": equal(outer, expected, rtol=0, atol=ROUNDING),
        "nodes": equal(sums, [found.gradients["h1"], found.gradients["h2"]], rtol=0, atol=ROUNDING),
    }


@node_derivatives.control("average over the outputs of a node in place of the sum")
def _(key):
    weights, found, _ = _messages(key)
    averages = [weights[layer].T @ found.gradients[f"u{layer + 1}"] / len(weights[layer]) for layer in (1, 2)]
    return equal(averages, [found.gradients["h1"], found.gradients["h2"]], rtol=0, atol=ROUNDING)


@node_derivatives.control("derivative at the output of the nonlinearity in place of its input")
def _(key):
    _, found, expected = _messages(key)
    return equal(jnp.outer(found.gradients["h2"], found.values["h1"]), expected[1], rtol=0, atol=ROUNDING)


def _graph(key):
    """Weights of a random acyclic graph, its value at perturbations of the nodes, and its local derivatives.

    Every node is the tanh of a weighted sum of the nodes that feed it, plus its own perturbation.
    """
    key_edge, key_weight, key_leaf = jax.random.split(key, 3)
    edges = jnp.tril(jax.random.bernoulli(key_edge, EDGE_PROBABILITY, (NUM_NODES, NUM_NODES)), -1)
    weights = edges * jax.random.normal(key_weight, edges.shape)
    leaves = jax.random.normal(key_leaf, (NUM_NODES,))

    def values(perturbation):
        def one(nodes, u):
            return nodes.at[u].set(jnp.tanh(weights[u] @ nodes) + leaves[u] + perturbation[u]), None

        return jax.lax.scan(one, jnp.zeros(NUM_NODES), jnp.arange(NUM_NODES))[0]

    slopes = 1 - jnp.tanh(weights @ values(jnp.zeros(NUM_NODES))) ** 2
    return values, slopes[:, None] * weights


@claim(
    "AD-2",
    title="Backpropagation is one sweep backwards, forward accumulation one for every source",
    source="Arora et al., Theory of Deep Learning, Algorithm 4 and Lemma 4.2.1",
    statement=r"\frac{\partial f}{\partial z} = \sum_u D_{uz} \frac{\partial f}{\partial u}:"
    r" \quad S = (I - D)^{-\top} e_{\mathrm{out}}, \qquad \left( \frac{\partial u}{\partial z} \right)_{u,z} = (I - D)^{-1}",
    core=True,
)
def backpropagation(key):
    values, derivatives = _graph(key)
    found, pairs = gradients.dag_backprop(derivatives, -1), gradients.dag_forward_all_pairs(derivatives)
    origin = jnp.zeros(NUM_NODES)
    inverse = jnp.linalg.inv(jnp.eye(NUM_NODES) - derivatives)
    return {
        "reverse mode": equal(found, jax.grad(lambda p: values(p)[-1])(origin), rtol=ROUNDING, atol=ROUNDING),
        "forward mode": equal(pairs, jax.jacfwd(values)(origin), rtol=ROUNDING, atol=ROUNDING),
        "inverse": equal(pairs, inverse, rtol=1e-10, atol=1e-10),
        "last row": equal(found, pairs[-1], rtol=ROUNDING, atol=ROUNDING),
    }


@backpropagation.control("direct edges only, no paths")
def _(key):
    _, derivatives = _graph(key)
    return equal(gradients.dag_backprop(derivatives, -1)[:-1], derivatives[-1, :-1], rtol=ROUNDING, atol=ROUNDING)


@backpropagation.control("edges followed the wrong way")
def _(key):
    _, derivatives = _graph(key)
    return equal(gradients.dag_backprop(derivatives, -1), gradients.dag_forward_all_pairs(derivatives)[:, -1], rtol=ROUNDING, atol=ROUNDING)


def _scalar_program(key):
    """A linear graph as a program of scalars, one multiplication an edge; the number of its edges."""
    _, derivatives = _graph(key)
    rows = [[(z, float(d)) for z, d in enumerate(row) if d] for row in jax.device_get(derivatives)]

    def values(perturbations):
        nodes = []
        for perturbation, row in zip(perturbations, rows, strict=True):
            nodes.append(sum((d * nodes[z] for z, d in row), perturbation))
        return nodes

    return values, sum(map(len, rows))


def _multiplications(fn, *args):
    return sum(equation.primitive.name == "mul" for equation in jax.make_jaxpr(fn)(*args).eqns)


@claim(
    "AD-2.cost",
    title="Backpropagation multiplies once an edge, forward accumulation once an edge and source",
    source="Arora et al., Theory of Deep Learning, sections 4.1.2 and 4.2",
    statement=r"$E$ multiplications for all $\partial f / \partial z$ backwards, $V E$ for all pairs forwards:"
    r" about $124$ and $3720$ for $V = 30$ nodes and $E \approx 124$ edges",
    jittable=False,
    num_seeds=2,
    max_seeds=4,
)
def costs_of_accumulation(key):
    """Counted in the programs that JAX's own reverse and forward modes make of a graph of scalars; f is the sum of all nodes."""
    values, num_edges = _scalar_program(key)
    zeros = [0.0] * NUM_NODES
    reverse = _multiplications(jax.linear_transpose(lambda *nodes: values(nodes), *zeros), [1.0] * NUM_NODES)
    return {"backwards": equal(reverse, num_edges, rtol=0), "forwards": equal(_forward_cost(values), NUM_NODES * num_edges, rtol=0)}


def _forward_cost(values):
    zeros = [0.0] * NUM_NODES
    _, push = jax.linearize(lambda *nodes: values(nodes), *zeros)
    sources = [[1.0 * (i == source) for i in range(NUM_NODES)] for source in range(NUM_NODES)]
    return sum(_multiplications(push, *direction) for direction in sources)


@costs_of_accumulation.control("forward accumulation at the cost of one sweep")
def _(key):
    values, num_edges = _scalar_program(key)
    return equal(_forward_cost(values), num_edges, rtol=0)


@claim(
    "AD-2.cycle",
    title="A graph with a cycle is refused",
    source="Arora et al., Theory of Deep Learning, section 4.2",
    statement=r"D_{uz} \ne 0 \text{ for } u \le z \text{ in topological order: a cycle}",
    jittable=False,
    num_seeds=4,
    max_seeds=16,
)
def cycles_are_refused(key):
    _, derivatives = _graph(key)
    source, target = jnp.sort(jax.random.choice(jax.random.fold_in(key, 1), NUM_NODES, (2,), replace=False))
    cyclic = derivatives.at[source, target].set(1.0)
    return {
        "backwards": rejects(gradients.dag_backprop, cyclic, -1, match="cycle"),
        "forwards": rejects(gradients.dag_forward_all_pairs, cyclic, match="cycle"),
    }


@cycles_are_refused.control("a graph without a cycle")
def _(key):
    _, derivatives = _graph(key)
    return rejects(gradients.dag_backprop, derivatives, -1, match="cycle")
