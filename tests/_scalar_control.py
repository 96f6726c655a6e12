"""A scalar control problem, and dynamic programming for it on a grid."""

import math

import numpy as np

import uncurse as uc


def scalar(**changes) -> uc.ControlProblem:
    """x' = x + a h + sigma sqrt(h) xi, cost sum (x^2 + a^2) h + x_N^2."""
    stated = {
        "dim": 1, "control_dim": 1, "drift": lambda t, x, a: a, "volatility": 0.5,
        "running_cost": lambda t, x, a: x[0] ** 2 + a[0] ** 2, "terminal_cost": lambda x: x[0] ** 2,
        "horizon": 1.0, "steps": 10,
    }
    return uc.ControlProblem(**{**stated, **changes})


def grid_value(
    problem: uc.ControlProblem, controls: np.ndarray, x0: float, reach: float = 6.0, cells: int = 1201
) -> float:
    """Dynamic programming on a grid for d = m = 1: Gauss-Hermite noise, linear interpolation, controls tried one by
    one.

    Its error is O(cell^2) for the interpolation of smooth values and O((distance of controls)^2): checked by halving
    both.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()
    x = np.linspace(-reach, reach, cells)
    h, sigma = problem.step, float(np.asarray(problem.volatility))
    value = np.asarray([problem.terminal_cost(np.asarray([v])) for v in x], dtype=np.float64)
    for k in reversed(range(problem.steps)):
        best = np.full(cells, np.inf)
        for a in controls:
            moved = x + h * np.asarray(problem.drift(k * h, x[None], np.asarray([a]))).ravel()
            ends = moved[:, None] + sigma * math.sqrt(h) * nodes
            inner = np.interp(ends, x, value)
            over = np.abs(ends) > reach     # quadratic continuation beyond the grid
            slope = (value[-1] - value[-2]) / (x[1] - x[0])
            inner = np.where(over, value[-1] + slope * (np.abs(ends) - reach) + (np.abs(ends) - reach) ** 2, inner)
            cost = np.asarray([float(c) for c in np.broadcast_to(
                problem.running_cost(k * h, x[None], np.asarray([a])), (cells,))])
            best = np.minimum(best, h * cost + inner @ weights)
        value = best
    return float(np.interp(x0, x, value))


def riccati_by_hand(problem: uc.ControlProblem, x: float) -> float:
    """P_k = h + P - P^2 h^2 / (h + P h^2) for the scalar problem, noise sigma^2 h P a step."""
    h, P, c = problem.step, 1.0, 0.0
    for _ in range(problem.steps):
        c += P * 0.25 * h
        P = h + P - (P * h) ** 2 / (h + P * h**2)
    return P * x**2 + c
