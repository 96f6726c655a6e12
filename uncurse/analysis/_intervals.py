"""Interval arithmetic over traced functions: what may be claimed of a function without sampling it.

A function is traced by `jax.make_jaxpr`, calls are inlined, and the operations are carried out on boxes in NumPy's
float64. Enclosed operations make an enclosed function (Moore, Kearfott and Cloud, Introduction to Interval Analysis,
2009, theorem 5.1). Here: **if `enclose` returns [low, high], every operation that the result needs is defined at every
point of the box, and the values of the function lie in [low, high].**

- The function is the real one: its constants as traced, exact arithmetic. Float32 rounding of f is not modelled.
- Outward rounding: an endpoint that is computed moves outwards by a relative 1e-12 (thousands of units in the last
  place; NumPy errs by a few) and by 1e-300, a sum by what its length can lose besides. Exact zeros stay exact, and so
  do sums, products and quotients of constants that float64 holds exactly.
- An infinite end means "no bound", never a value: 0 times it is 0, and NaN does not occur. A constant NaN in the traced
  function counts as any number: the theorem then speaks of the points where the function is not NaN.
- An operation that meets a pole or leaves its domain raises `NotEnclosed`: no bound hides a jump such as that of
  clip(1/u, -1, 1). So does an operation without a rule, unless its operands are constants.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core
from numpy.typing import NDArray
from scipy import special

Box = tuple[Any, Any]                      # (low, high): numbers or arrays that broadcast to the argument's shape
Shape = tuple[int, ...]
LARGEST = 1 << 19                          # elements of one intermediate array, unless the arguments are larger
_INF, _MAX, _TINY = np.inf, np.finfo(np.float64).max, 1e-300


class NotEnclosed(Exception):
    """No enclosure: an operation has no rule, meets a pole or leaves its domain in the box. The text names it."""


class TooLarge(NotEnclosed):
    """No enclosure: an intermediate array has too many elements. A smaller batch may do."""


@dataclass(frozen=True, eq=False)
class Interval:
    """All numbers from `low` < inf to `high` > -inf, entry by entry; a truth value is 0, 1 or, undecided, [0, 1].

    One object stands for one traced value: where it meets itself in an operation, the two operands are equal. A number
    times another value remembers both, as `factor` and `base`: then (c x) @ x is seen to be c |x|^2.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    factor: "Interval | None" = None
    base: "Interval | None" = None

    @property
    def constant(self) -> bool:
        """One exactly known number an entry."""
        return self.low is self.high


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


def interval(box: Box) -> Interval:
    """The box as an `Interval`."""
    low, high = np.broadcast_arrays(*(np.asarray(end, dtype=np.float64) for end in box))
    if not np.all(low <= high):
        raise ValueError(f"a box must be (low, high) with low <= high; got {box!r}")
    return Interval(np.minimum(low, _MAX), np.maximum(high, -_MAX))


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
            if not _is_truth(_type(eqn.outvars[0])):
                return False
            if len(eqn.invars) == 2 and eqn.invars[0] is eqn.invars[1]:
                continue                                     # x != x: a test for NaN
            steps.update(eqn.outvars)
        elif rule.kind not in kinds or not _is_real(_type(eqn.outvars[0])):
            return False
        elif rule.kind == "edge" or (rule.kind == "pole" and eqn.invars[-1] in touched and eqn.params.get("y", -1) < 0):
            delicate.append((eqn, rule))
        depends.update(eqn.outvars)
    if not delicate:
        return True
    try:
        inputs = boxes if boxes is not None else [(np.full(s, -_INF), np.full(s, _INF)) for s in shapes]
        value = evaluate(closed, [interval(box) for box in inputs])
    except TooLarge:
        raise
    except NotEnclosed:
        return False
    return "kink" in kinds or all(_inside(value(eqn.invars[0]), rule.smooth_within) for eqn, rule in delicate)


