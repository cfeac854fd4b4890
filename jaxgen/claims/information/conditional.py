"""Claims about conditional mutual information, chain rules and the information diagram (INFO-4, INFO-5, INFO-10)."""

import math

import jax
import jax.numpy as jnp

from jaxgen import information
from jaxgen.claims import at_least, claim, equal, less
from jaxgen.claims.information._problems import covariances, simplex_points, tables

ROUNDING = 1e-12


def _xor(key):
    """The law of fair bits X, Y and Z = X xor Y."""
    x, y, z = jnp.indices((2, 2, 2))
    return jnp.where((x + y + z) % 2 == 0, 0.25, 0.0)


def _markov_chain(key):
    """A random law of X - Z - Y."""
    keys = jax.random.split(key, 3)
    pz, px_given_z, py_given_z = simplex_points(keys[0], 4), simplex_points(keys[1], 4, 3), simplex_points(keys[2], 4, 3)
    return jnp.einsum("z,zx,zy->xyz", pz, px_given_z, py_given_z)


@claim(
    "INFO-4",
    title="Conditional mutual information as a difference of entropies and as a mean of disintegrated informations",
    source="Cover & Thomas 2006, section 2.5; Negrea et al. 2019",
    statement=r"I(X;Y|Z) = H(X|Z) - H(X|Y,Z) = \mathbb{E}_Z I^Z(X;Y) \ge 0",
    core=True,
)
def conditional_information_of_tables(key):
    def forms(pxyz):
        difference = information.conditional_entropy(pxyz.sum(axis=1), 1) - information.conditional_entropy(pxyz, (1, 2))
        mean = jnp.vdot(pxyz.sum(axis=(0, 1)), information.conditional_mutual_information(pxyz, disintegrated=True))
        return information.conditional_mutual_information(pxyz), difference, mean

    value, difference, mean = jax.vmap(forms)(tables(key, 3, 4, 5))
    return {
        "entropies": equal(value, difference, rtol=0.0, atol=ROUNDING),
        "disintegrated": equal(value, mean, rtol=0.0, atol=ROUNDING),
        "nonnegative": at_least(value, 0.0),
    }


@conditional_information_of_tables.control("values of Z weighted equally")
def _(key):
    def forms(pxyz):
        return information.conditional_mutual_information(pxyz), information.conditional_mutual_information(pxyz, disintegrated=True).mean()

    value, mean = jax.vmap(forms)(tables(key, 3, 4, 5))
    return equal(value, mean, rtol=0.0, atol=ROUNDING)


@claim(
    "INFO-4.examples",
    title="Conditioning can create and can remove information",
    source="Cover & Thomas 2006, section 2.8",
    statement=r"$Z = X \oplus Y$: $0 = I(X;Y) < I(X;Y|Z) = \log 2$. Markov chain $X - Z - Y$: $0 = I(X;Y|Z) < I(X;Y)$",
)
def conditioning_creates_and_removes_information(key):
    xor, chain = _xor(key), _markov_chain(key)
    return {
        "xor": equal(information.conditional_mutual_information(xor), math.log(2), rtol=ROUNDING),
        "xor, not conditioned": equal(information.mutual_information(xor.sum(axis=2)), 0.0, rtol=0.0, atol=ROUNDING),
        "chain": equal(information.conditional_mutual_information(chain), 0.0, rtol=0.0, atol=ROUNDING),
        "chain, not conditioned": less(ROUNDING, information.mutual_information(chain.sum(axis=2))),
    }


@conditioning_creates_and_removes_information.control("an independent coin in place of the XOR")
def _(key):
    return equal(information.conditional_mutual_information(jnp.full((2, 2, 2), 0.125)), math.log(2), rtol=ROUNDING)


@conditioning_creates_and_removes_information.control("X and Y not independent given Z")
def _(key):
    return equal(information.conditional_mutual_information(tables(key, 3, 3, 4)[0]), 0.0, rtol=0.0, atol=ROUNDING)


def _gaussian_informations(key):
    """I(X;Y|Z) of random Gaussians with 2, 3 and 2 coordinates, by the Schur complement and by the chain rule; I(X;Y) too."""

    def informations(cov):
        kept, given = slice(0, 5), slice(5, 7)
        schur = cov[kept, kept] - cov[kept, given] @ jnp.linalg.solve(cov[given, given], cov[given, kept])
        xz = jnp.r_[0:2, 5:7]
        by_chain_rule = information.gaussian_mutual_information(cov, 2) - information.gaussian_mutual_information(cov[jnp.ix_(xz, xz)], 2)
        value = information.gaussian_conditional_mutual_information(cov, 2, 3)
        return value, information.gaussian_mutual_information(schur, 2), by_chain_rule, information.gaussian_mutual_information(cov[kept, kept], 2)

    return jax.vmap(informations)(covariances(key, 7))


