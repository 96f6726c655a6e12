"""Whole calls of `uc.solve` with default settings, as a user makes them: zoo cases and equations of one's own.

A case keeps its problem, so that a new seed compiles nothing anew. Each has a truth that is not from Monte Carlo.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from _hostile import on_a_line
from _problems import made
from _scalar_control import grid_value, scalar
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.stats import norm

import uncurse as uc


@dataclass(frozen=True)
class Whole:
    """One problem, its points, the truth there, and a tolerance loose enough for many seeds."""

    problem: uc.ParabolicPDE | uc.ControlProblem | uc.StoppingProblem
    at: np.ndarray
    truth: Any
    tolerance: dict[str, float]
    every: int = 1      # of the seeds, one in so many: what takes long
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def process(self) -> str:
        """The name of the diffusion, or what is decided."""
        found = self.problem if isinstance(self.problem, uc.ControlProblem) else self.problem.process
        return type(found).__name__


def _zoo(name: str, rtol: float, every: int = 1, method: str | None = None, **parameters: Any) -> Callable[[], Whole]:
    def make() -> Whole:
        case = uc.zoo.get(name, **parameters)
        return Whole(case.problem, case.at, case.reference, {"rtol": rtol}, every, {"method": method})

    return make


def reverting_control() -> Whole:
    """f = -|grad|^2 / 2 on an Ornstein-Uhlenbeck process, T = 10, from far away: by Hopf and Cole, a Gaussian mean."""
    d, rate, sigma, horizon, x = 5, 0.5, 0.8, 10.0, 2.0
    problem = uc.ParabolicPDE(
        process=uc.OrnsteinUhlenbeck(d, rate, sigma), horizon=horizon, terminal=lambda x: jnp.sum(jnp.sqrt(1 + x**2)),
        source=lambda t, x, u, grad: -(sigma**2) / 2 * jnp.sum(grad**2),
    )
    mean, spread = x * math.exp(-rate * horizon), sigma * math.sqrt(-math.expm1(-2 * rate * horizon) / (2 * rate))
    one = quad(lambda z: math.exp(-math.sqrt(1 + (mean + spread * z) ** 2)) * norm.pdf(z), -12, 12)[0]
    return Whole(problem, np.full(d, x), -d * math.log(one), {"rtol": 1e-2}, 2)


def stocks() -> Whole:
    """A discounted call on the geometric mean of ten correlated stocks, at three points at once: Black and Scholes."""
    d, mu, r, sigma, horizon = 10, 0.03, 0.05, 0.3, 1.0
    rho = np.full((d, d), 0.4) + 0.6 * np.eye(d)
    problem = uc.ParabolicPDE(
        process=uc.GeometricBrownian(d, mu, sigma, rho), source=lambda t, x, u, grad: -r * u, horizon=horizon,
        terminal=lambda x: jnp.maximum(jnp.exp(jnp.mean(jnp.log(x))) - 1.0, 0.0),
    )
    starts = np.array([0.8, 1.0, 1.3])
    v = sigma * math.sqrt(float(np.mean(rho)) * horizon)
    m = np.log(starts) + (mu - sigma**2 / 2) * horizon
    price = np.exp(m + v**2 / 2) * norm.cdf((m + v**2) / v) - norm.cdf(m / v)
    points, truth = np.repeat(starts[:, None], d, axis=1), math.exp(-r * horizon) * price
    return Whole(problem, points, truth, {"rtol": 2e-2, "atol": 1e-3}, 5)


def far_reaction() -> Whole:
    """f = sin(3 u) + t sin(x_0) + ..., made up, two points far from 0."""
    def solution(t, x):
        return 2 + jnp.sin(0.5 * x[0] - t) * jnp.cos(0.3 * x[1])

    base = made(solution, lambda u, grad: jnp.sin(3 * u), uc.Brownian(2, 0.7), dim=2)
    points = np.array([[40.0, -25.0], [-13.0, 7.0]])
    truth = np.array([float(solution(0.0, jnp.asarray(x, dtype=np.float32))) for x in points])
    return Whole(base, points, truth, {"rtol": 5e-2}, 5)


def front() -> Whole:
    """The standing wave tanh of Allen-Cahn's equation in ten dimensions: g touches the ends of its range."""
    d, r = 10, math.sqrt(2.0)
    problem = uc.ParabolicPDE(
        process=uc.Brownian(d, r), source=lambda t, x, u, grad: u - u**3, horizon=0.5,
        terminal=lambda x: jnp.tanh(jnp.sum(x) / math.sqrt(2 * d)),
    )
    return Whole(problem, np.full(d, 0.3), math.tanh(0.3 * d / math.sqrt(2 * d)), {"rtol": 1e-1}, 5)


