"""Optimal stopping on many assets: Bermudan options."""

import jax.numpy as jnp
import numpy as np

from .. import _checks
from ..classical import bermudan, bermudan_plane
from ..problems import Reference, StoppingProblem
from ..processes import GeometricBrownian
from ._case import Case
from ._case import digits as digits_of


def max_call(dim: int = 5, spot: float = 100.0, dates: int = 9) -> Case:
    """Stop at t_k = 3 k / dates, k = 0, ..., dates, for exp(-r t) (max_i x_i - 100)^+.

    d independent geometric Brownian motions with r = 0.05, dividends of 0.1 (so drift -0.05) and volatility 0.2, from
    x = (spot, ..., spot) (Andersen and Broadie 2004, table 2, d = 2, 3, 5; Becker, Cheridito and Jentzen 2019, table 1,
    d to 500). For d = 1 the reference is computed by quadrature, for d = 2 on a grid.

    Args:
        dim: d.
        spot: price of every asset at t = 0.
        dates: how often one may stop after t = 0.
    """
    dim, dates = _checks.positive_integer("dim", dim), _checks.positive_integer("dates", dates)
    spot = _checks.number("spot", spot, above=0.0)
    r, drift, sigma, strike = 0.05, -0.05, 0.2, 100.0
    times = np.linspace(0.0, 3.0, dates + 1)
    known = None
    law = {"spot": spot, "drift": drift, "volatility": sigma, "dates": times, "discount": r}
    if dim == 1:
        found = bermudan.solve(lambda t, s: np.maximum(s - strike, 0.0), kinks=[strike], rtol=1e-8, **law)
        known = _reference(found, "quadrature in one dimension", np.full(dim, spot))
    if dim == 2:
        found = bermudan_plane.solve(lambda t, a, b: np.maximum(np.maximum(a, b) - strike, 0.0), **law)
        known = _reference(found, "convolution on a grid in two dimensions", np.full(dim, spot))
    return _case(
        "max-call",
        known,
        "unknown for d above 2; Andersen and Broadie and Becker, Cheridito and Jentzen print bounds",
        process=GeometricBrownian(dim, drift=drift, volatility=sigma),
        payoff=lambda t, x: jnp.maximum(jnp.max(x) - strike, 0.0),
        dates=times,
        discount=r,
        at=np.full(dim, spot),
        parameters={"dim": dim, "spot": spot, "dates": dates},
    )


def geometric_basket(dim: int = 20, spot: float = 100.0, dates: int = 12) -> Case:
    """Stop at t_k = k / dates, k = 1, ..., dates, for exp(-r t) (100 - (x_1 ... x_d)^(1/d))^+.

    d geometric Brownian motions with drift r = 0.05, volatility 0.4 and correlation 0.5, from x = (spot, ..., spot).
    Their geometric mean is a geometric Brownian motion with volatility s, s^2 = 0.16 (1 + (d - 1) / 2) / d, and drift
    r + (s^2 - 0.16) / 2, so the reference is the value of a problem in one dimension, computed by quadrature.

    Args:
        dim: d.
        spot: price of every asset at t = 0.
        dates: how often one may stop.
    """
    dim, dates = _checks.positive_integer("dim", dim), _checks.positive_integer("dates", dates)
    spot = _checks.number("spot", spot, above=0.0)
    r, sigma, rho, strike = 0.05, 0.4, 0.5, 100.0
    times = np.linspace(0.0, 1.0, dates + 1)[1:]
    variance = sigma**2 * (1 + (dim - 1) * rho) / dim
    found = bermudan.solve(
        lambda t, s: np.maximum(strike - s, 0.0), spot=spot, drift=r + (variance - sigma**2) / 2,
        volatility=float(np.sqrt(variance)), dates=times, discount=r, kinks=[strike], rtol=1e-8,
    )
    correlation = np.where(np.eye(dim) > 0, 1.0, rho)
    return _case(
        "geometric-basket",
        _reference(found, "the geometric mean alone, by quadrature in one dimension", np.full(dim, spot)),
        "",
        process=GeometricBrownian(dim, drift=r, volatility=sigma, correlation=correlation),
        payoff=lambda t, x: jnp.maximum(strike - jnp.exp(jnp.mean(jnp.log(x))), 0.0),
        dates=times,
        discount=r,
        at=np.full(dim, spot),
        parameters={"dim": dim, "spot": spot, "dates": dates},
    )


