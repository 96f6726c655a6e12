"""One rule an operation: the table from JAX primitives to enclosures, and the rules for truth values and arrays."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ._enclosure import (
    INF,
    LARGEST,
    Interval,
    NotEnclosed,
    TooLarge,
    dtype_of,
    each,
    is_real,
    is_truth,
    is_whole,
    of_constant,
    outward,
)
from ._rules_smooth import (
    add,
    divide,
    magnitude,
    monotone,
    multiply,
    negate,
    power,
    power_of,
    product,
    subtract,
    tangent,
    wave,
)


class Operation(NamedTuple):
    """`bounds(eqn, *operands)` encloses the results; `kind` says how these depend on the operands.

    "smooth": C^infinity; "pole": so on its domain, and raises at its end; "edge": continuous on its domain, C^infinity
    on `smooth_within`; "kink": continuous, piecewise smooth; "step": a jump, or a truth value; "other": not said.
    """

    bounds: Callable[..., Any]
    kind: Literal["smooth", "pole", "edge", "kink", "step", "other"] = "other"
    smooth_within: tuple[float, float] = (-INF, INF)


def _special(name: str) -> Callable:
    """A function of SciPy, which takes a tenth of a second to import: only where f has it."""
    return lambda x: getattr(import_module("scipy.special"), name)(x)


def _truth(true: Any, false: Any) -> Interval:
    low, high = np.where(true, 1.0, 0.0), np.where(false, 0.0, 1.0)
    return Interval(low, low if np.array_equal(low, high) else high)


def _compare(true: Callable, false: Callable, of_itself: bool) -> Callable:
    def bounds(eqn: Any, a: Interval, b: Interval) -> Interval:
        if a is b:
            return of_constant(np.full(a.low.shape, of_itself))
        return _truth(true(a, b), false(a, b))
    return bounds


def _logic(combine: Callable) -> Callable:
    def bounds(eqn: Any, *operands: Interval) -> Any:
        return each(combine, *operands) if is_truth(dtype_of(eqn.outvars[0])) else own(eqn, *operands)
    return bounds


def _not(eqn: Any, a: Interval) -> Any:
    return _truth(a.high == 0, a.low == 1) if is_truth(dtype_of(eqn.outvars[0])) else own(eqn, a)


def _is_finite(eqn: Any, a: Interval) -> Interval:
    return _truth((a.low > -1e30) & (a.high < 1e30), np.False_)             # float32 may overflow before the reals do


def _select_n(eqn: Any, which: Interval, *cases: Interval) -> Interval:
    """The hull of the cases that are not excluded."""
    low, high = np.asarray(INF), np.asarray(-INF)
    for i, case in enumerate(cases):
        possible = (which.low <= i) & (i <= which.high)
        low = np.asarray(np.minimum(low, np.where(possible, case.low, INF)))
        high = np.asarray(np.maximum(high, np.where(possible, case.high, -INF)))
    return Interval(low, low if np.array_equal(low, high) else high)


def _convert(eqn: Any, a: Interval) -> Interval:
    source, target = dtype_of(eqn.invars[0]), dtype_of(eqn.outvars[0])
    if is_truth(target):
        return _truth((a.low > 0) | (a.high < 0), (a.low == 0) & (a.high == 0))
    if is_whole(target) and is_real(source):
        if not a.constant:
            raise NotEnclosed("convert_element_type: to integers")
        return of_constant(np.trunc(a.low))
    return a


def _slack(count: int, sizes: Any) -> Any:
    return 2.3e-16 * count * sizes


def _sum(a: Interval, axes: tuple[int, ...]) -> Interval:
    low = np.sum(a.low, axis=axes)
    size, count = np.sum(np.abs(a.low), axis=axes), a.low.size // max(low.size, 1)
    if a.constant and np.all(a.low == np.rint(a.low)) and np.all(size < 2.0**53):
        return Interval(low, low)                                           # whole numbers: exact
    high = np.sum(a.high, axis=axes)
    return outward(low, high, _slack(count, size), _slack(count, np.sum(np.abs(a.high), axis=axes)))


def _part(a: Interval, start: int, stop: int) -> Interval:
    return each(lambda v: v[start:stop], a)


def _reduce_prod(eqn: Any, a: Interval) -> Interval:
    """Half by half."""
    for axis in sorted(eqn.params["axes"], reverse=True):
        a = each(lambda v, axis=axis: np.moveaxis(v, axis, 0), a)
        while (n := len(a.low)) > 1:
            half = n // 2
            parts = product(_part(a, 0, half), _part(a, half, 2 * half))
            a = each(lambda *v: np.concatenate(v), parts, _part(a, 2 * half, n))
        a = each(lambda v: v[0], a)
    return a


def _cumsum(eqn: Any, a: Interval) -> Interval:
    axis, back = eqn.params["axis"], slice(None, None, -1 if eqn.params["reverse"] else 1)

    def run(v: Any) -> Any:
        return np.moveaxis(np.cumsum(np.moveaxis(v, axis, 0)[back], axis=0)[back], 0, axis)

    count = a.low.shape[axis]
    return outward(run(a.low), run(a.high), _slack(count, run(np.abs(a.low))), _slack(count, run(np.abs(a.high))))


def _dot_general(eqn: Any, a: Interval, b: Interval) -> Interval:
    (left, right), (rows, columns) = eqn.params["dimension_numbers"]
    if left == right and rows == columns and len(left) + len(rows) == a.low.ndim == b.low.ndim:    # |x|^2, or x . y
        products = each(lambda v: np.transpose(v, (*rows, *left)), multiply(eqn, a, b))
        return _sum(products, tuple(range(len(rows), a.low.ndim)))

    def laid_out(operand: Interval, batch: Any, contracted: Any, free_last: bool) -> Interval:
        shape = operand.low.shape
        free = [i for i in range(len(shape)) if i not in batch and i not in contracted]
        size = [int(np.prod([shape[i] for i in axes])) for axes in (batch, free, contracted)]
        middle = (1, size[1]) if free_last else (size[1], 1)
        order = (*batch, *free, *contracted)
        return each(lambda v: np.transpose(v, order).reshape(size[0], *middle, size[2]), operand)

    a, b = laid_out(a, rows, left, False), laid_out(b, columns, right, True)
    if a.low.size * b.low.shape[2] > 8 * LARGEST:
        raise TooLarge(f"dot_general: more than {8 * LARGEST} products")
    return each(lambda v: v.reshape(eqn.outvars[0].aval.shape), _sum(product(a, b), (3,)))


def own(eqn: Any, *operands: Interval) -> list[Interval]:
    """The primitive's own implementation, on constants."""
    if not all(a.constant for a in operands):
        raise NotEnclosed(f"{eqn.primitive.name}: no rule")
    if "callback" in eqn.primitive.name:
        raise NotEnclosed(f"{eqn.primitive.name}: runs Python")
    values = [jnp.asarray(a.low, dtype=v.aval.dtype) for a, v in zip(operands, eqn.invars, strict=True)]
    return [of_constant(r) for r in bind(eqn, values)]


