"""Rules for arithmetic and for elementary functions of numbers, entry by entry."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ._enclosure import INF, TINY, Interval, NotEnclosed, dtype_of, each, hull, inside, is_real, of_constant, outward


def add(eqn: Any, a: Interval, b: Interval) -> Interval:
    low, high = a.low + b.low, a.high + b.high
    if a.constant and b.constant:
        rest = low - a.low                                                  # Knuth's exact error of a sum
        if np.all((a.low - (low - rest)) + (b.low - rest) == 0):
            return Interval(low, low)
    return outward(low, high)


def negate(eqn: Any, a: Interval) -> Interval:
    low = -a.high
    factor, base = _split(a)
    return Interval(low, low if a.constant else -a.low, product(_MINUS_ONE, factor), base)


def subtract(eqn: Any, a: Interval, b: Interval) -> Interval:
    return of_constant(np.zeros(a.low.shape)) if a is b else add(eqn, a, negate(eqn, b))


def _single(*values: Any) -> bool:
    return all(np.array_equal(v, np.asarray(v, dtype=np.float32)) for v in values)


def _exactly(value: float) -> Interval:
    array = np.asarray(value)
    return Interval(array, array)


_ONE, _MINUS_ONE = _exactly(1.0), _exactly(-1.0)


def _split(a: Interval) -> tuple[Interval, Interval]:
    """(c, x) with a = c x."""
    return (_ONE, a) if a.factor is None or a.base is None else (a.factor, a.base)


def multiply(eqn: Any, a: Interval, b: Interval) -> Interval:
    (factor, base), (factor_b, base_b) = _split(a), _split(b)
    if base is base_b:
        square = power_of(base, 2)
        return square if factor is _ONE is factor_b else product(product(factor, factor_b), square)
    result = product(a, b)
    for number, of, rest in ((a, factor_b, base_b), (b, factor, base)):
        if number.constant and number.low.size == 1 and result.low.shape == rest.low.shape:
            return replace(result, factor=product(each(lambda v: np.reshape(v, ()), number), of), base=rest)
    return result


def product(a: Interval, b: Interval) -> Interval:
    if a.constant and b.constant and _single(a.low, b.low):                 # 24 + 24 bits: exact
        return of_constant(a.low * b.low)
    pairs = [(v, w) for v in ((a.low,) if a.constant else (a.low, a.high))
             for w in ((b.low,) if b.constant else (b.low, b.high))]
    return hull([v * w for v, w in pairs], [(v == 0) | (w == 0) for v, w in pairs])


def divide(eqn: Any, a: Interval, b: Interval) -> Interval:
    if np.any((b.low <= 0) & (b.high >= 0)):
        raise NotEnclosed("div: the denominator may be 0")
    if not is_real(dtype_of(eqn.outvars[0])):
        if not (a.constant and b.constant):
            raise NotEnclosed("div: of integers")
        return of_constant(np.fix(a.low / b.low))
    quotient = a.low / b.low
    if a.constant and b.constant and _single(quotient, b.low) and np.all(quotient * b.low == a.low):
        return of_constant(quotient)
    pairs = [(v, w) for v in (a.low, a.high) for w in (b.low, b.high)]
    return hull([v / w for v, w in pairs], [(v == 0) | np.isinf(w) for v, w in pairs])


def power_of(a: Interval, n: int) -> Interval:
    if n == 0:
        return of_constant(np.ones(a.low.shape))
    if n == 1:
        return a
    if n < 0:
        power = power_of(a, -n)
        if np.any((power.low <= 0) & (power.high >= 0)):
            raise NotEnclosed(f"integer_pow: {n}, of an interval that contains 0")
        return hull([1 / power.low, 1 / power.high], [np.isinf(power.low), np.isinf(power.high)])
    ends = [a.low**n, a.high**n]
    result = hull(ends, [a.low == 0, a.high == 0])
    if n % 2:
        return result
    return Interval(np.where((a.low <= 0) & (a.high >= 0), 0.0, np.maximum(result.low, 0.0)), result.high)


def power(eqn: Any, a: Interval, b: Interval) -> Interval:
    """a^b = exp(b log a): extreme at corners, since b log a is bilinear."""
    if np.any(a.low < 0) or np.any((a.low == 0) & (b.low <= 0)):
        raise NotEnclosed("pow: the base may be negative, or 0 under an exponent that may not be positive")
    pairs = [(v, w) for v in (a.low, a.high) for w in (b.low, b.high)]
    result = hull([np.power(v, w) for v, w in pairs], [(v == 0) | np.isinf(v) | np.isinf(w) for v, w in pairs])
    return Interval(np.maximum(result.low, 0.0), result.high)


def monotone(
    function: Callable, onto: tuple[float, float] = (-INF, INF), domain: tuple[float, float] = (-INF, INF),
    closed: bool = False, falling: bool = False,
) -> Callable:
    """A monotone function from its domain, the ends included where `closed`, into [onto]."""
    def bounds(eqn: Any, a: Interval) -> Interval:
        if not inside(a, domain) and not (closed and np.all((a.low >= domain[0]) & (a.high <= domain[1]))):
            raise NotEnclosed(f"{eqn.primitive.name}: outside its domain {domain}")
        first, last = (a.high, a.low) if falling else (a.low, a.high)
        high = function(last)
        high = np.where((high == 0) & (last != 0), TINY, high)             # 0, elsewhere than at 0: an underflow
        result = outward(function(first), high)
        return Interval(np.clip(result.low, *onto), np.clip(result.high, *onto))
    return bounds


def wave(function: Callable, top: float) -> Callable:
    """sin or cos: 1 at top + 2 pi k, -1 half a period on; the search for them errs towards finding one."""
    def meets(a: Interval, at: float) -> Any:
        first, last = (a.low - at) / (2 * np.pi), (a.high - at) / (2 * np.pi)
        return (np.floor(last + 1e-9) >= np.ceil(first - 1e-9)) | (np.abs(first) > 1e5) | (np.abs(last) > 1e5)

    def bounds(eqn: Any, a: Interval) -> Interval:
        ends = function(np.where(np.isinf(a.low), 0.0, a.low)), function(np.where(np.isinf(a.high), 0.0, a.high))
        result = outward(np.minimum(*ends), np.maximum(*ends))
        return Interval(np.where(meets(a, top + np.pi), -1.0, np.maximum(result.low, -1.0)),
                        np.where(meets(a, top), 1.0, np.minimum(result.high, 1.0)))
    return bounds


def tangent(eqn: Any, a: Interval) -> Interval:
    branch = np.floor(a.low / np.pi + 0.5 - 1e-9)
    if not np.all((branch == np.floor(a.high / np.pi + 0.5 + 1e-9)) & (np.abs(branch) < 1e5)):
        raise NotEnclosed("tan: may meet a pole")
    return outward(np.tan(a.low), np.tan(a.high))


def magnitude(eqn: Any, a: Interval) -> Interval:
    low, high = np.maximum(np.maximum(a.low, -a.high), 0.0), np.maximum(-a.low, a.high)
    return Interval(low, low if a.constant else high)