def _inside(a: Interval, within: tuple[float, float]) -> bool:
    """Whether in the open set `within`; an infinite end is no bound."""
    above, below = (a.low > within[0]) | (within[0] == -_INF), (a.high < within[1]) | (within[1] == _INF)
    return bool(np.all(above) and np.all(below))


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
            results = _bind(eqn, operands)
        known.update(zip(eqn.outvars, results, strict=True))
    return [v.val if isinstance(v, core.Literal) else known[v] for v in jaxpr.outvars]


def _bind(eqn: core.JaxprEqn, operands: Sequence) -> Sequence:
    if eqn.primitive.name.endswith("_call"):
        raise NotEnclosed(f"{eqn.primitive.name}: an unknown kind of call")
    results = eqn.primitive.bind(*operands, **eqn.params)
    return results if eqn.primitive.multiple_results else [results]


def _whole(power: Any) -> int | None:
    """An exponent that is known while tracing, and whole."""
    if not isinstance(power, (float, int, np.generic, np.ndarray)) or np.ndim(power) != 0:
        return None
    return int(power) if float(power).is_integer() and abs(float(power)) < 64 else None


def operations(closed: core.ClosedJaxpr) -> list[core.JaxprEqn]:
    """The operations that the result needs, in order: what does not matter can neither spoil nor slow anything."""
    needed, kept = set(closed.jaxpr.outvars), []
    for eqn in reversed(closed.jaxpr.eqns):
        if any(v in needed for v in eqn.outvars):
            kept.append(eqn)
            needed.update(v for v in eqn.invars if not isinstance(v, core.Literal))
    return kept[::-1]


def evaluate(closed: core.ClosedJaxpr, inputs: Sequence[Interval]) -> Callable[[Any], Interval]:
    """Carry boxes through a flat list of operations; returns the map from its variables to their enclosures."""
    largest = max([LARGEST, *(4 * box.low.size for box in inputs)])
    known: dict[Any, Interval] = dict(zip(closed.jaxpr.invars, inputs, strict=True))
    known.update((v, _known(c)) for v, c in zip(closed.jaxpr.constvars, closed.consts, strict=True))

    def value(v: Any) -> Interval:
        return _known(v.val) if isinstance(v, core.Literal) else known[v]

    with np.errstate(all="ignore"):
        for eqn in operations(closed):
            if any(_size(v) > largest for v in eqn.outvars):
                raise TooLarge(f"{eqn.primitive.name}: more than {largest} elements")
            rule = OPERATIONS.get(eqn.primitive.name, Operation(_own))
            results = rule.bounds(eqn, *(value(v) for v in eqn.invars))
            results = [results] if isinstance(results, Interval) else results
            known.update((v, _checked(eqn, v.aval, r)) for v, r in zip(eqn.outvars, results, strict=True))
    return value


def _checked(eqn: core.JaxprEqn, aval: Any, result: Interval) -> Interval:
    if _is_whole(aval.dtype) and aval.size:
        limits = jnp.iinfo(aval.dtype)
        if result.low.min() < limits.min or result.high.max() > limits.max:
            raise NotEnclosed(f"{eqn.primitive.name}: may overflow {aval.dtype}")
    elif not (_is_whole(aval.dtype) or _is_real(aval.dtype) or _is_truth(aval.dtype)):
        raise NotEnclosed(f"{eqn.primitive.name}: {aval.dtype} is not real")
    return result if result.low.shape == aval.shape else _each(lambda v: np.broadcast_to(v, aval.shape), result)


# --- one rule an operation ------------------------------------------------------------------------------------------


class Operation(NamedTuple):
    """`bounds(eqn, *operands)` encloses the results; `kind` says how these depend on the operands.

    "smooth": C^infinity; "pole": so on its domain, and raises at its end; "edge": continuous on its domain, C^infinity
    on `smooth_within`; "kink": continuous, piecewise smooth; "step": a jump, or a truth value; "other": not said.
    """

    bounds: Callable[..., Any]
    kind: Literal["smooth", "pole", "edge", "kink", "step", "other"] = "other"
    smooth_within: tuple[float, float] = (-_INF, _INF)


