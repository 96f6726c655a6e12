"""Control problems: linear-quadratic, constrained, the control form of the first equation, execution, batteries."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .. import _checks
from ..classical import quadrature
from ..problems import ControlProblem, Reference
from ._case import Case, digits

Matrix = Float[np.ndarray, "d d"]


def _case(
    name: str, problem: dict, at: np.ndarray, parameters: dict, known: tuple | None = None, origin: str = ""
) -> Case:
    """A case whose problem carries the same reference; `known` is (value, error)."""
    reference, held = None, 0
    if known is not None:
        held = digits(*known)
        reference = Reference(known[0], origin, held, known[1], at)
    made = ControlProblem(
        **problem, reference=reference, name=name, zoo={"name": name, "parameters": parameters}
    )
    value = None if known is None else known[0]
    return Case(name=name, problem=made, at=at, reference=value, origin=origin, digits=held, parameters=parameters)


def _riccati(
    A: Matrix, B: np.ndarray, W: Matrix, Q: Matrix, S: np.ndarray, R: np.ndarray, end: Matrix, steps: int, x: np.ndarray
) -> float:
    """Least mean of sum (x.Q x + 2 a.S x + a.R a) / 2 + x_N.end x_N / 2 for x' = A x + B a + noise of covariance W."""
    P, constant = end, 0.0
    for _ in range(steps):
        constant += np.sum(P * W) / 2
        cross = S + B.T @ P @ A
        P = Q + A.T @ P @ A - cross.T @ np.linalg.solve(R + B.T @ P @ B, cross)
        P = (P + P.T) / 2
    return float(x @ P @ x / 2 + constant)


def _chain(dim: int) -> Matrix:
    """Neighbours on a ring pull each other together, and drift away from 0 alone: -1 on the diagonal of their sum."""
    shift = np.roll(np.eye(dim), 1, axis=1)
    return 0.5 * (shift + shift.T) - 0.5 * np.eye(dim)


def lqg(dim: int = 100) -> Case:
    """Least E[sum (|x|^2 + |a|^2) h + |x_N|^2] for x' = x + (C x + a) h + 0.5 sqrt(h) xi, T = 1, 50 steps, at x = 1.

    C couples neighbours on a ring, (C x)_i = (x_{i-1} + x_{i+1} - x_i) / 2, which is unstable without control. The
    textbook problem (Bertsekas, Dynamic Programming and Optimal Control, 3.1) in many dimensions. Reference: Riccati's
    recursion in double precision.

    Args:
        dim: d.
    """
    dim = _checks.positive_integer("dim", dim)
    C, steps, sigma = _chain(dim), 50, 0.5
    h, eye, at = 1.0 / steps, np.eye(dim), np.ones(dim)
    value = _riccati(
        eye + h * C, h * eye, h * sigma**2 * eye, 2 * h * eye, np.zeros((dim, dim)), 2 * h * eye, 2 * eye, steps, at
    )
    matrix = jnp.asarray(C, dtype=np.float32)
    return _case("lqg", {
        "dim": dim, "control_dim": dim, "drift": lambda t, x, a: matrix @ x + a, "volatility": sigma,
        "running_cost": lambda t, x, a: jnp.sum(x**2) + jnp.sum(a**2), "terminal_cost": lambda x: jnp.sum(x**2),
        "horizon": 1.0, "steps": steps,
    }, at, {"dim": dim}, (value, 1e-12 * value), "Riccati's recursion")


def hjb_control(dim: int = 100, strength: float = 1.0) -> Case:
    """The case `hjb` as the control problem that it is: steer dX = 2 sqrt(strength) a dt + sqrt(2) dW at the cost
    |a|^2.

    The least E[int |a|^2 dt + log((1 + |X_1|^2) / 2)], in continuous time, at x = 0 (Han, Jentzen and E 2018, Proc.
    Natl. Acad. Sci. 115). The minimum over a turns the equation of Hamilton, Jacobi and Bellman into that of `hjb`.
    Reference: the Hopf-Cole formula by quadrature.

    Args:
        dim: d.
        strength: of the control, above 0.
    """
    dim = _checks.positive_integer("dim", dim)
    strength = _checks.number("strength", strength, above=0.0)
    known = quadrature.hopf_cole(lambda r: np.log((1 + r**2) / 2), dim=dim, horizon=1.0, strength=strength)
    push = 2 * math.sqrt(strength)
    return _case("hjb-control", {
        "dim": dim, "control_dim": dim, "drift": lambda t, x, a: push * a, "volatility": math.sqrt(2.0),
        "running_cost": lambda t, x, a: jnp.sum(a**2),
        "terminal_cost": lambda x: jnp.log((1 + jnp.sum(x**2)) / 2), "horizon": 1.0, "steps": 20, "continuous": True,
    }, np.zeros(dim), {"dim": dim, "strength": strength}, known, "quadrature of the Hopf-Cole formula")