def kinks() -> Whole:
    """0.05 |sum of grad| / sqrt(d) on the line that g depends on, in five dimensions."""
    d = 5
    problem = uc.ParabolicPDE(
        process=uc.Brownian(d, 1.0), horizon=0.5, terminal=lambda x: jnp.cos(jnp.sum(x) / math.sqrt(d)) + 1,
        source=lambda t, x, u, grad: 0.05 * jnp.abs(jnp.sum(grad)) / math.sqrt(d),
        bounds=uc.SourceBounds(gradient_slope=0.1),
    )
    truth = on_a_line(lambda u, p: 0.05 * np.abs(p), lambda s: np.cos(s) + 1, 0.2, 0.5)
    return Whole(problem, np.full(d, 0.2 / math.sqrt(d)), truth, {"rtol": 5e-2}, 5)


def estimated_curvature() -> Whole:
    """0.5 sqrt(1 + |grad|^2) in ten dimensions: nothing declared, K from samples."""
    d = 10
    problem = uc.ParabolicPDE(
        process=uc.Brownian(d, 1.0), horizon=0.5, terminal=lambda x: jnp.cos(jnp.sum(x) / math.sqrt(d)),
        source=lambda t, x, u, grad: 0.5 * jnp.sqrt(1 + jnp.sum(grad**2)),
    )
    truth = on_a_line(lambda u, p: 0.5 * np.sqrt(1 + p**2), lambda s: np.cos(s), 0.2, 0.5)
    return Whole(problem, np.full(d, 0.2 / math.sqrt(d)), truth, {"rtol": 2e-2}, 5)


def stepped() -> Whole:
    """Stocks stepped by Euler's scheme, of which E |X_T|^2 is known."""
    mu, sigma, x = 0.1, 0.3, np.array([1.0, 0.7])
    process = uc.Diffusion(2, lambda t, x: mu * x, lambda t, x: sigma * jnp.diag(x))
    problem = uc.ParabolicPDE(
        process=process, source=lambda t, x, u, grad: -0.2 * u, terminal=lambda x: x @ x, horizon=1.0
    )
    return Whole(problem, x, float(x @ x) * math.exp(2 * mu + sigma**2 - 0.2), {"rtol": 3e-2})


def heavy_tails() -> Whole:
    """E X^6: the fourth moment of S is large."""
    problem = uc.ParabolicPDE(process=uc.Brownian(1, 1.0), terminal=lambda x: x[0] ** 6, horizon=1.0)
    return Whole(problem, np.zeros(1), 15.0, {"rtol": 5e-2})


def rare() -> Whole:
    """A digital claim of probability 1e-3."""
    problem = uc.ParabolicPDE(
        process=uc.GeometricBrownian(1, 0.0, 0.2), terminal=lambda x: jnp.where(x[0] > 1.8, 1.0, 0.0), horizon=1.0
    )
    truth = norm.cdf((math.log(1 / 1.8) - 0.02) / 0.2)
    return Whole(problem, np.ones(1), truth, {"rtol": 3e-1}, 5, options={"method": "smoothing"})


def rarer() -> Whole:
    """P(X > 3.7) = 1e-4: most pilots see nothing."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(1, 1.0), terminal=lambda x: jnp.where(x[0] > 3.719, 1.0, 0.0), horizon=1.0
    )
    return Whole(problem, np.zeros(1), norm.sf(3.719), {"rtol": 5e-1}, 2, options={"method": "smoothing"})


def nought() -> Whole:
    """u = 0 at the point: no relative tolerance is ever met, and an absolute one is."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(2, 1.0), source=lambda t, x, u, grad: jnp.sin(u), horizon=0.5,
        terminal=lambda x: jnp.sin(x[0] + x[1]),
    )
    return Whole(problem, np.zeros(2), 0.0, {"rtol": 0.0, "atol": 1e-1}, 5)


def small() -> Whole:
    """The Hopf-Cole formula for u of the order of 1e-8."""
    unit = 1e-8
    problem = uc.ParabolicPDE(
        process=uc.Brownian(3, 1.0), source=lambda t, x, u, grad: -jnp.sum(grad**2) / unit / 2, horizon=1.0,
        terminal=lambda x: unit * (x @ x) / 2,
    )
    return Whole(problem, np.full(3, 0.5), unit * 3 * (0.5 * math.log(2.0) + 0.0625), {"rtol": 1e-2}, 5)