def _type(v: Any) -> Any:
    return v.aval.dtype


def _size(v: Any) -> int:
    return v.aval.size


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.floating)


def _is_whole(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.integer)


def _is_truth(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.bool_)


def _known(value: Any) -> Interval:
    dtype = jnp.result_type(value)
    if not (_is_real(dtype) or _is_whole(dtype) or _is_truth(dtype)):
        raise NotEnclosed(f"a constant of type {dtype}")
    exact = np.asarray(value).astype(np.float64)
    if np.isfinite(exact).all():
        return Interval(exact, exact)
    unknown = np.isnan(exact)
    low = np.where(unknown, -_INF, np.minimum(exact, _MAX))
    return Interval(low, np.where(unknown, _INF, np.maximum(exact, -_MAX)))


def _each(function: Callable, *intervals: Interval) -> Interval:
    """A function that rounds nothing, does not decrease, and knows no infinity."""
    low = function(*(a.low for a in intervals))
    return Interval(low, low if all(a.constant for a in intervals) else function(*(a.high for a in intervals)))


def _outward(low: Any, high: Any, slack_low: Any = 0.0, slack_high: Any = 0.0) -> Interval:
    low, high = np.minimum(low, _MAX), np.maximum(high, -_MAX)
    low = low - (1e-12 * np.abs(low) + _TINY * (low != 0) + slack_low)
    high = high + (1e-12 * np.abs(high) + _TINY * (high != 0) + slack_high)
    return Interval(np.where(np.isnan(low), -_INF, low), np.where(np.isnan(high), _INF, high))


def _hull(values: Sequence[Any], exact_zero: Sequence[Any]) -> Interval:
    """From the values at the corners, NaN for 0 times infinity; a zero that is not exact is an underflow."""
    corners = []
    for value, exact in zip(values, exact_zero, strict=True):
        corner = np.where(np.isnan(value), 0.0, value)
        corners.append(np.where((np.abs(corner) < _TINY) & ~exact, np.copysign(_TINY, corner), corner))
    return _outward(np.minimum.reduce(corners), np.maximum.reduce(corners))


def _add(eqn: Any, a: Interval, b: Interval) -> Interval:
    low, high = a.low + b.low, a.high + b.high
    if a.constant and b.constant:
        rest = low - a.low                                                  # Knuth's exact error of a sum
        if np.all((a.low - (low - rest)) + (b.low - rest) == 0):
            return Interval(low, low)
    return _outward(low, high)


def _neg(eqn: Any, a: Interval) -> Interval:
    low = -a.high
    factor, base = _split(a)
    return Interval(low, low if a.constant else -a.low, _product(_MINUS_ONE, factor), base)


def _sub(eqn: Any, a: Interval, b: Interval) -> Interval:
    return _known(np.zeros(a.low.shape)) if a is b else _add(eqn, a, _neg(eqn, b))


def _single(*values: Any) -> bool:
    return all(np.array_equal(v, np.asarray(v, dtype=np.float32)) for v in values)


def _exactly(value: float) -> Interval:
    array = np.asarray(value)
    return Interval(array, array)


_ONE, _MINUS_ONE = _exactly(1.0), _exactly(-1.0)


def _split(a: Interval) -> tuple[Interval, Interval]:
    """(c, x) with a = c x."""
    return (_ONE, a) if a.factor is None or a.base is None else (a.factor, a.base)


def _mul(eqn: Any, a: Interval, b: Interval) -> Interval:
    (factor, base), (factor_b, base_b) = _split(a), _split(b)
    if base is base_b:
        square = _power_of(base, 2)
        return square if factor is _ONE is factor_b else _product(_product(factor, factor_b), square)
    result = _product(a, b)
    for number, of, rest in ((a, factor_b, base_b), (b, factor, base)):
        if number.constant and number.low.size == 1 and result.low.shape == rest.low.shape:
            return replace(result, factor=_product(_each(lambda v: np.reshape(v, ()), number), of), base=rest)
    return result


