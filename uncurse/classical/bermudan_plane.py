"""Optimal stopping of two independent geometric Brownian motions at given dates, to six digits or so.

    V_k = max(g(t_k, S), C_k),    C_k(S) = exp(-r dt) E[V_{k+1}(S_{k+1}) | S_k = S],

on a uniform grid of y = log(S / spot) - growth t. There C_k is V_{k+1} convolved with a Gaussian, by the fast Fourier
transform. The trapezoidal rule is exact for the Gaussian and errs by the square of the spacing at kinks.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from .. import _checks
from ._value import Value

Plane = Float[np.ndarray, "n n"]
Payoff = Callable[[float, Plane, Plane], Plane]
_REACH = 7.5            # standard deviations to either side; what wraps around there does not reach the middle
_POINTS = 512           # of the coarser grid, along an axis


def solve(
    payoff: Payoff,
    *,
    spot: float,
    drift: float,
    volatility: float,
    dates: Sequence[float] | np.ndarray,
    discount: float,
) -> Value:
    """The value at t = 0 of stopping dS_i = S_i (drift dt + volatility dW_i), S_i = spot, i = 1, 2, at one of the
    dates.

    The error is the change from a grid to one of half the spacing.

    Args:
        payoff: g(t, S_1, S_2), for arrays.
        spot: both prices at t = 0.
        drift, volatility: mu and sigma of both.
        dates: increasing, from 0 on.
        discount: r.

    Raises:
        ValueError: an argument out of range.
    """
    spot = _checks.number("spot", spot, above=0.0)
    sigma = _checks.number("volatility", volatility, above=0.0)
    growth = _checks.number("drift", drift) - sigma**2 / 2
    times = np.asarray(dates, dtype=np.float64)
    coarse, fine = (_backward(payoff, spot, growth, sigma, times, discount, n) for n in (_POINTS, 2 * _POINTS))
    return Value(fine, abs(fine - coarse))


def _backward(
    payoff: Payoff, spot: float, growth: float, sigma: float, times: np.ndarray, discount: float, n: int
) -> float:
    spacing = 2 * _REACH * sigma * np.sqrt(times[-1]) / n
    y = (np.arange(n) - n // 2) * spacing
    frequency = 2 * np.pi * np.fft.fftfreq(n, spacing)
    heat = -(sigma**2) / 2 * (frequency[:, None] ** 2 + frequency[None, :] ** 2)

    def reward(t: float) -> Plane:
        s = spot * np.exp(y + growth * t)
        return np.exp(-discount * t) * payoff(t, s[:, None], s[None, :])

    value = reward(float(times[-1]))
    steps = np.diff(times, prepend=0.0)
    for k in range(len(times) - 1, 0, -1):
        on = np.fft.ifft2(np.fft.fft2(value) * np.exp(heat * steps[k])).real
        value = np.maximum(reward(float(times[k - 1])), on)
    if steps[0] > 0:        # t = 0 is no date
        value = np.fft.ifft2(np.fft.fft2(value) * np.exp(heat * steps[0])).real
    return float(value[n // 2, n // 2])