@claim(
    "INFO-4.gaussian",
    title="Conditional mutual information of Gaussians: Schur complement and chain rule",
    source="Cover & Thomas 2006, section 8.6",
    statement=r"I(X;Y|Z) = \frac{1}{2} \log \frac{|\Sigma_{X|Z}| |\Sigma_{Y|Z}|}{|\Sigma_{XY|Z}|} = I(X;Y,Z) - I(X;Z)",
)
def conditional_information_of_gaussians(key):
    value, schur, by_chain_rule, _ = _gaussian_informations(key)
    return {"Schur complement": equal(value, schur, rtol=1e-11), "chain rule": equal(value, by_chain_rule, rtol=0.0, atol=1e-11)}


@conditional_information_of_gaussians.control("Z integrated out in place of given")
def _(key):
    value, _, _, marginal = _gaussian_informations(key)
    return equal(value, marginal, rtol=1e-11)


@claim(
    "INFO-5",
    title="Chain rules of entropy, mutual information and relative entropy",
    source="Cover & Thomas 2006, Theorems 2.5.1 to 2.5.3",
    statement=r"H(X_{1:n}) = \sum_i H(X_i | X_{<i}), \quad I(X_{1:n};Y) = \sum_i I(X_i;Y|X_{<i}),"
    r" \quad D(Q_{XY} \| P_{XY}) = D(Q_X \| P_X) + \mathbb{E}_{x \sim Q_X} D(Q_{Y|x} \| P_{Y|x})",
    core=True,
)
def chain_rules(key):
    """The source leaves open over which law the conditional relative entropy is averaged; it is Q_X."""

    def sides(p, q):
        flat_p, flat_q = p.reshape(3, 20), q.reshape(3, 20)
        entropies = [
            information.entropy(p.sum(axis=(1, 2))),
            information.conditional_entropy(p.sum(axis=2), 0),
            information.conditional_entropy(p, (0, 1)),
        ]
        informations = [information.mutual_information(p.sum(axis=1)), information.conditional_mutual_information(p.transpose(1, 2, 0))]
        divergences = [information.kl_divergence(flat_q.sum(axis=1), flat_p.sum(axis=1)), information.conditional_kl(flat_q, flat_p)]
        joint = information.entropy(p), information.mutual_information(p.reshape(12, 5)), information.kl_divergence(q, p)
        return joint, (sum(entropies), sum(informations), sum(divergences))

    key_p, key_q = jax.random.split(key)
    joint, sums = jax.vmap(sides)(tables(key_p, 3, 4, 5), tables(key_q, 3, 4, 5))
    names = ("entropy", "mutual information", "relative entropy")
    return {name: equal(left, right, rtol=0.0, atol=ROUNDING) for name, left, right in zip(names, joint, sums, strict=True)}


@chain_rules.control("conditional relative entropy averaged over P_X")
def _(key):
    def sides(p, q):
        qx, px = q.sum(axis=1), p.sum(axis=1)
        given_each_x = jax.vmap(information.kl_divergence)(q / qx[:, None], p / px[:, None])
        return information.kl_divergence(q, p), information.kl_divergence(qx, px) + jnp.vdot(px, given_each_x)

    key_p, key_q = jax.random.split(key)
    joint, total = jax.vmap(sides)(tables(key_p, 3, 20), tables(key_q, 3, 20))
    return equal(joint, total, rtol=0.0, atol=1e-3)


@chain_rules.control("informations of the parts not conditioned on the earlier ones")
def _(key):
    def sides(p):
        parts = information.mutual_information(p.sum(axis=1)) + information.mutual_information(p.sum(axis=0))
        return information.mutual_information(p.reshape(12, 5)), parts

    joint, total = jax.vmap(sides)(tables(key, 3, 4, 5))
    return equal(joint, total, rtol=0.0, atol=1e-3)


@claim(
    "INFO-10",
    title="The seven atoms of the information diagram add up",
    source="Yeung 1991",
    statement=r"$H(X|Y,Z) + \ldots + I(X;Y;Z) = H(X,Y,Z)$, and the four atoms inside $X$ sum to $H(X)$",
)
def information_diagram_adds_up(key):
    """For three variables the central atom may be negative: areas of the picture are not to be taken literally."""

    def sums(pxyz):
        atoms = information.information_diagram(pxyz)
        inside_x = [atoms[name] for name in ("H(X|Y,Z)", "I(X;Y|Z)", "I(X;Z|Y)", "I(X;Y;Z)")]
        return (sum(atoms.values()), sum(inside_x)), (information.entropy(pxyz), information.entropy(pxyz.sum(axis=(1, 2))))

    found, expected = jax.vmap(sums)(tables(key, 3, 4, 5))
    return {
        "sums": equal(found, expected, rtol=ROUNDING),
        "centre of the XOR": equal(information.information_diagram(_xor(key))["I(X;Y;Z)"], -math.log(2), rtol=ROUNDING),
    }


@information_diagram_adds_up.control("sign of the central atom dropped")
def _(key):
    pxyz = _xor(key)
    return equal(sum(jnp.abs(atom) for atom in information.information_diagram(pxyz).values()), information.entropy(pxyz), rtol=ROUNDING)