def _product(a: Interval, b: Interval) -> Interval:
    if a.constant and b.constant and _single(a.low, b.low):                 # 24 + 24 bits: exact
        return _known(a.low * b.low)
    pairs = [(v, w) for v in ((a.low,) if a.constant else (a.low, a.high))
             for w in ((b.low,) if b.constant else (b.low, b.high))]
    return _hull([v * w for v, w in pairs], [(v == 0) | (w == 0) for v, w in pairs])


def _div(eqn: Any, a: Interval, b: Interval) -> Interval:
    if np.any((b.low <= 0) & (b.high >= 0)):
        raise NotEnclosed("div: the denominator may be 0")
    if not _is_real(_type(eqn.outvars[0])):
        if not (a.constant and b.constant):
            raise NotEnclosed("div: of integers")
        return _known(np.fix(a.low / b.low))
    quotient = a.low / b.low
    if a.constant and b.constant and _single(quotient, b.low) and np.all(quotient * b.low == a.low):
        return _known(quotient)
    pairs = [(v, w) for v in (a.low, a.high) for w in (b.low, b.high)]
    return _hull([v / w for v, w in pairs], [(v == 0) | np.isinf(w) for v, w in pairs])


def _power_of(a: Interval, n: int) -> Interval:
    if n == 0:
        return _known(np.ones(a.low.shape))
    if n == 1:
        return a
    if n < 0:
        power = _power_of(a, -n)
        if np.any((power.low <= 0) & (power.high >= 0)):
            raise NotEnclosed(f"integer_pow: {n}, of an interval that contains 0")
        return _hull([1 / power.low, 1 / power.high], [np.isinf(power.low), np.isinf(power.high)])
    ends = [a.low**n, a.high**n]
    result = _hull(ends, [a.low == 0, a.high == 0])
    if n % 2:
        return result
    return Interval(np.where((a.low <= 0) & (a.high >= 0), 0.0, np.maximum(result.low, 0.0)), result.high)


def _pow(eqn: Any, a: Interval, b: Interval) -> Interval:
    """a^b = exp(b log a): extreme at corners, since b log a is bilinear."""
    if np.any(a.low < 0) or np.any((a.low == 0) & (b.low <= 0)):
        raise NotEnclosed("pow: the base may be negative, or 0 under an exponent that may not be positive")
    pairs = [(v, w) for v in (a.low, a.high) for w in (b.low, b.high)]
    result = _hull([np.power(v, w) for v, w in pairs], [(v == 0) | np.isinf(v) | np.isinf(w) for v, w in pairs])
    return Interval(np.maximum(result.low, 0.0), result.high)


def _monotone(
    function: Callable, onto: tuple[float, float] = (-_INF, _INF), domain: tuple[float, float] = (-_INF, _INF),
    closed: bool = False, falling: bool = False,
) -> Callable:
    """A monotone function from its domain, the ends included where `closed`, into [onto]."""
    def bounds(eqn: Any, a: Interval) -> Interval:
        if not _inside(a, domain) and not (closed and np.all((a.low >= domain[0]) & (a.high <= domain[1]))):
            raise NotEnclosed(f"{eqn.primitive.name}: outside its domain {domain}")
        first, last = (a.high, a.low) if falling else (a.low, a.high)
        high = function(last)
        high = np.where((high == 0) & (last != 0), _TINY, high)             # 0, elsewhere than at 0: an underflow
        result = _outward(function(first), high)
        return Interval(np.clip(result.low, *onto), np.clip(result.high, *onto))
    return bounds


