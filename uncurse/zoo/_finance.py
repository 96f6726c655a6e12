"""Valuation problems on many assets."""

import math

import jax.numpy as jnp
import numpy as np

from .. import _checks
from ..problems import SourceBounds
from ..processes import GeometricBrownian
from ._case import Case, make


def black_scholes_barenblatt(dim: int = 100) -> Case:
    """u_t + 1/2 sigma^2 sum_i x_i^2 u_ii - r (u - x . grad u) = 0 on [0, 1], u(1, x) = |x|^2.

    At x = (1, 1/2, 1, 1/2, ...), with sigma = 0.4, r = 0.05; u(t, x) = exp((r + sigma^2) (1 - t)) |x|^2 (Raissi 2018,
    Forward-backward stochastic neural networks). It is linear: a test of what a library does with the obvious.

    Bounds: f = -r u + (r / sigma) sum_i z_i with z_i = sigma x_i u_i is linear.

    Args:
        dim: d.
    """
    dim = _checks.positive_integer("dim", dim)
    sigma, r, horizon = 0.4, 0.05, 1.0
    at = np.where(np.arange(dim) % 2 == 0, 1.0, 0.5)
    return make(
        "black-scholes-barenblatt",
        process=GeometricBrownian(dim, drift=0.0, volatility=sigma),
        source=lambda t, x, u, grad: -r * (u - jnp.sum(x * grad)),
        terminal=lambda x: jnp.sum(x**2),
        horizon=horizon,
        bounds=SourceBounds(
            shape="convex", slope=(-r, -r), curvature=0.0, gradient_slope=0.0, gradient_curvature=0.0
        ),
        at=at,
        reference=math.exp((r + sigma**2) * horizon) * float(np.sum(at**2)),
        origin="exact: u(t, x) = exp((r + sigma^2) (1 - t)) |x|^2",
        digits=15,
        parameters={"dim": dim},
    )


def default_risk(dim: int = 100) -> Case:
    """u_t + L u - (1 - delta) Q(u) u - R u = 0 on [0, 1], u(1, x) = min_i x_i, at x = (100, ..., 100).

    L is the generator of d independent geometric Brownian motions of drift 0.02 and volatility 0.2; delta = 2/3 is what
    a default leaves, R = 0.02 the interest rate, and Q(u) the intensity of default: 0.2 below u = 50, 0.02 above 70,
    linear between (Han, Jentzen and E 2018, Proc. Natl. Acad. Sci. 115, the Black-Scholes equation with default risk).
    For d = 100, 57.3 is printed (multilevel Picard); for d = 1 the reference is a grid's.

    Bounds: f_u = -(1 - delta) (Q + u Q') - R is least below 50, where Q = 0.2, and greatest at 70 from the left, for
    every real u. f has kinks.

    Args:
        dim: d.
    """
    dim = _checks.positive_integer("dim", dim)
    loss, rate = 1 / 3, 0.02
    low, high, intensity, rest = 50.0, 70.0, 0.2, 0.02
    descent = (intensity - rest) / (high - low)

    def source(t, x, u, grad):
        q = jnp.clip(intensity - descent * (u - low), rest, intensity)
        return -loss * q * u - rate * u

    reference, origin, digits, error = _on_a_line(_DEFAULT_RISK, "57.3 is printed for d = 100 (multilevel Picard)", dim)
    return make(
        "default-risk",
        process=GeometricBrownian(dim, drift=0.02, volatility=0.2),
        source=source,
        terminal=jnp.min,
        horizon=1.0,
        bounds=SourceBounds(
            slope=(-loss * intensity - rate, -loss * (rest - descent * high) - rate),
            gradient_slope=0.0,
            gradient_curvature=0.0,
        ),
        at=np.full(dim, 100.0),
        reference=reference,
        origin=origin,
        digits=digits,
        error=error,
        parameters={"dim": dim},
    )


def different_rates(dim: int = 100) -> Case:
    """u_t + L u - R_l u - (mu - R_l) x . grad u + (R_b - R_l) max(0, x . grad u - u) = 0 on [0, 1/2].

    Lending at R_l = 0.04 and borrowing at R_b = 0.06; L is the generator of d independent geometric Brownian motions of
    drift mu = 0.06 and volatility sigma = 0.2; u(1/2, x) = (m - 120)^+ - 2 (m - 150)^+ with m = max_i x_i; wanted at
    x = (100, ..., 100) (Bergman 1995; E, Han and Jentzen 2017, Commun. Math. Stat. 5, section 4.4). For d = 100, 21.299
    is printed (multilevel Picard); for d = 1 the reference is a grid's.

    Bounds: with z_i = sigma x_i u_i, f is linear plus a maximum of linear functions, hence convex; f_u is -R_l or -R_b,
    and the two values of f_z are (R_b - R_l) sqrt(d) / sigma apart, along (1, ..., 1). f has a kink.

    Args:
        dim: d.
    """
    dim = _checks.positive_integer("dim", dim)
    mu, sigma, lend, borrow = 0.06, 0.2, 0.04, 0.06

    def source(t, x, u, grad):
        invested = jnp.sum(x * grad)
        return -lend * u - (mu - lend) * invested + (borrow - lend) * jnp.maximum(0.0, invested - u)

    def terminal(x):
        best = jnp.max(x)
        return jnp.maximum(best - 120.0, 0.0) - 2 * jnp.maximum(best - 150.0, 0.0)

    reference, origin, digits, error = _on_a_line(
        _DIFFERENT_RATES, "21.299 is printed for d = 100 (multilevel Picard)", dim
    )
    return make(
        "different-rates",
        process=GeometricBrownian(dim, drift=mu, volatility=sigma),
        source=source,
        terminal=terminal,
        horizon=0.5,
        bounds=SourceBounds(
            shape="convex",
            slope=(-borrow, -lend),
            gradient_slope=(borrow - lend) / sigma * math.sqrt(dim),
            gradient_directions=1,
        ),
        at=np.full(dim, 100.0),
        reference=reference,
        origin=origin,
        digits=digits,
        error=error,
        parameters={"dim": dim},
    )


# u(0, 100) for d = 1: value, digits and error, from `classical.grid`; tests/test_zoo.py computes them again.
_DEFAULT_RISK = (99.326488, 8, 5e-7)
_DIFFERENT_RATES = (1.0525711, 8, 5e-8)


def _on_a_line(known: tuple[float, int, float], printed: str, dim: int) -> tuple[float | None, str, int, float]:
    """What is known of a case: a grid's answer for d = 1, a printed value or nothing above."""
    if dim == 1:
        value, digits, error = known
        return value, "finite differences on a line, extrapolated", digits, error
    return None, "unknown" if dim != 100 else f"unknown; {printed}", 0, 0.0
