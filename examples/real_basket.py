"""A basket claim on twenty real stocks, hedged with borrowed money that costs more than lent money earns.

Volatilities and correlations come from the daily closes that skfolio carries (20 stocks of the S&P 500; nothing is
downloaded). The equation is Bergman's (1995), for correlated stocks: see docs/real_basket.md for where it comes from.

    python examples/real_basket.py            needs: pip install skfolio
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import uncurse as uc

DAYS = 504                      # two years of returns
YEAR = 252                      # trading days
LEND, BORROW = 0.04, 0.06       # interest, per year
HORIZON = 0.5                   # years
LONG, SHORT = 95.0, 115.0       # strikes: long one call on the basket, short two


@dataclass(frozen=True)
class Market:
    """What is estimated: annual volatilities (d,), correlations (d, d), and where from."""

    names: tuple[str, ...]
    volatility: np.ndarray
    correlation: np.ndarray
    first: str
    last: str


def market(days: int = DAYS) -> Market:
    """Volatilities and correlations of the last `days` daily log-returns."""
    from skfolio.datasets import load_sp500_dataset

    closes = load_sp500_dataset().iloc[-days - 1 :]
    returns = np.diff(np.log(closes.to_numpy()), axis=0)
    dates = [str(day.date()) for day in closes.index]
    return Market(
        tuple(closes.columns), returns.std(axis=0, ddof=1) * np.sqrt(YEAR), np.corrcoef(returns.T), dates[0], dates[-1]
    )


def payoff(basket, maximum=jnp.maximum):
    """(B - 95)^+ - 2 (B - 115)^+, with B the mean of the stocks, each 100 today."""
    return maximum(basket - LONG, 0.0) - 2 * maximum(basket - SHORT, 0.0)


def problem(data: Market, lend: float = LEND, borrow: float = BORROW) -> uc.ParabolicPDE:
    """u_t + L u - lend u + (borrow - lend) max(0, x . grad u - u) = 0, with drift `lend` in L."""
    weights = np.linalg.solve(np.outer(data.volatility, data.volatility) * data.correlation, np.ones(len(data.names)))
    smallest = 1 / np.sqrt(weights.sum())       # volatility of the minimum-variance portfolio

    def source(t, x, u, grad):
        return -lend * u + (borrow - lend) * jnp.maximum(0.0, x @ grad - u)

    return uc.ParabolicPDE(
        process=uc.GeometricBrownian(len(data.names), lend, data.volatility, data.correlation),
        source=source,
        terminal=lambda x: payoff(jnp.mean(x)),
        horizon=HORIZON,
        bounds=uc.SourceBounds(shape="convex", slope=(-borrow, -lend), gradient_slope=(borrow - lend) / smallest),
        name="real basket",
    )


def main() -> None:
    data = market()
    solution = uc.solve(problem(data), at=np.full(len(data.names), 100.0), rtol=2e-2, progress=True, throw=False)
    print(solution)
    print(solution.stats)


if __name__ == "__main__":
    main()