def _wave(function: Callable, top: float) -> Callable:
    """sin or cos: 1 at top + 2 pi k, -1 half a period on; the search for them errs towards finding one."""
    def meets(a: Interval, at: float) -> Any:
        first, last = (a.low - at) / (2 * np.pi), (a.high - at) / (2 * np.pi)
        return (np.floor(last + 1e-9) >= np.ceil(first - 1e-9)) | (np.abs(first) > 1e5) | (np.abs(last) > 1e5)

    def bounds(eqn: Any, a: Interval) -> Interval:
        ends = function(np.where(np.isinf(a.low), 0.0, a.low)), function(np.where(np.isinf(a.high), 0.0, a.high))
        result = _outward(np.minimum(*ends), np.maximum(*ends))
        return Interval(np.where(meets(a, top + np.pi), -1.0, np.maximum(result.low, -1.0)),
                        np.where(meets(a, top), 1.0, np.minimum(result.high, 1.0)))
    return bounds


def _tan(eqn: Any, a: Interval) -> Interval:
    branch = np.floor(a.low / np.pi + 0.5 - 1e-9)
    if not np.all((branch == np.floor(a.high / np.pi + 0.5 + 1e-9)) & (np.abs(branch) < 1e5)):
        raise NotEnclosed("tan: may meet a pole")
    return _outward(np.tan(a.low), np.tan(a.high))


def _abs(eqn: Any, a: Interval) -> Interval:
    low, high = np.maximum(np.maximum(a.low, -a.high), 0.0), np.maximum(-a.low, a.high)
    return Interval(low, low if a.constant else high)


def _truth(true: Any, false: Any) -> Interval:
    low, high = np.where(true, 1.0, 0.0), np.where(false, 0.0, 1.0)
    return Interval(low, low if np.array_equal(low, high) else high)


def _compare(true: Callable, false: Callable, of_itself: bool) -> Callable:
    def bounds(eqn: Any, a: Interval, b: Interval) -> Interval:
        if a is b:
            return _known(np.full(a.low.shape, of_itself))
        return _truth(true(a, b), false(a, b))
    return bounds


def _logic(combine: Callable) -> Callable:
    def bounds(eqn: Any, *operands: Interval) -> Any:
        return _each(combine, *operands) if _is_truth(_type(eqn.outvars[0])) else _own(eqn, *operands)
    return bounds


def _not(eqn: Any, a: Interval) -> Any:
    return _truth(a.high == 0, a.low == 1) if _is_truth(_type(eqn.outvars[0])) else _own(eqn, a)


def _is_finite(eqn: Any, a: Interval) -> Interval:
    return _truth((a.low > -1e30) & (a.high < 1e30), np.False_)             # float32 may overflow before the reals do


def _select_n(eqn: Any, which: Interval, *cases: Interval) -> Interval:
    """The hull of the cases that are not excluded."""
    low, high = np.asarray(_INF), np.asarray(-_INF)
    for i, case in enumerate(cases):
        possible = (which.low <= i) & (i <= which.high)
        low = np.asarray(np.minimum(low, np.where(possible, case.low, _INF)))
        high = np.asarray(np.maximum(high, np.where(possible, case.high, -_INF)))
    return Interval(low, low if np.array_equal(low, high) else high)


def _convert(eqn: Any, a: Interval) -> Interval:
    source, target = _type(eqn.invars[0]), _type(eqn.outvars[0])
    if _is_truth(target):
        return _truth((a.low > 0) | (a.high < 0), (a.low == 0) & (a.high == 0))
    if _is_whole(target) and _is_real(source):
        if not a.constant:
            raise NotEnclosed("convert_element_type: to integers")
        return _known(np.trunc(a.low))
    return a


def _slack(count: int, sizes: Any) -> Any:
    return 2.3e-16 * count * sizes


def _sum(a: Interval, axes: tuple[int, ...]) -> Interval:
    low = np.sum(a.low, axis=axes)
    size, count = np.sum(np.abs(a.low), axis=axes), a.low.size // max(low.size, 1)
    if a.constant and np.all(a.low == np.rint(a.low)) and np.all(size < 2.0**53):
        return Interval(low, low)                                           # whole numbers: exact
    high = np.sum(a.high, axis=axes)
    return _outward(low, high, _slack(count, size), _slack(count, np.sum(np.abs(a.high), axis=axes)))


