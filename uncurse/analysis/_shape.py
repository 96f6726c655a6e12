"""What the traced source proves of itself: independent, affine, convex or concave in chosen arguments; and smooth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.extend import core


@dataclass(frozen=True)
class Shape:
    """What is known of a value as a function of the chosen arguments; every flag is a proof, its absence is not."""

    independent: bool = False
    affine: bool = False
    convex: bool = False
    concave: bool = False
    smooth: bool = False
    sign: int | None = None     # +1: >= 0, -1: <= 0, of an independent or convex value; None where unknown

    def negated(self) -> "Shape":
        sign = None if self.sign is None else -self.sign
        return Shape(self.independent, self.affine, self.concave, self.convex, self.smooth, sign)

    def scaled(self, factor: "Shape") -> "Shape":
        """Times a value that is independent of the chosen arguments."""
        if factor.sign is not None:
            return self if factor.sign > 0 else self.negated()
        return Shape(self.independent, self.affine, self.affine, self.affine, self.smooth)


CONSTANT = Shape(True, True, True, True, True)
VARIABLE = Shape(False, True, True, True, True)
UNKNOWN = Shape()
SMOOTH = Shape(smooth=True)

LINEAR = frozenset({
    "reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose", "reduce_sum", "slice", "convert_element_type",
    "copy", "copy_p", "rev", "concatenate", "pad", "gather", "dynamic_slice", "cumsum", "real", "reduce_precision",
})
SMOOTH_FUNCTIONS = frozenset({              # not roots and powers: they have a corner at 0
    "sin", "cos", "tan", "tanh", "exp", "exp2", "log", "log1p", "expm1", "logistic", "erf", "erfc", "div", "mul",
    "integer_pow", "square", "atan", "asinh", "sinh", "cosh", "dot_general",
})
CALLS = {"pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr",
         "custom_vjp_call": "call_jaxpr", "remat": "jaxpr", "checkpoint": "jaxpr"}


def shape_in(function: Callable, inputs: Sequence[Any], chosen: Sequence[int]) -> Shape:
    """The shape of `function(*inputs)` in the arguments numbered in `chosen`, proved from its trace.

    The rules are those of disciplined convex programming (Grant, Boyd and Ye 2006) with squares of affine values.
    """
    closed = jax.make_jaxpr(function)(*inputs)
    shapes = [VARIABLE if i in chosen else CONSTANT for i in range(len(inputs))]
    return _walk(closed.jaxpr, [_constant(c) for c in closed.consts], shapes)[0]


def _constant(value: Any) -> Shape:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return CONSTANT
    sign = 1 if np.all(array >= 0) else -1 if np.all(array <= 0) else None
    return Shape(True, True, True, True, True, sign)


def _walk(jaxpr: Any, consts: list[Shape], inputs: list[Shape]) -> list[Shape]:
    known: dict[Any, Shape] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))
    alias: dict[Any, Any] = {}      # a value that is another value, reshaped: so that x * x is seen to be a square

    def read(atom: Any) -> Shape:
        return _constant(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for eqn in jaxpr.eqns:
        name, operands = eqn.primitive.name, [read(a) for a in eqn.invars]
        names = [alias.get(a, a) if not isinstance(a, core.Literal) else None for a in eqn.invars]
        if name in CALLS:
            inner = eqn.params[CALLS[name]]
            body, closed = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())
            results = _walk(body, [_constant(c) for c in closed], operands)
        else:
            same = len(names) == 2 and names[0] is not None and names[0] is names[1]
            results = [_rule(name, operands, eqn.params, same)] * len(eqn.outvars)
        if name in ("convert_element_type", "copy"):
            alias[eqn.outvars[0]] = names[0]
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(a) for a in jaxpr.outvars]


def _rule(name: str, operands: list[Shape], params: dict, same: bool) -> Shape:
    if all(o.independent for o in operands):
        return Shape(True, True, True, True, True, _sign(name, operands, params, same))
    if name == "convert_element_type" and not np.issubdtype(params["new_dtype"], np.floating):
        return UNKNOWN          # rounds
    if name == "integer_pow" and params["y"] in (0, 1):
        return CONSTANT if params["y"] == 0 else operands[0]
    if name in ("add", "add_any") or (name in LINEAR and len(operands) > 1):
        return _sum(operands)
    if name == "sub":
        return _sum([operands[0], operands[1].negated()])
    if name == "neg":
        return operands[0].negated()
    if name in LINEAR:
        return operands[0]
    if name in ("mul", "dot_general"):
        return _product(name, operands, params, same)
    if name == "div" and operands[1].independent:
        return operands[0].scaled(operands[1])
    if name in ("max", "reduce_max", "abs"):
        convex = all(o.convex for o in operands) and (name != "abs" or operands[0].affine)
        return Shape(convex=convex, sign=1 if name == "abs" else None)
    if name in ("min", "reduce_min"):
        return Shape(concave=all(o.concave for o in operands))
    if name == "integer_pow" and params["y"] % 2 == 0 and params["y"] > 0:
        return Shape(convex=operands[0].affine, smooth=operands[0].smooth, sign=1)
    if name == "square":
        return Shape(convex=operands[0].affine, smooth=operands[0].smooth, sign=1)
    if name == "exp":
        return Shape(convex=operands[0].convex, smooth=operands[0].smooth, sign=1)
    if name == "select_n" and operands[0].independent:
        return replace(_common(operands[1:]), independent=False)
    return SMOOTH if name in SMOOTH_FUNCTIONS and all(o.smooth for o in operands) else UNKNOWN


def _sum(terms: list[Shape]) -> Shape:
    sign = terms[0].sign if len({t.sign for t in terms}) == 1 else None
    return replace(_common(terms), sign=sign)


def _common(values: list[Shape]) -> Shape:
    """What is known of all of them, their signs aside."""
    return Shape(
        independent=all(v.independent for v in values), affine=all(v.affine for v in values),
        convex=all(v.convex for v in values), concave=all(v.concave for v in values),
        smooth=all(v.smooth for v in values),
    )


def _product(name: str, operands: list[Shape], params: dict, same: bool) -> Shape:
    a, b = operands
    if a.independent or b.independent:
        factor, value = (a, b) if a.independent else (b, a)
        return value.scaled(factor)
    smooth = a.smooth and b.smooth
    squares = same and (name == "mul" or _full_contraction(params))
    return Shape(convex=squares and a.affine, smooth=smooth, sign=1 if squares else None)


def _full_contraction(params: dict) -> bool:
    (left, right), (batch_left, batch_right) = params["dimension_numbers"]
    return tuple(left) == tuple(right) and tuple(batch_left) == tuple(batch_right)


def _sign(name: str, operands: list[Shape], params: dict, same: bool) -> int | None:
    """The sign of a value that does not depend on the chosen arguments."""
    signs = [o.sign for o in operands]
    if name in ("exp", "abs", "square", "logistic", "sqrt") or (name == "integer_pow" and params["y"] % 2 == 0):
        return 1
    if name in ("mul", "div", "dot_general"):
        if same:
            return 1 if name != "dot_general" or _full_contraction(params) else None
        return signs[0] * signs[1] if signs[0] is not None and signs[1] is not None else None
    if name == "neg":
        return None if signs[0] is None else -signs[0]
    if name == "sub":
        second = None if signs[1] is None else -signs[1]
        return signs[0] if signs[0] == second else None
    if name in LINEAR or name in ("add", "add_any", "integer_pow"):
        return signs[0] if len(set(signs)) == 1 else None
    return None