# Volatility matrix of five stocks, by rows: after Kohler, Krzyzak and Todorovic 2010, from memory.
_FIVE_STOCKS = np.array([
    [0.3024, 0.1354, 0.0722, 0.1367, 0.1641],
    [0.1354, 0.2270, 0.0613, 0.1264, 0.1610],
    [0.0722, 0.0613, 0.0717, 0.0884, 0.0699],
    [0.1367, 0.1264, 0.0884, 0.2937, 0.1394],
    [0.1641, 0.1610, 0.0699, 0.1394, 0.2535],
])


def strangle_basket(dim: int = 5, spot: float = 100.0, dates: int = 48) -> Case:
    """Stop at t_k = k / dates, k = 0, ..., dates, for a strangle spread on the mean m of the prices, r = 0.05:

        -(75 - m)^+ + (90 - m)^+ + (m - 110)^+ - (m - 125)^+.

    Correlated geometric Brownian motions of drift r (Kohler, Krzyzak and Todorovic 2010, Mathematical Finance 20, with
    d = 5 and 48 dates; payoff and volatilities are quoted from memory, and were not checked against the paper). Other
    d take groups of five stocks like these, independent of each other.

    Args:
        dim: d.
        spot: price of every asset at t = 0.
        dates: how often one may stop after t = 0.
    """
    dim, dates = _checks.positive_integer("dim", dim), _checks.positive_integer("dates", dates)
    spot = _checks.number("spot", spot, above=0.0)
    r = 0.05
    groups = -(-dim // 5)
    covariance = np.kron(np.eye(groups), _FIVE_STOCKS @ _FIVE_STOCKS.T)[:dim, :dim]
    volatility = np.sqrt(np.diag(covariance))

    def spread(mean, positive):
        low = positive(90.0 - mean) - positive(75.0 - mean)
        return low + positive(mean - 110.0) - positive(mean - 125.0)

    times, known = np.linspace(0.0, 1.0, dates + 1), None
    if dim == 1:
        found = bermudan.solve(
            lambda t, s: spread(s, lambda a: np.maximum(a, 0.0)), spot=spot, drift=r, volatility=float(volatility[0]),
            dates=times, discount=r, kinks=[75.0, 90.0, 110.0, 125.0], rtol=1e-8,
        )
        known = _reference(found, "quadrature in one dimension", np.full(dim, spot))
    return _case(
        "strangle-basket",
        known,
        "unknown for d above 1",
        process=GeometricBrownian(dim, r, volatility, covariance / np.outer(volatility, volatility)),
        payoff=lambda t, x: spread(jnp.mean(x), lambda a: jnp.maximum(a, 0.0)),
        dates=times,
        discount=r,
        at=np.full(dim, spot),
        parameters={"dim": dim, "spot": spot, "dates": dates},
    )


def _reference(found: bermudan.Value, origin: str, at: np.ndarray) -> Reference:
    error = max(found.error, 1e-11 * found.value)
    return Reference(found.value, origin, digits_of(found.value, error), error, at)


def _case(
    name: str, known: Reference | None, otherwise: str, *, process, payoff, dates, discount, at, parameters
) -> Case:
    """A case whose problem carries the same reference."""
    problem = StoppingProblem(
        process=process, payoff=payoff, dates=dates, discount=discount, reference=known, name=name,
        zoo={"name": name, "parameters": parameters},
    )
    value, origin, digits = (None, otherwise, 0) if known is None else (known.value, known.origin, known.digits)
    return Case(
        name=name, problem=problem, at=at, reference=value, origin=origin, digits=digits, parameters=parameters
    )
