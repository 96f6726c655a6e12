"""Intervals with ends that are rounded outwards: what every rule of `_rules` is written in.

- Outward rounding: an endpoint that is computed moves outwards by a relative 1e-12 (thousands of units in the last
  place; NumPy errs by a few) and by 1e-300, a sum by what its length can lose besides. Exact zeros stay exact, and so
  do sums, products and quotients of constants that float64 holds exactly.
- An infinite end means "no bound", never a value: 0 times it is 0, and NaN does not occur.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Box = tuple[Any, Any]                      # (low, high): numbers or arrays that broadcast to the argument's shape
Shape = tuple[int, ...]
LARGEST = 1 << 19                          # elements of one intermediate array, unless the arguments are larger
INF, MAX, TINY = np.inf, np.finfo(np.float64).max, 1e-300


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


def interval(box: Box) -> Interval:
    """The box as an `Interval`."""
    low, high = np.broadcast_arrays(*(np.asarray(end, dtype=np.float64) for end in box))
    if not np.all(low <= high):
        raise ValueError(f"a box must be (low, high) with low <= high; got {box!r}")
    return Interval(np.minimum(low, MAX), np.maximum(high, -MAX))


def of_constant(value: Any) -> Interval:
    """A number or an array that is known; NaN counts as any number."""
    dtype = jnp.result_type(value)
    if not (is_real(dtype) or is_whole(dtype) or is_truth(dtype)):
        raise NotEnclosed(f"a constant of type {dtype}")
    exact = np.asarray(value).astype(np.float64)
    if np.isfinite(exact).all():
        return Interval(exact, exact)
    unknown = np.isnan(exact)
    low = np.where(unknown, -INF, np.minimum(exact, MAX))
    return Interval(low, np.where(unknown, INF, np.maximum(exact, -MAX)))


def each(function: Callable, *intervals: Interval) -> Interval:
    """A function that rounds nothing, does not decrease, and knows no infinity."""
    low = function(*(a.low for a in intervals))
    return Interval(low, low if all(a.constant for a in intervals) else function(*(a.high for a in intervals)))


def outward(low: Any, high: Any, slack_low: Any = 0.0, slack_high: Any = 0.0) -> Interval:
    """Computed ends, rounded outwards; the slack is what a rule may lose besides."""
    low, high = np.minimum(low, MAX), np.maximum(high, -MAX)
    low = low - (1e-12 * np.abs(low) + TINY * (low != 0) + slack_low)
    high = high + (1e-12 * np.abs(high) + TINY * (high != 0) + slack_high)
    return Interval(np.where(np.isnan(low), -INF, low), np.where(np.isnan(high), INF, high))


def hull(values: Sequence[Any], exact_zero: Sequence[Any]) -> Interval:
    """From the values at the corners, NaN for 0 times infinity; a zero that is not exact is an underflow."""
    corners = []
    for value, exact in zip(values, exact_zero, strict=True):
        corner = np.where(np.isnan(value), 0.0, value)
        corners.append(np.where((np.abs(corner) < TINY) & ~exact, np.copysign(TINY, corner), corner))
    return outward(np.minimum.reduce(corners), np.maximum.reduce(corners))


def inside(a: Interval, within: tuple[float, float]) -> bool:
    """Whether in the open set `within`; an infinite end is no bound."""
    above, below = (a.low > within[0]) | (within[0] == -INF), (a.high < within[1]) | (within[1] == INF)
    return bool(np.all(above) and np.all(below))


def dtype_of(v: Any) -> Any:
    return v.aval.dtype


def size_of(v: Any) -> int:
    return v.aval.size


def is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.floating)


def is_whole(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.integer)


def is_truth(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.bool_)