def bind(eqn: core.JaxprEqn, operands: Sequence) -> Sequence:
    if eqn.primitive.name.endswith("_call"):
        raise NotEnclosed(f"{eqn.primitive.name}: an unknown kind of call")
    results = eqn.primitive.bind(*operands, **eqn.params)
    return results if eqn.primitive.multiple_results else [results]


def _moves(*data: int) -> Callable:
    """Entries that only change place: the primitive itself says where to, from their numbers; indices are constants."""
    def bounds(eqn: Any, *operands: Interval) -> Any:
        values, lows, highs, count = [], [], [], 0
        for i, (a, v) in enumerate(zip(operands, eqn.invars, strict=True)):
            if i in data:
                values.append(jnp.arange(count, count + a.low.size, dtype=jnp.int32).reshape(a.low.shape))
                lows, highs, count = [*lows, a.low.ravel()], [*highs, a.high.ravel()], count + a.low.size
            elif a.constant:
                values.append(jnp.asarray(a.low, dtype=v.aval.dtype))
            else:
                raise NotEnclosed(f"{eqn.primitive.name}: where to is not constant")
        where = np.asarray(eqn.primitive.bind(*values, **eqn.params))
        if eqn.params.get("fill_value") is not None or np.any((where < 0) | (where >= count)):
            raise NotEnclosed(f"{eqn.primitive.name}: outside the array")
        low = np.concatenate(lows)[where]
        constant = all(operands[i].constant for i in data)
        return Interval(low, low if constant else np.concatenate(highs)[where])
    return bounds


