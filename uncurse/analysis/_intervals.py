"""Interval arithmetic over traced functions: what may be claimed of a function without sampling it.

A function is traced by `jax.make_jaxpr`, calls are inlined, and the operations are carried out on boxes in NumPy's
float64. Enclosed operations make an enclosed function (Moore, Kearfott and Cloud, Introduction to Interval Analysis,
2009, theorem 5.1). Here: **if `enclose` returns [low, high], every operation that the result needs is defined at every
point of the box, and the values of the function lie in [low, high].**

- The function is the real one: its constants as traced, exact arithmetic. Float32 rounding of f is not modelled.
- Computed ends are rounded outwards, and an infinite end means "no bound": see `_enclosure`. A constant NaN in the
  traced function counts as any number: the theorem then speaks of the points where the function is not NaN.
- An operation that meets a pole or leaves its domain raises `NotEnclosed`: no bound hides a jump such as that of
  clip(1/u, -1, 1). So does an operation without a rule, unless its operands are constants.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from ._enclosure import (
    INF,
    LARGEST,
    Box,
    Interval,
    NotEnclosed,
    Shape,
    TooLarge,
    dtype_of,
    each,
    inside,
    interval,
    is_real,
    is_truth,
    is_whole,
    of_constant,
    size_of,
)
from ._rules import OPERATIONS, Operation, bind, own


def enclose(function: Callable, *boxes: Box) -> Interval:
    """[low, high] with low <= function(*arguments) <= high for all arguments in the boxes.

    Args:
        function: from arrays to one array.
        boxes: (low, high) for each argument, in its shape. Infinite ends are allowed.

    Raises:
        NotEnclosed: see above.
    """
    inputs = [interval(box) for box in boxes]
    closed = flatten(function, [box.low.shape for box in inputs])
    return evaluate(closed, inputs)(closed.jaxpr.outvars[0])


def is_smooth(function: Callable, argument: int, shapes: Sequence[Shape], boxes: Sequence[Box] | None = None) -> bool:
    """Whether `function` is proved to be infinitely differentiable in this argument, the others fixed.

    The boxes default to all of R^d. sqrt, div, log, ... count as smooth where their operand is enclosed inside the
    domain of smoothness; max, abs, where with a predicate that depends on the argument, ... do not count. May raise
    `TooLarge`, as may `is_continuous`.
    """
    return _composed_of(("smooth", "pole", "edge"), function, argument, shapes, boxes)


def is_continuous(
    function: Callable, argument: int, shapes: Sequence[Shape], boxes: Sequence[Box] | None = None
) -> bool:
    """Whether `function` is proved to be continuous in this argument, the others fixed; kinks may be there.

    Then it is piecewise differentiable, and a bound of the derivatives off the kinks is a Lipschitz constant.
    """
    return _composed_of(("smooth", "pole", "edge", "kink"), function, argument, shapes, boxes)


def _composed_of(kinds: tuple[str, ...], function: Callable, argument: int, shapes: Any, boxes: Any) -> bool:
    closed = flatten(function, shapes)
    depends, steps, delicate = {closed.jaxpr.invars[argument]}, set(), []
    for eqn in operations(closed):
        touched = [v for v in eqn.invars if not isinstance(v, core.Literal) and v in depends]
        rule = OPERATIONS.get(eqn.primitive.name)
        if not touched:
            continue
        if rule is None or (rule.kind != "step" and any(v in steps for v in touched)):
            return False
        if rule.kind == "step":
            if not is_truth(dtype_of(eqn.outvars[0])):
                return False
            if len(eqn.invars) == 2 and eqn.invars[0] is eqn.invars[1]:
                continue                                     # x != x: a test for NaN
            steps.update(eqn.outvars)
        elif rule.kind not in kinds or not is_real(dtype_of(eqn.outvars[0])):
            return False
        elif rule.kind == "edge" or (rule.kind == "pole" and eqn.invars[-1] in touched and eqn.params.get("y", -1) < 0):
            delicate.append((eqn, rule))
        depends.update(eqn.outvars)
    if not delicate:
        return True
    try:
        inputs = boxes if boxes is not None else [(np.full(s, -INF), np.full(s, INF)) for s in shapes]
        value = evaluate(closed, [interval(box) for box in inputs])
    except TooLarge:
        raise
    except NotEnclosed:
        return False
    return "kink" in kinds or all(inside(value(eqn.invars[0]), rule.smooth_within) for eqn, rule in delicate)


# --- from a function to a flat list of operations, and through it ---------------------------------------------------

_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint")
Replacements = dict[str, Callable]


def flatten(function: Callable, shapes: Sequence[Shape]) -> core.ClosedJaxpr:
    """The operations of `function`, calls inlined, for float32 arguments of these shapes."""
    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    closed = jax.make_jaxpr(function)(*arguments)
    if len(closed.jaxpr.outvars) != 1:
        raise ValueError(f"the function must return one array; got {len(closed.jaxpr.outvars)}")
    return jax.make_jaxpr(lambda *args: inline(closed, args, {}))(*arguments)


def inline(closed: Any, args: Sequence, replacements: Replacements) -> list:
    """Run a traced function, its calls inlined, its custom derivatives and `stop_gradient` dropped."""
    jaxpr, consts = (closed.jaxpr, closed.consts) if isinstance(closed, core.ClosedJaxpr) else (closed, ())
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for eqn in jaxpr.eqns:
        operands = [v.val if isinstance(v, core.Literal) else known[v] for v in eqn.invars]
        name, params = eqn.primitive.name, eqn.params
        if name in _CALLS:
            results = inline(params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"], operands, replacements)
        elif name == "stop_gradient":
            results = operands
        elif name == "pow" and (power := _whole(operands[1])) is not None:
            results = [lax.integer_pow(operands[0], power)]
        elif name in replacements:
            results = [replacements[name](*operands)]
        else:
            results = bind(eqn, operands)
        known.update(zip(eqn.outvars, results, strict=True))
    return [v.val if isinstance(v, core.Literal) else known[v] for v in jaxpr.outvars]


def _whole(power: Any) -> int | None:
    """An exponent that is known while tracing, and whole."""
    if not isinstance(power, (float, int, np.generic, np.ndarray)) or np.ndim(power) != 0:
        return None
    return int(power) if float(power).is_integer() and abs(float(power)) < 64 else None


def operations(closed: core.ClosedJaxpr) -> list[core.JaxprEqn]:
    """The operations that the result needs, in order: what does not matter can neither spoil nor slow anything."""
    needed, kept = {v for v in closed.jaxpr.outvars if not isinstance(v, core.Literal)}, []      # g = 1 is a literal
    for eqn in reversed(closed.jaxpr.eqns):
        if any(v in needed for v in eqn.outvars):
            kept.append(eqn)
            needed.update(v for v in eqn.invars if not isinstance(v, core.Literal))
    return kept[::-1]


def evaluate(closed: core.ClosedJaxpr, inputs: Sequence[Interval]) -> Callable[[Any], Interval]:
    """Carry boxes through a flat list of operations; returns the map from its variables to their enclosures."""
    largest = max([LARGEST, *(4 * box.low.size for box in inputs)])
    known: dict[Any, Interval] = dict(zip(closed.jaxpr.invars, inputs, strict=True))
    known.update((v, of_constant(c)) for v, c in zip(closed.jaxpr.constvars, closed.consts, strict=True))

    def value(v: Any) -> Interval:
        return of_constant(v.val) if isinstance(v, core.Literal) else known[v]

    with np.errstate(all="ignore"):
        for eqn in operations(closed):
            if any(size_of(v) > largest for v in eqn.outvars):
                raise TooLarge(f"{eqn.primitive.name}: more than {largest} elements")
            rule = OPERATIONS.get(eqn.primitive.name, Operation(own))
            results = rule.bounds(eqn, *(value(v) for v in eqn.invars))
            results = [results] if isinstance(results, Interval) else results
            known.update((v, _checked(eqn, v.aval, r)) for v, r in zip(eqn.outvars, results, strict=True))
    return value


def _checked(eqn: core.JaxprEqn, aval: Any, result: Interval) -> Interval:
    if is_whole(aval.dtype) and aval.size:
        limits = jnp.iinfo(aval.dtype)
        if result.low.min() < limits.min or result.high.max() > limits.max:
            raise NotEnclosed(f"{eqn.primitive.name}: may overflow {aval.dtype}")
    elif not (is_whole(aval.dtype) or is_real(aval.dtype) or is_truth(aval.dtype)):
        raise NotEnclosed(f"{eqn.primitive.name}: {aval.dtype} is not real")
    return result if result.low.shape == aval.shape else each(lambda v: np.broadcast_to(v, aval.shape), result)