def _part(a: Interval, start: int, stop: int) -> Interval:
    return _each(lambda v: v[start:stop], a)


def _reduce_prod(eqn: Any, a: Interval) -> Interval:
    """Half by half."""
    for axis in sorted(eqn.params["axes"], reverse=True):
        a = _each(lambda v, axis=axis: np.moveaxis(v, axis, 0), a)
        while (n := len(a.low)) > 1:
            half = n // 2
            parts = _product(_part(a, 0, half), _part(a, half, 2 * half))
            a = _each(lambda *v: np.concatenate(v), parts, _part(a, 2 * half, n))
        a = _each(lambda v: v[0], a)
    return a


def _cumsum(eqn: Any, a: Interval) -> Interval:
    axis, back = eqn.params["axis"], slice(None, None, -1 if eqn.params["reverse"] else 1)

    def run(v: Any) -> Any:
        return np.moveaxis(np.cumsum(np.moveaxis(v, axis, 0)[back], axis=0)[back], 0, axis)

    count = a.low.shape[axis]
    return _outward(run(a.low), run(a.high), _slack(count, run(np.abs(a.low))), _slack(count, run(np.abs(a.high))))


def _dot_general(eqn: Any, a: Interval, b: Interval) -> Interval:
    (left, right), (rows, columns) = eqn.params["dimension_numbers"]
    if left == right and rows == columns and len(left) + len(rows) == a.low.ndim == b.low.ndim:    # |x|^2, or x . y
        products = _each(lambda v: np.transpose(v, (*rows, *left)), _mul(eqn, a, b))
        return _sum(products, tuple(range(len(rows), a.low.ndim)))

    def laid_out(operand: Interval, batch: Any, contracted: Any, free_last: bool) -> Interval:
        shape = operand.low.shape
        free = [i for i in range(len(shape)) if i not in batch and i not in contracted]
        size = [int(np.prod([shape[i] for i in axes])) for axes in (batch, free, contracted)]
        middle = (1, size[1]) if free_last else (size[1], 1)
        order = (*batch, *free, *contracted)
        return _each(lambda v: np.transpose(v, order).reshape(size[0], *middle, size[2]), operand)

    a, b = laid_out(a, rows, left, False), laid_out(b, columns, right, True)
    if a.low.size * b.low.shape[2] > 8 * LARGEST:
        raise TooLarge(f"dot_general: more than {8 * LARGEST} products")
    return _each(lambda v: v.reshape(eqn.outvars[0].aval.shape), _sum(_product(a, b), (3,)))


def _own(eqn: Any, *operands: Interval) -> list[Interval]:
    """The primitive's own implementation, on constants."""
    if not all(a.constant for a in operands):
        raise NotEnclosed(f"{eqn.primitive.name}: no rule")
    if "callback" in eqn.primitive.name:
        raise NotEnclosed(f"{eqn.primitive.name}: runs Python")
    values = [jnp.asarray(a.low, dtype=v.aval.dtype) for a, v in zip(operands, eqn.invars, strict=True)]
    return [_known(r) for r in _bind(eqn, values)]


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
    return lambda eqn, *operands: _each(lambda *v: function(eqn, *v), *operands)


def _broadcast(eqn: Any, v: Any) -> Any:
    shape = np.ones(len(eqn.params["shape"]), dtype=int)
    shape[list(eqn.params["broadcast_dimensions"])] = v.shape
    return np.broadcast_to(v.reshape(shape), eqn.params["shape"])


def _slice(eqn: Any, v: Any) -> Any:
    p = eqn.params
    return v[tuple(map(slice, p["start_indices"], p["limit_indices"], p["strides"] or (1,) * v.ndim))]


def _iota(eqn: Any) -> Interval:
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    return _known(np.broadcast_to(np.arange(shape[axis]).reshape([-1] + [1] * (len(shape) - axis - 1)), shape))