def _rises(function: Callable) -> Callable:
    """`function(eqn, *arrays)` does not decrease in any entry, and rounds nothing."""
    return lambda eqn, *operands: each(lambda *v: function(eqn, *v), *operands)


def _broadcast(eqn: Any, v: Any) -> Any:
    shape = np.ones(len(eqn.params["shape"]), dtype=int)
    shape[list(eqn.params["broadcast_dimensions"])] = v.shape
    return np.broadcast_to(v.reshape(shape), eqn.params["shape"])


def _slice(eqn: Any, v: Any) -> Any:
    p = eqn.params
    return v[tuple(map(slice, p["start_indices"], p["limit_indices"], p["strides"] or (1,) * v.ndim))]


def _iota(eqn: Any) -> Interval:
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    return of_constant(np.broadcast_to(np.arange(shape[axis]).reshape([-1] + [1] * (len(shape) - axis - 1)), shape))


def _axes(function: Callable) -> Callable:
    return _rises(lambda eqn, v: function(v, axis=eqn.params["axes"]))


_less, _not_less = (lambda a, b: a.high < b.low), (lambda a, b: a.low >= b.high)
_at_most, _more = (lambda a, b: a.high <= b.low), (lambda a, b: a.low > b.high)
_equal = lambda a, b: (a.low == a.high) & (b.low == b.high) & (a.low == b.low)      # noqa: E731
_apart = lambda a, b: (a.high < b.low) | (b.high < a.low)                           # noqa: E731
_POSITIVE = (0.0, INF)

