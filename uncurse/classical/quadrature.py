"""Gaussian expectations of radial functions, in any dimension, and the Hopf-Cole formula built on them.

For X ~ N(0, v I) in R^d, |X|^2 = v Q with Q a chi-square variable of d degrees of freedom. With Q = d exp(y) its
density in y is proportional to exp(d/2 (y - exp(y) + 1)), smooth on the whole line and decaying at both ends, where the
trapezoidal rule converges faster than any power of the step. Integrands are handled by their logarithms and the window
follows them, so an exponential that lives where the density is exp(-1000) is integrated as well as any other.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from .. import _checks
from ._value import Value

Nodes = Float[np.ndarray, " nodes"]
Radial = Callable[[Nodes], Nodes]


def expectation(function: Radial, *, dim: int, variance: float) -> Value:
    """E h(|X|), X ~ N(0, variance I).

    Args:
        function: h(r), for arrays; analytic, or the convergence is slow; growing slower than exp(r^2 / (2 variance)).
        dim: d, any.
        variance: v, of each coordinate.
    """
    dim, variance = _checks.positive_integer("dim", dim), _checks.number("variance", variance, above=0.0)
    window = _window(lambda y: _log_density(y, dim), dim)

    def rule(n: int) -> float:
        y = np.linspace(*window, n)
        weight = np.exp(_log_density(y, dim))
        return float(weight @ function(_radius(y, dim, variance)) / weight.sum())

    return _refine(rule)


def log_mean_exp(exponent: Radial, *, dim: int, variance: float) -> Value:
    """log E exp(h(|X|)), X ~ N(0, variance I); the error is one of the logarithm.

    Args:
        exponent: h(r), for arrays; analytic, or the convergence is slow.
        dim: d, any.
        variance: v, of each coordinate.

    Raises:
        ValueError: the expectation is infinite, as far as can be seen.
    """
    dim, variance = _checks.positive_integer("dim", dim), _checks.number("variance", variance, above=0.0)

    def tilted(y: Nodes) -> Nodes:
        return _log_density(y, dim) + exponent(_radius(y, dim, variance))

    def plain(y: Nodes) -> Nodes:
        return _log_density(y, dim)

    window = _window(plain, dim)
    sample = _radius(np.linspace(*window, 200), dim, variance)
    if np.max(np.abs(exponent(sample))) < 1.0:      # log(1 + small): a difference of logarithms would lose its digits
        mean = expectation(lambda r: np.expm1(exponent(r)), dim=dim, variance=variance)
        return Value(float(np.log1p(mean.value)), mean.error / (1 + mean.value))
    tilted_window = _window(tilted, dim)
    return _refine(lambda n: _log_integral(tilted, tilted_window, n) - _log_integral(plain, window, n))


def hopf_cole(
    terminal: Radial, *, dim: int, horizon: float, strength: float = 1.0, diffusion: float = 1.0
) -> Value:
    """u(0, 0) for u_t + c Lap u - strength |grad u|^2 = 0, u(T, x) = g(|x|).

    With a = strength / c, exp(-a u) solves the heat equation (Hopf 1950, Cole 1951), so that
    u(0, 0) = -(1/a) log E exp(-a g(|X|)), X ~ N(0, 2 c T I).

    Args:
        terminal: g(r), for arrays.
        dim: d, any.
        horizon: T.
        strength: of the control, not 0; below 0 for a maximising one.
        diffusion: c.
    """
    horizon = _checks.number("horizon", horizon, above=0.0)
    diffusion = _checks.number("diffusion", diffusion, above=0.0)
    a = _checks.number("strength", strength) / diffusion
    if a == 0.0:
        raise ValueError("strength must not be 0: the equation is linear then, see `expectation`")
    value, error = log_mean_exp(lambda r: -a * terminal(r), dim=dim, variance=2 * diffusion * horizon)
    return Value(-value / a, error / abs(a))


def _log_density(y: Nodes, dim: int) -> Nodes:
    return dim / 2 * (y - np.expm1(y))


def _radius(y: Nodes, dim: int, variance: float) -> Nodes:
    return np.sqrt(variance * dim * np.exp(y))


def _log_integral(log_f: Radial, window: tuple[float, float], n: int) -> float:
    y = np.linspace(*window, n)
    values = log_f(y)
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum() * (y[1] - y[0])))


def _window(log_f: Radial, dim: int) -> tuple[float, float]:
    """Where exp(log_f) is above exp(-45) of its maximum: searched on ever finer grids."""
    low, high = -25.0 - 120.0 / dim, 8.0
    for _ in range(20):
        y = np.linspace(low, high, 4001)
        values = log_f(y)
        if not np.isfinite(values).all():
            raise ValueError("the function must be finite on 0 <= r < infinity; it was not")
        inside = np.flatnonzero(values > values.max() - 45.0)
        if high == 8.0 and inside[-1] == len(y) - 1:
            raise ValueError("the expectation is infinite: the exponent outgrows the Gaussian density")
        low, high = y[max(inside[0] - 1, 0)], y[min(inside[-1] + 1, len(y) - 1)]
        if len(inside) > 400:
            break
    return float(low), float(high)


def _refine(rule: Callable[[int], float]) -> Value:
    """Double the nodes until two answers agree to rounding, or nearly and no longer improve."""
    previous, best = rule(65), Value(np.nan, np.inf)
    for n in (129, 257, 513, 1025, 2049, 4097, 8193):
        value = rule(n)
        change = abs(value - previous)
        if change < best.error:
            best = Value(value, change)
        if change <= 1e-14 * abs(value):
            break
        previous = value
    return best