def _axes(function: Callable) -> Callable:
    return _rises(lambda eqn, v: function(v, axis=eqn.params["axes"]))


_less, _not_less = (lambda a, b: a.high < b.low), (lambda a, b: a.low >= b.high)
_at_most, _more = (lambda a, b: a.high <= b.low), (lambda a, b: a.low > b.high)
_equal = lambda a, b: (a.low == a.high) & (b.low == b.high) & (a.low == b.low)      # noqa: E731
_apart = lambda a, b: (a.high < b.low) | (b.high < a.low)                           # noqa: E731
_POSITIVE = (0.0, _INF)

OPERATIONS: dict[str, Operation] = {
    "add": Operation(_add, "smooth"), "add_any": Operation(_add, "smooth"), "sub": Operation(_sub, "smooth"),
    "neg": Operation(_neg, "smooth"), "mul": Operation(_mul, "smooth"), "div": Operation(_div, "pole"),
    "square": Operation(lambda eqn, a: _power_of(a, 2), "smooth"),
    "integer_pow": Operation(lambda eqn, a: _power_of(a, eqn.params["y"]), "pole"),
    "pow": Operation(_pow, "edge", _POSITIVE),
    "sqrt": Operation(_monotone(np.sqrt, _POSITIVE, _POSITIVE, closed=True), "edge", _POSITIVE),
    "rsqrt": Operation(_monotone(lambda v: 1 / np.sqrt(v), _POSITIVE, _POSITIVE, falling=True), "pole"),
    "cbrt": Operation(_monotone(np.cbrt), "edge", _POSITIVE),
    "exp": Operation(_monotone(np.exp, _POSITIVE), "smooth"),
    "exp2": Operation(_monotone(np.exp2, _POSITIVE), "smooth"),
    "expm1": Operation(_monotone(np.expm1, (-1.0, _INF)), "smooth"),
    "log": Operation(_monotone(np.log, domain=_POSITIVE), "pole"),
    "log1p": Operation(_monotone(np.log1p, domain=(-1.0, _INF)), "pole"),
    "sin": Operation(_wave(np.sin, np.pi / 2), "smooth"), "cos": Operation(_wave(np.cos, 0.0), "smooth"),
    "tan": Operation(_tan, "pole"),
    "asin": Operation(_monotone(np.arcsin, domain=(-1.0, 1.0), closed=True), "edge", (-1.0, 1.0)),
    "acos": Operation(_monotone(np.arccos, domain=(-1.0, 1.0), closed=True, falling=True), "edge", (-1.0, 1.0)),
    "atan": Operation(_monotone(np.arctan, (-np.pi / 2 - 1e-12, np.pi / 2 + 1e-12)), "smooth"),
    "sinh": Operation(_monotone(np.sinh), "smooth"),
    "cosh": Operation(lambda eqn, a: _monotone(np.cosh, (1.0, _INF))(eqn, _abs(eqn, a)), "smooth"),
    "tanh": Operation(_monotone(np.tanh, (-1.0, 1.0)), "smooth"),
    "asinh": Operation(_monotone(np.arcsinh), "smooth"),
    "acosh": Operation(_monotone(np.arccosh, domain=(1.0, _INF), closed=True), "edge", (1.0, _INF)),
    "atanh": Operation(_monotone(np.arctanh, domain=(-1.0, 1.0)), "pole"),
    "logistic": Operation(_monotone(special.expit, (0.0, 1.0)), "smooth"),
    "erf": Operation(_monotone(special.erf, (-1.0, 1.0)), "smooth"),
    "erfc": Operation(_monotone(special.erfc, (0.0, 2.0), falling=True), "smooth"),
    "erf_inv": Operation(_monotone(special.erfinv, domain=(-1.0, 1.0)), "pole"),
    "abs": Operation(_abs, "kink"), "max": Operation(_rises(lambda eqn, *v: np.maximum(*v)), "kink"),
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