def bounded_control() -> Whole:
    """Three equal problems side by side, whose bounds bind: least E[sum (x^2 + a^2) h + x_N^2], |a| <= 1, from x = 1.5.

    The value of one is found backwards on a grid: the mean over the noise by Gauss and Hermite, the minimum over 2001
    controls.
    """
    d, steps, sigma, x = 3, 10, 0.5, 1.5
    h = 1.0 / steps
    problem = uc.ControlProblem(
        dim=d, control_dim=d, drift=lambda t, x, a: a, volatility=sigma, horizon=1.0, steps=steps,
        running_cost=lambda t, x, a: jnp.sum(x**2) + jnp.sum(a**2), terminal_cost=lambda x: jnp.sum(x**2),
        control_bounds=(-1.0, 1.0),
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    grid, controls = np.linspace(-8.0, 8.0, 1601), np.linspace(-1.0, 1.0, 2001)
    value: Callable = np.square
    for _ in range(steps):
        mean = CubicSpline(grid, value(grid[:, None] + sigma * math.sqrt(h) * nodes) @ weights / weights.sum())
        costs = controls**2 * h + mean(grid[:, None] + controls * h)
        value = CubicSpline(grid, grid**2 * h + costs.min(axis=1))
    return Whole(problem, np.full(d, x), d * float(value(x)), {"rtol": 5e-3}, 5)


def two_wells() -> Whole:
    """Theorem 8b: controls shift the noise, and the costs of the state are not convex; against a grid."""
    problem = scalar(
        drift=lambda t, x, a: a + jnp.sin(x), running_cost=lambda t, x, a: a[0] ** 2,
        terminal_cost=lambda x: 2 * (x[0] ** 2 - 1) ** 2 / (1 + x[0] ** 2),
    )
    return Whole(problem, np.array([0.3]), grid_value(problem, np.linspace(-6.0, 6.0, 481), 0.3), {"rtol": 1e-1}, 25)


def basket_by_networks() -> Whole:
    """Continuation values from small networks, and the exact value of the geometric mean's option."""
    case, method = uc.zoo.geometric_basket(dim=3, dates=4), uc.methods.BackwardNetwork(8, 4096, 8, 100)
    return Whole(case.problem, case.at, case.reference, {"rtol": 2e-2}, 20, {"method": method})


WHOLE: dict[str, Callable[[], Whole]] = {
    "hjb-2": _zoo("hjb", 2e-2, dim=2),
    "hjb-100": _zoo("hjb", 1e-3, 10, dim=100),
    "hjb-100-strength-10": _zoo("hjb", 3e-3, 10, dim=100, strength=10.0),
    "hjb-100-strength-20": _zoo("hjb", 3e-2, 10, dim=100, strength=20.0, method="smoothing"),
    "hjb-1000": _zoo("hjb", 1e-3, 50, dim=1000),
    "allen-cahn-10": _zoo("allen-cahn", 1e-2, 5, dim=10),
    "sine-gordon-100": _zoo("sine-gordon", 1e-2, 50, dim=100),
    "semilinear-heat-2": _zoo("semilinear-heat", 1e-2, 2, dim=2),
    "quadratic-gradient-10": _zoo("quadratic-gradient", 1e-2, 5, dim=10),
    "barenblatt-10": _zoo("black-scholes-barenblatt", 1e-2, 5, dim=10),
    "barenblatt-1": _zoo("black-scholes-barenblatt", 1e-2, dim=1),
    "burgers-2": _zoo("burgers", 1e-1, 5, dim=2),
    "default-risk-1": _zoo("default-risk", 1e-2, dim=1),
} | {
    make.__name__.replace("_", "-") + "-solved": functools.cache(make)
    for make in (
        reverting_control, stocks, far_reaction, front, kinks, estimated_curvature, stepped, heavy_tails, rare, rarer,
        nought, small,
    )
}
DECISIONS: dict[str, Callable[[], Whole]] = {
    "bounded-control": functools.cache(bounded_control),
    "two-wells": functools.cache(two_wells),
    "geometric-basket-3-networks": functools.cache(basket_by_networks),
    "lqg-100": _zoo("lqg", 1e-3, 20, dim=100),
    "hjb-control-20": _zoo("hjb-control", 5e-3, 10, dim=20),
    "geometric-basket-3": _zoo("geometric-basket", 1e-2, 5, dim=3, dates=4),
    "geometric-basket-20": _zoo("geometric-basket", 1e-2, 10, dim=20, dates=4),
    "max-call-2": _zoo("max-call", 1e-2, 5, dim=2),
}