def constrained_lq(dim: int = 50, bound: float = 1.0) -> Case:
    """`lqg` with half as many controls as states, each within [-bound, bound], T = 1, 50 steps, at x = 1.

    Least E[sum (|x|^2 + |a|^2) h + |x_N|^2] for x' = x + (C x + B a) h + 0.5 sqrt(h) xi, with C of `lqg`; control i
    acts on states 2i and 2i + 1 with strength 2 and 1. From x = 1 the linear feedback asks for about twice the bound,
    so most controls start at it. No formula is known with the bounds.

    Args:
        dim: d.
        bound: of each control, above 0.
    """
    dim = _checks.positive_integer("dim", dim)
    bound = _checks.number("bound", bound, above=0.0)
    controls = (dim + 1) // 2
    B = np.zeros((dim, controls))
    B[np.arange(dim), np.arange(dim) // 2] = np.where(np.arange(dim) % 2, 1.0, 2.0)
    C, push = jnp.asarray(_chain(dim), dtype=np.float32), jnp.asarray(B, dtype=np.float32)
    return _case("constrained-lq", {
        "dim": dim, "control_dim": controls, "drift": lambda t, x, a: C @ x + push @ a, "volatility": 0.5,
        "running_cost": lambda t, x, a: jnp.sum(x**2) + jnp.sum(a**2), "terminal_cost": lambda x: jnp.sum(x**2),
        "horizon": 1.0, "steps": 50, "control_bounds": (-bound, bound),
    }, np.ones(dim), {"dim": dim, "bound": bound}, None, "no formula is known")


def optimal_execution(stocks: int = 50, no_buying: bool = False) -> Case:
    """Sell `stocks` positions within a day at the least expected shortfall: impact, risk, and signals on where prices
    go.

    State (q, s): shares left q and signals s, 2 stocks numbers; control: selling rates v. Per day,

        dq = -v dt,   ds = -kappa s dt + sigma_s dW,   prices: dS = (s - Gamma v) dt + noise,
        shortfall = E int [v . eta v + q . Gamma v - q . s + risk q . Sigma q] dt + q_T . Phi q_T,

    in 50 steps. The first term is temporary impact, the second permanent impact, the third what signals promise on what
    is still held, the fourth aversion to risk; what is left at the end is sold at a premium. Units: q in thousands of
    shares, costs in thousands of dollars. From Almgren and Chriss (2001, J. Risk 3), with signals as in Lehalle and
    Neuman (2019, Finance Stoch. 23). Constants, for n stocks in a row from small to large: eta_i from 0.5 to 2, Gamma =
    0.1 diag(eta), Sigma = 0.3 + 0.7 identity (correlated), risk = 1, kappa = 5, sigma_s = 4, Phi = 20 identity, q_0 =
    1, s_0 = 0. Reference without constraints: Riccati's recursion in double precision.

    Args:
        stocks: n.
        no_buying: rates within [0, 3]: no buying back, and a limit on the speed. No formula is known then.
    """
    n = _checks.positive_integer("stocks", stocks)
    steps, kappa, sigma = 50, 5.0, 4.0
    h, eye, zero = 1.0 / steps, np.eye(n), np.zeros((n, n))
    eta, Sigma = np.geomspace(0.5, 2.0, n), 0.3 + 0.7 * eye
    at = np.concatenate([np.ones(n), np.zeros(n)])
    known = None
    if not no_buying:
        A, B = np.block([[eye, zero], [zero, (1 - kappa * h) * eye]]), np.vstack([-h * eye, zero])
        W = np.block([[zero, zero], [zero, h * sigma**2 * eye]])
        Q, S = h * np.block([[2 * Sigma, -eye], [-eye, zero]]), h * np.hstack([0.1 * np.diag(eta), zero])
        end = np.block([[40 * eye, zero], [zero, zero]])
        value = _riccati(A, B, W, Q, S, 2 * h * np.diag(eta), end, steps, at)
        known = value, 1e-12 * abs(value)
    cost, covariance = jnp.asarray(eta, dtype=np.float32), jnp.asarray(Sigma, dtype=np.float32)

    def running(t, x, v):
        q, s = x[:n], x[n:]
        return jnp.sum(cost * v**2) + 0.1 * jnp.sum(cost * q * v) - jnp.sum(q * s) + q @ covariance @ q

    return _case("optimal-execution", {
        "dim": 2 * n, "control_dim": n, "drift": lambda t, x, v: jnp.concatenate([-v, -kappa * x[n:]]),
        "volatility": np.concatenate([np.zeros(n), np.full(n, sigma)]), "running_cost": running,
        "terminal_cost": lambda x: 20.0 * jnp.sum(x[:n] ** 2), "horizon": 1.0, "steps": steps,
        "control_bounds": (0.0, 3.0) if no_buying else None,
    }, at, {"stocks": n, "no_buying": no_buying}, known, "no formula is known" if no_buying else "Riccati's recursion")


def battery_fleet(batteries: int = 50, steps: int = 48) -> Case:
    """Trade a day of electricity with `batteries` batteries, each at its own random price: least expected cost.

    State (e, p): energy e_i in MWh and price p_i in EUR/MWh; control: charging power a_i in MW. Per hour, over 24
    hours,

        de = a dt,   dp = kappa (m(t) - p) dt + sigma (rho dW_0 + sqrt(1 - rho^2) dW_i),
        cost = E int sum_i [p_i a_i + wear a_i^2 + w (max(e_i - C, 0)^2 + max(-e_i, 0)^2)] dt + sum_i v (e_i - e_0)^2.

    Power is limited to |a_i| <= 1: the box. Capacity 0 <= e_i <= C is a penalty, not a constraint: an excess of 0.1 MWh
    costs as much per hour as it says, w 0.1^2. The mean price m(t) = 60 - 25 cos(2 pi (t - 3) / 24) is dear in the
    afternoon. Constants: kappa = 0.2 per hour, sigma = 6, rho = 0.7, C = 4, e_0 = 2, wear = 10 EUR/MWh per MW, w = 50,
    v = 20. A textbook form of energy arbitrage (Carmona and Ludkovski 2010, Quant. Finance 10, for storage with
    limits). A negative cost is a profit. No formula is known.

    Args:
        batteries: n; the state has 2 n numbers.
        steps: decisions in a day.
    """
    n = _checks.positive_integer("batteries", batteries)
    steps = _checks.positive_integer("steps", steps)
    kappa, sigma, rho, capacity, start, wear, fine, back = 0.2, 6.0, 0.7, 4.0, 2.0, 10.0, 50.0, 20.0

    def usual(t):
        return 60.0 - 25.0 * jnp.cos(2 * jnp.pi * (t - 3.0) / 24.0)

    def running(t, x, a):
        e, p = x[:n], x[n:]
        outside = jnp.maximum(e - capacity, 0.0) ** 2 + jnp.maximum(-e, 0.0) ** 2
        return jnp.sum(p * a) + wear * jnp.sum(a**2) + fine * jnp.sum(outside)

    noise = np.zeros((2 * n, n + 1))
    noise[n:, 0], noise[n:, 1:] = sigma * rho, sigma * math.sqrt(1 - rho**2) * np.eye(n)
    at = np.concatenate([np.full(n, start), np.full(n, 60.0 - 25.0 * math.cos(2 * math.pi * 3.0 / 24.0))])
    return _case("battery-fleet", {
        "dim": 2 * n, "control_dim": n, "drift": lambda t, x, a: jnp.concatenate([a, kappa * (usual(t) - x[n:])]),
        "volatility": noise, "running_cost": running,
        "terminal_cost": lambda x: back * jnp.sum((x[:n] - start) ** 2), "horizon": 24.0, "steps": steps,
        "control_bounds": (-1.0, 1.0),
    }, at, {"batteries": n, "steps": steps}, None, "no formula is known")
