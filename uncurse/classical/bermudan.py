"""Optimal stopping of one geometric Brownian motion at given dates, to ten digits or so.

    V_k = max(g(t_k, S), C_k),    C_k(S) = exp(-r dt) E[V_{k+1}(S_{k+1}) | S_k = S],

with S = exp(y) and y Gaussian over a step. C_k is analytic: it is kept at Chebyshev points of y. V_{k+1} has kinks
where the payoff does and where stopping begins to pay; between them it is integrated against the Gaussian density by
Gauss's rule, panel by panel. Only the outermost 1e-15 of the law are cut off.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from .. import _checks
from ._value import Value

Nodes = Float[np.ndarray, "*nodes"]
Payoff = Callable[[float, Nodes], Nodes]
_REACH = 8.5                            # standard deviations to either side
_LEVELS = ((1.4, 10), (2.0, 14), (3.0, 20), (4.5, 28))     # Chebyshev points a step's deviation; Gauss points a panel
_FEWEST = 40                            # Chebyshev points
_PANEL = 1.0                            # length of a panel, in standard deviations of a step, at most
_SCAN = 4001                            # points among which changes of sign are sought


def solve(
    payoff: Payoff,
    *,
    spot: float,
    drift: float,
    volatility: float,
    dates: Sequence[float] | np.ndarray,
    discount: float,
    kinks: Sequence[float] = (),
    rtol: float = 1e-10,
) -> Value:
    """The value at t = 0 of stopping dS = S (drift dt + volatility dW), S_0 = spot, at one of the dates.

    Args:
        payoff: g(t, S), for arrays of S; analytic between the kinks.
        spot: S_0.
        drift, volatility: mu and sigma of S.
        dates: increasing, from 0 on.
        discount: r.
        kinks: prices S at which the payoff is not smooth.
        rtol: resolution grows until two answers agree to this.

    Raises:
        ValueError: an argument out of range, or no agreement at the finest resolution.
    """
    spot = _checks.number("spot", spot, above=0.0)
    sigma = _checks.number("volatility", volatility, above=0.0)
    times = np.asarray(dates, dtype=np.float64)
    growth = _checks.number("drift", drift) - sigma**2 / 2
    corners = np.log(np.asarray(kinks, dtype=np.float64) / spot)
    previous, change = np.nan, np.inf
    for density, gauss in _LEVELS:
        value = _backward(payoff, spot, growth, sigma, times, discount, corners, density, gauss)
        change = abs(value - previous)
        if change <= rtol * abs(value):
            return Value(value, change)
        previous = value
    raise ValueError(
        f"no agreement to rtol = {rtol:g}: the last two resolutions differ by {change:.2g}; are all kinks named?"
    )


def _backward(
    payoff: Payoff, spot: float, growth: float, sigma: float, times: Nodes, discount: float, corners: Nodes,
    density: float, gauss: int,
) -> float:
    """From the last date back to t = 0; y = log(S / spot)."""
    def reward(k: int, y: Nodes) -> Nodes:
        return np.exp(-discount * times[k]) * payoff(float(times[k]), spot * np.exp(y))

    rule = np.polynomial.legendre.leggauss(gauss)
    last = len(times) - 1
    going_on: Callable[[Nodes], Nodes] | None = None
    for k in range(last, -1, -1):
        low, high = _range(growth, sigma, times[k])
        breaks = _breaks(lambda y, k=k: reward(k, y), going_on, corners, low, high)
        before = float(times[k - 1]) if k else 0.0
        step = float(times[k]) - before
        if step == 0:                   # t = 0 is a date
            now = float(reward(0, np.zeros(1))[0])
            return now if going_on is None else max(now, float(going_on(np.zeros(1))[0]))
        y, weight = _panels(breaks, _PANEL * sigma * np.sqrt(step), rule)
        value = reward(k, y) if going_on is None else np.maximum(reward(k, y), going_on(y))

        def mean(x: Nodes, y: Nodes = y, weighted: Nodes = weight * value, step: float = step) -> Nodes:
            z = (y[None, :] - x[:, None] - growth * step) / (sigma * np.sqrt(step))
            return np.exp(-(z**2) / 2) @ weighted / (sigma * np.sqrt(2 * np.pi * step))

        if before == 0:
            first = float(mean(np.zeros(1))[0])
            return max(first, float(reward(0, np.zeros(1))[0])) if k and times[0] == 0 else first
        points = _FEWEST + int(density * 2 * _REACH * np.sqrt(before / step))
        going_on = _interpolant(mean, *_range(growth, sigma, before), points)
    raise AssertionError("unreachable: the loop returns at t = 0")


def _range(growth: float, sigma: float, t: float) -> tuple[float, float]:
    reach = _REACH * sigma * np.sqrt(t)
    return growth * t - reach, growth * t + reach


def _breaks(
    reward: Callable[[Nodes], Nodes], going_on: Callable[[Nodes], Nodes] | None, corners: Nodes, low: float, high: float
) -> Nodes:
    """Ends, kinks of the payoff and points where stopping begins or ends to pay."""
    from scipy.optimize import root_scalar

    found = [low, high, *corners[(corners > low) & (corners < high)]]
    if going_on is not None:
        def ahead(y: float) -> float:
            return float((reward(np.array([y])) - going_on(np.array([y])))[0])

        grid = np.linspace(low, high, _SCAN)
        sign = np.sign(reward(grid) - going_on(grid))
        for i in np.flatnonzero(sign[:-1] * sign[1:] < 0):
            found.append(root_scalar(ahead, bracket=(grid[i], grid[i + 1]), xtol=1e-15).root)
    return np.unique(found)


def _panels(breaks: Nodes, longest: float, rule: tuple[Nodes, Nodes]) -> tuple[Nodes, Nodes]:
    """Points and weights of Gauss's rule on panels no longer than `longest` between the breaks."""
    ends = [np.linspace(a, b, int(np.ceil((b - a) / longest)) + 1) for a, b in pairwise(breaks)]
    left = np.concatenate([e[:-1] for e in ends])
    right = np.concatenate([e[1:] for e in ends])
    half = (right - left)[:, None] / 2
    return ((left + right)[:, None] / 2 + half * rule[0]).ravel(), (half * rule[1]).ravel()


def _interpolant(
    function: Callable[[Nodes], Nodes], low: float, high: float, points: int
) -> Callable[[Nodes], Nodes]:
    """Through Chebyshev points; constant beyond the ends."""
    from numpy.polynomial import chebyshev

    angle = np.pi * (np.arange(points) + 0.5) / points
    values = function(low + (high - low) * (1 + np.cos(angle)) / 2)
    coefficients = 2 / points * np.cos(np.outer(np.arange(points), angle)) @ values     # they are orthogonal there
    coefficients[0] /= 2

    def evaluate(y: Nodes) -> Nodes:
        return chebyshev.chebval(np.clip(2 * (y - low) / (high - low) - 1, -1.0, 1.0), coefficients)

    return evaluate
