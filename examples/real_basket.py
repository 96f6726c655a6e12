"""A basket claim on twenty real stocks, where borrowing costs more than lending earns.

Volatilities and correlations come from the daily closes that skfolio carries (20 stocks of the S&P 500; nothing is
downloaded). The equation is Bergman's (1995), for correlated stocks: docs/real_basket.md derives it and reads what this
script prints.

    python examples/real_basket.py                                              needs skfolio: pip install skfolio
    uncurse solve examples/real_basket.py:twenty --at 100 --rtol 0.02           the same, with options
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import uncurse as uc

DAYS = 504                          # of returns: two years
YEAR = 252                          # trading days
LEND, BORROW = 0.04, 0.06           # interest, per year
HORIZON = 0.5                       # years
LOWER, UPPER = 95.0, 110.0          # strikes: the claim is one call at 95 less two at 110
SPOT = 100.0

Payoff = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Market:
    """What is estimated from prices: volatilities per year (d,), correlations (d, d); and from which days."""

    names: tuple[str, ...]
    volatility: np.ndarray
    correlation: np.ndarray
    first: str
    last: str

    @property
    def smallest_volatility(self) -> float:
        """Of all portfolios, fully invested: 1 / sqrt(1 . C^-1 1), with C the covariance of returns."""
        covariance = np.outer(self.volatility, self.volatility) * self.correlation
        return float(1 / np.sqrt(np.linalg.solve(covariance, np.ones(len(self.names))).sum()))


def market(days: int = DAYS, names: tuple[str, ...] | None = None) -> Market:
    """Volatilities and correlations of the last `days` daily log-returns, of all stocks or of those named."""
    from skfolio.datasets import load_sp500_dataset

    closes = load_sp500_dataset().iloc[-days - 1 :]
    closes = closes if names is None else closes[list(names)]
    returns = np.diff(np.log(closes.to_numpy()), axis=0)
    correlation = np.atleast_2d(np.corrcoef(returns.T))
    dates = [str(day.date()) for day in closes.index]
    volatility = returns.std(axis=0, ddof=1) * np.sqrt(YEAR)
    return Market(tuple(closes.columns), volatility, correlation, dates[0], dates[-1])


def problem(data: Market, lend: float = LEND, borrow: float = BORROW) -> uc.ParabolicPDE:
    """u_t + L u - lend u + (borrow - lend) max(0, x . grad u - u) = 0, with all stocks drifting at `lend` in L.

    Bounds: f is the largest of two functions linear in (u, grad), hence convex; f_u is -lend or -borrow; the two values
    of f_z are (borrow - lend) / smallest_volatility apart.
    """

    def source(t, x, u, grad):
        return -lend * u + (borrow - lend) * jnp.maximum(0.0, jnp.sum(x * grad) - u)

    def terminal(x):
        basket = jnp.mean(x)
        return jnp.maximum(basket - LOWER, 0.0) - 2 * jnp.maximum(basket - UPPER, 0.0)

    return uc.ParabolicPDE(
        process=uc.GeometricBrownian(len(data.names), lend, data.volatility, data.correlation),
        source=source,
        terminal=terminal,
        horizon=HORIZON,
        bounds=uc.SourceBounds(
            shape="convex", slope=(-borrow, -lend), gradient_slope=(borrow - lend) / data.smallest_volatility
        ),
        name="real basket",
    )


def twenty(lend: float = LEND, borrow: float = BORROW) -> uc.ParabolicPDE:
    """Bergman's equation for one call at 95 less two at 110, on the mean of twenty real stocks.

    Args:
        lend: interest earned, per year.
        borrow: interest paid, per year, at least as much.
    """
    return problem(market(), lend, borrow)


def plain(data: Market, rate: float, payoff: Payoff, paths: int = 2**20) -> tuple[float, float]:
    """The price at a single rate by plain Monte Carlo in NumPy, with its standard error: only a check of the answer."""
    rng = np.random.default_rng(1)
    scale = np.linalg.cholesky(data.correlation) * data.volatility[:, None] * np.sqrt(HORIZON)
    mean = (rate - data.volatility**2 / 2) * HORIZON
    blocks = []
    for _ in range(16):         # a block at a time, for the memory's sake
        noise = rng.standard_normal((paths // 32, len(data.names))) @ scale.T
        ends = (SPOT * np.exp(mean + sign * noise) for sign in (1, -1))
        pair = [payoff(end.mean(axis=1)) for end in ends]
        blocks.append(np.exp(-rate * HORIZON) * (pair[0] + pair[1]) / 2)
    values = np.concatenate(blocks)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def claim(basket: np.ndarray) -> np.ndarray:
    return np.maximum(basket - LOWER, 0.0) - 2 * np.maximum(basket - UPPER, 0.0)


def brackets(data: Market, lend: float = LEND, borrow: float = BORROW) -> dict[str, tuple[float, float]]:
    """Bounds that need no nonlinear equation, with their standard errors: docs/real_basket.md says why they hold."""
    long, error = plain(data, borrow, lambda basket: np.maximum(basket - LOWER, 0.0))
    short, error2 = plain(data, lend, lambda basket: -2 * np.maximum(basket - UPPER, 0.0))
    return {
        "all at the lending rate": plain(data, lend, claim),
        "all at the borrowing rate": plain(data, borrow, claim),
        "each call at its worse rate": (long + short, float(np.hypot(error, error2))),
    }


def main(rtol: float = 2e-2) -> uc.Solution:
    """Print the market, the elementary prices, and the answer."""
    data = market()
    pairs = data.correlation[np.triu_indices(len(data.names), 1)]
    print(f"{len(data.names)} stocks, {data.first} to {data.last}")
    print(f"  volatilities                  {data.volatility.min():.3f} to {data.volatility.max():.3f}")
    print(f"  mean correlation              {pairs.mean():.3f}")
    print(f"  smallest portfolio volatility {data.smallest_volatility:.3f}")
    for words, (price, error) in brackets(data).items():
        print(f"  {words:<30}{price:.3f} +- {2.6 * error:.3f}")
    solution = uc.solve(problem(data), at=np.full(len(data.names), SPOT), rtol=rtol)
    print(solution)
    return solution


if __name__ == "__main__":
    main()