OPERATIONS: dict[str, Operation] = {
    "add": Operation(add, "smooth"), "add_any": Operation(add, "smooth"), "sub": Operation(subtract, "smooth"),
    "neg": Operation(negate, "smooth"), "mul": Operation(multiply, "smooth"), "div": Operation(divide, "pole"),
    "square": Operation(lambda eqn, a: power_of(a, 2), "smooth"),
    "integer_pow": Operation(lambda eqn, a: power_of(a, eqn.params["y"]), "pole"),
    "pow": Operation(power, "edge", _POSITIVE),
    "sqrt": Operation(monotone(np.sqrt, _POSITIVE, _POSITIVE, closed=True), "edge", _POSITIVE),
    "rsqrt": Operation(monotone(lambda v: 1 / np.sqrt(v), _POSITIVE, _POSITIVE, falling=True), "pole"),
    "cbrt": Operation(monotone(np.cbrt), "edge", _POSITIVE),
    "exp": Operation(monotone(np.exp, _POSITIVE), "smooth"),
    "exp2": Operation(monotone(np.exp2, _POSITIVE), "smooth"),
    "expm1": Operation(monotone(np.expm1, (-1.0, INF)), "smooth"),
    "log": Operation(monotone(np.log, domain=_POSITIVE), "pole"),
    "log1p": Operation(monotone(np.log1p, domain=(-1.0, INF)), "pole"),
    "sin": Operation(wave(np.sin, np.pi / 2), "smooth"), "cos": Operation(wave(np.cos, 0.0), "smooth"),
    "tan": Operation(tangent, "pole"),
    "asin": Operation(monotone(np.arcsin, domain=(-1.0, 1.0), closed=True), "edge", (-1.0, 1.0)),
    "acos": Operation(monotone(np.arccos, domain=(-1.0, 1.0), closed=True, falling=True), "edge", (-1.0, 1.0)),
    "atan": Operation(monotone(np.arctan, (-np.pi / 2 - 1e-12, np.pi / 2 + 1e-12)), "smooth"),
    "sinh": Operation(monotone(np.sinh), "smooth"),
    "cosh": Operation(lambda eqn, a: monotone(np.cosh, (1.0, INF))(eqn, magnitude(eqn, a)), "smooth"),
    "tanh": Operation(monotone(np.tanh, (-1.0, 1.0)), "smooth"),
    "asinh": Operation(monotone(np.arcsinh), "smooth"),
    "acosh": Operation(monotone(np.arccosh, domain=(1.0, INF), closed=True), "edge", (1.0, INF)),
    "atanh": Operation(monotone(np.arctanh, domain=(-1.0, 1.0)), "pole"),
    "logistic": Operation(monotone(_special("expit"), (0.0, 1.0)), "smooth"),
    "erf": Operation(monotone(_special("erf"), (-1.0, 1.0)), "smooth"),
    "erfc": Operation(monotone(_special("erfc"), (0.0, 2.0), falling=True), "smooth"),
    "erf_inv": Operation(monotone(_special("erfinv"), domain=(-1.0, 1.0)), "pole"),
    "abs": Operation(magnitude, "kink"), "max": Operation(_rises(lambda eqn, *v: np.maximum(*v)), "kink"),
    "min": Operation(_rises(lambda eqn, *v: np.minimum(*v)), "kink"),
    "clamp": Operation(_rises(lambda eqn, low, v, high: np.minimum(np.maximum(v, low), high)), "kink"),
    "reduce_max": Operation(_axes(np.max), "kink"), "reduce_min": Operation(_axes(np.min), "kink"),
    "sign": Operation(_rises(lambda eqn, v: np.sign(v)), "step"),
    "floor": Operation(_rises(lambda eqn, v: np.floor(v)), "step"),
    "ceil": Operation(_rises(lambda eqn, v: np.ceil(v)), "step"),
    "lt": Operation(_compare(_less, _not_less, False), "step"),
    "le": Operation(_compare(_at_most, _more, True), "step"),
    "gt": Operation(_compare(lambda a, b: _less(b, a), lambda a, b: _not_less(b, a), False), "step"),
    "ge": Operation(_compare(lambda a, b: _at_most(b, a), lambda a, b: _more(b, a), True), "step"),
    "eq": Operation(_compare(_equal, _apart, True), "step"), "ne": Operation(_compare(_apart, _equal, False), "step"),
    "is_finite": Operation(_is_finite, "step"), "not": Operation(_not, "step"),
    "and": Operation(_logic(np.minimum), "step"), "or": Operation(_logic(np.maximum), "step"),
    "reduce_and": Operation(_axes(np.min), "step"), "reduce_or": Operation(_axes(np.max), "step"),
    "select_n": Operation(_select_n, "smooth"), "convert_element_type": Operation(_convert, "smooth"),
    "reduce_sum": Operation(lambda eqn, a: _sum(a, eqn.params["axes"]), "smooth"),
    "reduce_prod": Operation(_reduce_prod, "smooth"), "cumsum": Operation(_cumsum, "smooth"),
    "dot_general": Operation(_dot_general, "smooth"), "iota": Operation(_iota, "smooth"),
    "copy": Operation(lambda eqn, a: a, "smooth"), "copy_p": Operation(lambda eqn, a: a, "smooth"),
    "broadcast_in_dim": Operation(_rises(_broadcast), "smooth"), "slice": Operation(_rises(_slice), "smooth"),
    "reshape": Operation(_rises(lambda eqn, v: v.reshape(eqn.params["new_sizes"])), "smooth"),
    "squeeze": Operation(_rises(lambda eqn, v: np.squeeze(v, eqn.params["dimensions"])), "smooth"),
    "expand_dims": Operation(_rises(lambda eqn, v: np.expand_dims(v, eqn.params["dimensions"])), "smooth"),
    "transpose": Operation(_rises(lambda eqn, v: np.transpose(v, eqn.params["permutation"])), "smooth"),
    "concatenate": Operation(_rises(lambda eqn, *v: np.concatenate(v, eqn.params["dimension"])), "smooth"),
    "rev": Operation(_moves(0), "smooth"), "pad": Operation(_moves(0, 1), "smooth"),
    "gather": Operation(_moves(0), "smooth"), "scatter": Operation(_moves(0, 2), "smooth"),
    "dynamic_slice": Operation(_moves(0), "smooth"), "dynamic_update_slice": Operation(_moves(0, 1), "smooth"),
}
