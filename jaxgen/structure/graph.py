"""A traced function as a flat graph of primitive operations, each of which can be evaluated by itself."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.core import eval_jaxpr
from jax.extend.core import Literal
from jaxtyping import PyTree

from jaxgen._core.convolution import convolution_by_patches

INLINED = {"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_lin"}
"""Calls that are nothing but their body. Rules of `custom_jvp` and `custom_vjp` survive: those stay nodes."""

PLACED = {"reshard"}
"""Operations that say where their operand lies. JAX puts them into what is traced under a mesh of automatic axes, as in `seeds.run`."""

CHILDREN = {"scan": ("jaxpr",), "while": ("cond_jaxpr", "body_jaxpr"), "cond": ("branches",)}
CHILDREN |= {"custom_jvp_call": ("call_jaxpr",), "custom_vjp_call": ("call_jaxpr", "fun_jaxpr"), "custom_vjp_call_jaxpr": ("fun_jaxpr",)}
"""Parameters that hold the bodies of operations with bodies."""


class Constant:
    """An operand that is a number in the program's text."""

    def __init__(self, value: Any):
        self.value = value


Atom = int | Constant


@dataclasses.dataclass(eq=False)
class Node:
    """One operation.

    Attributes:
        primitive: its name.
        params: its parameters.
        inputs: operands: variables by number, or constants.
        outputs: the variables it defines.
        scope: the modules or named scopes that it is in, or "".
        evaluate: its results, a list, from the values of all operands.
        children: graphs of its bodies, if it has bodies.
    """

    primitive: str
    params: dict[str, Any]
    inputs: tuple[Atom, ...]
    outputs: tuple[int, ...]
    scope: str
    evaluate: Callable[..., list[Any]]
    children: tuple["Graph", ...]

    def __str__(self) -> str:
        return f"{self.primitive} in {self.scope}" if self.scope else self.primitive


@dataclasses.dataclass(eq=False)
class Graph:
    """Operations in order of evaluation.

    Attributes:
        inputs: variables that hold the arguments.
        outputs: what is returned.
        nodes: the operations.
        constants: arrays that the function closes over, by variable.
        avals: shape and dtype of every variable.
        producers: the node that defines a variable, where one does.
    """

    inputs: tuple[int, ...]
    outputs: tuple[Atom, ...]
    nodes: list[Node]
    constants: dict[int, Any]
    avals: list[Any]
    producers: dict[int, Node]

    def shape(self, atom: Atom) -> tuple[int, ...]:
        """Shape of an operand."""
        return np.shape(atom.value) if isinstance(atom, Constant) else self.avals[atom].shape

    def dtype(self, atom: Atom) -> Any:
        """Dtype of an operand."""
        return np.result_type(atom.value) if isinstance(atom, Constant) else self.avals[atom].dtype


def trace(fn: Callable[..., Any], *args: PyTree, by_patches: bool = False) -> tuple[Graph, PyTree]:
    """The graph of `fn` on arguments like `args`, whose leaves are its inputs in order, and the result's shapes.

    With `by_patches`, convolutions are replaced by products of matrices, as far as `convolution_by_patches` knows them.
    """
    leaves, structure = jax.tree.flatten(args)
    shapes = [jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves]
    program, result = jax.make_jaxpr(lambda *flat: fn(*jax.tree.unflatten(structure, flat)), return_shape=True)(*shapes)
    return flatten(program, by_patches=by_patches), result


def flatten(program: Any, within: str = "", *, by_patches: bool = False) -> Graph:
    """The graph of a traced program, with calls inlined."""
    jaxpr, consts = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    graph = Graph((), (), [], {}, [], {})

    def define(variable: Any) -> int:
        graph.avals.append(variable.aval)
        return len(graph.avals) - 1

    def read(names: dict[Any, Atom], operand: Any) -> Atom:
        return Constant(operand.val) if isinstance(operand, Literal) else names[operand]

    def close(names: dict[Any, Atom], variables: Sequence[Any], values: Sequence[Any]) -> None:
        for variable, value in zip(variables, values, strict=True):
            number = names[variable] = define(variable)
            graph.constants[number] = value

    def inline(body: Any, names: dict[Any, Atom], within: str) -> list[Atom]:
        for equation in body.eqns:
            name, scope = str(equation.primitive), "/".join(filter(None, (within, str(equation.source_info.name_stack))))
            operands = [read(names, operand) for operand in equation.invars]
            if name in PLACED:
                names.update(zip(equation.outvars, operands, strict=True))
                continue
            called = equation.params.get("jaxpr", equation.params.get("call_jaxpr")) if name in INLINED else None
            if name == "stack":
                called = _stack(equation)
            if name == "conv_general_dilated" and by_patches:
                called = _patches(equation)
            if called is not None:
                inner = getattr(called, "jaxpr", called)
                inside: dict[Any, Atom] = dict(zip(inner.invars, operands, strict=True))
                close(inside, inner.constvars, getattr(called, "consts", ()))
                names.update(zip(equation.outvars, inline(inner, inside, scope), strict=True))
                continue
            defined = tuple(define(variable) for variable in equation.outvars)
            names.update(zip(equation.outvars, defined, strict=True))
            bodies = [equation.params[key] for key in CHILDREN.get(name, ()) if key in equation.params]
            bodies = [child for body in bodies for child in (body if isinstance(body, tuple) else (body,))]
            children = tuple(flatten(body, scope, by_patches=by_patches) for body in bodies)
            node = Node(name, equation.params, tuple(operands), defined, scope, _evaluator(equation, jaxpr), children)
            graph.nodes.append(node)
            graph.producers.update(dict.fromkeys(defined, node))
        return [read(names, operand) for operand in body.outvars]

    names: dict[Any, Atom] = {}
    close(names, jaxpr.constvars, consts)
    graph.inputs = tuple(define(variable) for variable in jaxpr.invars)
    names.update(zip(jaxpr.invars, graph.inputs, strict=True))
    graph.outputs = tuple(inline(jaxpr, names, within))
    return graph


def _stack(equation: Any) -> Any:
    """The program of a stack in operations that there are rules for."""
    axis = equation.params["axis"]
    shapes = [jax.ShapeDtypeStruct(operand.aval.shape, operand.aval.dtype) for operand in equation.invars]
    return jax.make_jaxpr(lambda *parts: jax.lax.concatenate([jax.lax.expand_dims(part, (axis,)) for part in parts], axis))(*shapes)


def _patches(equation: Any) -> Any:
    """The program of a convolution as a product of patches with its kernel; None where that is not known."""
    params = equation.params
    options = {name: params[name] for name in ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "dimension_numbers", "precision")}
    shapes = [jax.ShapeDtypeStruct(operand.aval.shape, operand.aval.dtype) for operand in equation.invars]
    if params["batch_group_count"] != 1 or params["preferred_element_type"] not in (None, shapes[0].dtype):
        return None
    try:
        return jax.make_jaxpr(partial(convolution_by_patches, feature_group_count=params["feature_group_count"], **options))(*shapes)
    except ValueError:
        return None


def _evaluator(equation: Any, template: Any) -> Callable[..., list[Any]]:
    positions = {v: i for i, v in reversed(list(enumerate(equation.invars))) if not isinstance(v, Literal)}
    single = template.replace(constvars=[], invars=list(positions), outvars=equation.outvars, eqns=[equation])

    def evaluate(*values: Any) -> list[Any]:
        return eval_jaxpr(single, (), *(values[i] for i in positions.values()))

    return evaluate
