"""Semilinear parabolic equations on a line, by finite differences of second order in space and time.

    u_t + b(x) u_x + 1/2 s(x)^2 u_xx + f(t, x, u, u_x) = 0 on [0, T] x [low, high],    u(T, x) = g(x).

Central differences on a uniform grid; in time, two implicit stages of equal diagonal (Alexander 1977, the L-stable
method of order 2), which also damp the kinks of g; Newton's method at each stage. At the two ends u_xx is put to 0, an
error that reaches a point only through the paths that leave the interval: take it six standard deviations wide or more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .. import _checks
from ._value import Value

Nodes = Float[np.ndarray, " nodes"]
Coefficient = Callable[[Nodes], Nodes]
Source = Callable[[float, Nodes, Nodes, Nodes], Nodes]
_GAMMA = 1 - np.sqrt(0.5)


@dataclass(frozen=True)
class GridSolution:
    """u(0, .) at the nodes `x`; called at points between them, it interpolates by cubics.

    Raises:
        ValueError: a point outside the interval.
    """

    x: Nodes
    u: Nodes

    def __call__(self, at: float | Nodes, derivative: int = 0) -> Nodes:
        """u(0, at), or a derivative of it in x."""
        from scipy.interpolate import CubicSpline

        points = _checks.as_array("at", at)
        if (points < self.x[0]).any() or (points > self.x[-1]).any():
            raise ValueError(f"at must lie within the interval [{self.x[0]:g}, {self.x[-1]:g}]; got {at!r}")
        return CubicSpline(self.x, self.u)(points, derivative)


def solve(
    drift: Coefficient,
    volatility: Coefficient,
    source: Source,
    terminal: Coefficient,
    *,
    horizon: float,
    interval: tuple[float, float],
    nodes: int = 801,
    steps: int = 400,
) -> GridSolution:
    """u at t = 0 on a grid.

    Args:
        drift: b(x), for arrays.
        volatility: s(x), for arrays.
        source: f(t, x, u, u_x), for a number t and arrays.
        terminal: g(x), for arrays. Kinks cost accuracy unless they fall on nodes.
        horizon: T.
        interval: (low, high), wide enough: see above.
        nodes: grid points, ends included.
        steps: time steps; of the order of `nodes` balances the two errors.

    Raises:
        ValueError: an argument out of range, or a stage that Newton's method cannot solve.
    """
    horizon = _checks.number("horizon", horizon, above=0.0)
    low, high = (_checks.number(f"interval[{i}]", end) for i, end in enumerate(interval))
    if low >= high:
        raise ValueError(f"interval must be (low, high) with low < high; got ({low:g}, {high:g})")
    nodes, steps = _checks.positive_integer("nodes", nodes), _checks.positive_integer("steps", steps)
    if nodes < 5:
        raise ValueError(f"nodes must be at least 5; got {nodes}")
    x = np.linspace(low, high, nodes)
    operator = _Operator(x, _on(x, drift), _on(x, volatility), source)
    u, h = _on(x, terminal), horizon / steps
    for k in range(steps):
        t = horizon - k * h
        first = operator.stage(t - _GAMMA * h, u, _GAMMA * h, u)
        slope = (first - u) / (_GAMMA * h)
        u = operator.stage(t - h, u + (1 - _GAMMA) * h * slope, _GAMMA * h, first)
    return GridSolution(x, u)


def value(
    drift: Coefficient,
    volatility: Coefficient,
    source: Source,
    terminal: Coefficient,
    *,
    at: float,
    horizon: float,
    interval: tuple[float, float],
    nodes: int = 801,
    steps: int = 400,
) -> Value:
    """u(0, at), extrapolated from a grid and one twice as fine (Richardson 1911); arguments as for `solve`.

    The error is the correction that the extrapolation made to the finer answer.
    """
    grids = ((nodes, steps), (2 * nodes - 1, 2 * steps))
    coarse, fine = (
        float(solve(drift, volatility, source, terminal, horizon=horizon, interval=interval, nodes=n, steps=m)(at))
        for n, m in grids
    )
    return Value(fine + (fine - coarse) / 3, abs(fine - coarse) / 3)


class _Operator:
    """F(t, u) = b u_x + 1/2 s^2 u_xx + f on the grid, and the solution of u - weight F(t, u) = known."""

    def __init__(self, x: Nodes, drift: Nodes, volatility: Nodes, source: Source):
        self.x, self.source = x, source
        n, h = len(x), x[1] - x[0]
        up, down = np.full(n, 0.5 / h), np.full(n, -0.5 / h)        # weights of u_{i+1} and u_{i-1} in u_x
        up[0], down[0], up[-1], down[-1] = 1 / h, 0.0, 0.0, -1 / h  # u_xx = 0 outside the ends
        spread = 0.5 * volatility**2 / h**2
        spread[0] = spread[-1] = 0.0
        self.slope = np.array([down, -up - down, up])
        self.linear = drift * self.slope + spread * np.array([[1.0], [-2.0], [1.0]])

    def stage(self, t: float, known: Nodes, weight: float, guess: Nodes) -> Nodes:
        from scipy.linalg import solve_banded

        u = guess
        for _ in range(25):
            ux = _apply(self.slope, u)
            f = _on(self.x, lambda x, u=u, ux=ux: self.source(t, x, u, ux))
            residual = u - weight * (_apply(self.linear, u) + f) - known
            hu, hp = 1e-6 * (1 + np.abs(u)), 1e-6 * (1 + np.abs(ux))
            fu = (self.source(t, self.x, u + hu, ux) - f) / hu
            fp = (self.source(t, self.x, u, ux + hp) - f) / hp
            rows = -weight * (self.linear + fp * self.slope)
            rows[1] += 1 - weight * fu
            banded = np.zeros_like(rows)
            banded[0, 1:], banded[1], banded[2, :-1] = rows[2, :-1], rows[1], rows[0, 1:]
            step = solve_banded((1, 1), banded, residual)
            u = u - step
            if np.max(np.abs(step)) <= 1e-11 * (1 + np.max(np.abs(u))):
                return u
        raise ValueError(f"Newton's method did not converge at t = {t:g}: take more steps; is f Lipschitz?")


def _apply(rows: Float[np.ndarray, "3 nodes"], u: Nodes) -> Nodes:
    """The tridiagonal matrix with rows (lower, diagonal, upper), times u."""
    out = rows[1] * u
    out[1:] += rows[0, 1:] * u[:-1]
    out[:-1] += rows[2, :-1] * u[1:]
    return out


def _on(x: Nodes, function: Callable[[Nodes], Nodes]) -> Nodes:
    """Values of a function at the nodes; a constant is spread out."""
    return np.array(np.broadcast_to(function(x), x.shape), dtype=np.float64)
