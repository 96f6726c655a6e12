"""Radial solutions of semilinear heat equations, in any dimension and to ten digits or more.

    u_t + c Lap u + f(u, u_r) = 0,    u(T, x) = g(r),    r = |x|.

A Brownian motion from the origin has |X_t|^2 = 2 c t Q with Q a chi-square variable of d degrees of freedom, so the
variable q = |x|^2 / (2 c t) keeps the solution in a fixed window around d, however large d is. There

    t U_t + A U + t f(U, u_r) = 0,    A = 2 q d^2/dq^2 + (d - q) d/dq,    u_r = 2 sqrt(q / (2 c t)) U_q,

and A has the eigenvalues 0, -1, -2, ... (Laguerre polynomials): no boundary condition is needed at either end of the
window, and nothing is stiff. Space is collocated at Chebyshev points of log(q + const), which moves the singularities
of functions such as 1/(a + |x|^2) far from the real line; time is collocated at Gauss points on panels that shrink
towards t = 0. A point off the origin is reached by starting the clock earlier.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from .. import _checks
from ._value import Value

Nodes = Float[np.ndarray, "*nodes"]
Matrix = Float[np.ndarray, "n n"]
_WIDTH = 6.0                                                    # of the window, in standard deviations to either side
_LEVELS = ((12, 6), (16, 8), (20, 10), (28, 14), (38, 18))  # points in space, points in time on a panel


def solve(
    source: Callable[[Nodes, Nodes], Nodes],
    terminal: Callable[[Nodes], Nodes],
    *,
    dim: int,
    horizon: float,
    diffusion: float = 1.0,
    at: float = 0.0,
    scale: float = 1.0,
    rtol: float = 1e-11,
) -> Value:
    """u(0, x) at |x| = `at`.

    Args:
        source: f(u, u_r), for arrays; analytic, or the convergence is slow. A strong dependence on u_r, which drives
            paths out of the window, ends in an error rather than in a wrong number.
        terminal: g(r), for arrays; analytic in r^2.
        dim: d, any.
        horizon: T.
        diffusion: c.
        at: r = |x| of the point wanted.
        scale: a squared length over which g changes near r = 0, or less: the distance of its poles in r^2.
        rtol: resolution grows until two answers agree to this, relative to the larger of |u| and 1e-3 max |g|.

    Raises:
        ValueError: an argument out of range, or no agreement at the finest resolution.
    """
    dim = _checks.positive_integer("dim", dim)
    horizon = _checks.number("horizon", horizon, above=0.0)
    diffusion = _checks.number("diffusion", diffusion, above=0.0)
    at = _checks.number("at", at, at_least=0.0)
    scale = _checks.number("scale", scale, above=0.0)
    where = _quantile(dim, _WIDTH / 2)                          # q of the point: within the window, right of its mean
    start = at**2 / (2 * diffusion * where)
    previous, change = np.nan, np.inf
    for space, time in _LEVELS:
        value, size = _collocate(source, terminal, dim, start, start + horizon, diffusion, where, scale, space, time)
        change = abs(value - previous)
        if change <= rtol * max(abs(value), 1e-3 * size):
            return Value(value, change)
        previous = value
    raise ValueError(
        f"no agreement to rtol = {rtol:g}: the last two resolutions gave {previous:.12g} and differ by {change:.2g}. "
        f"Is f or g not smooth, or does the solution blow up before T?"
    )


def _collocate(
    source: Callable, terminal: Callable, dim: int, first: float, last: float,
    c: float, where: float, scale: float, n: int, m: int,
) -> tuple[float, float]:
    """u at q = where and t = first, marching back from t = last; and max |g| over the window."""
    shift = scale / (2 * c * last)
    q, slope, generator = _window(dim, shift, n)
    u = np.asarray(terminal(np.sqrt(2 * c * last * q)), dtype=np.float64)
    size = float(np.max(np.abs(u)))
    points = (1 + np.polynomial.legendre.leggauss(m)[0]) / 2
    breaks = [last * 2.0**-k for k in range(1, 4) if last * 2.0**-k > first + 0.05 * last]
    right = last
    for left in [*breaks, first]:
        t = np.append(left + (right - left) * points, right)
        radial_slope = 2 * np.sqrt(q / (2 * c * t[:-1, None]))[:, :, None] * slope
        inside = _panel(source, u, t, generator, radial_slope)
        u = _interpolation(t, left) @ np.vstack([inside, u])
        right = left
    return float(_interpolation(np.log(q + shift), np.log(where + shift)) @ u), size


def _panel(source: Callable, end: Nodes, t: Nodes, generator: Nodes, radial_slope: Nodes) -> Float[np.ndarray, "m n"]:
    """U at the times t[:-1], given U = end at t[-1], by Newton's method for t U_t + A U + t f = 0."""
    derivative = _differentiation(t)[:-1]
    m, n = len(t) - 1, len(end)
    t = t[:-1, None]
    linear = np.einsum("ij,kl->ikjl", t * derivative[:, :-1], np.eye(n))
    linear[np.arange(m), :, np.arange(m), :] += generator
    inflow = t * derivative[:, -1:] * end
    u = np.tile(end, (m, 1))
    size = np.max(np.abs(end)) + 1e-300
    for _ in range(30):
        p = np.einsum("ikl,il->ik", radial_slope, u)
        hu, hp = 1e-5 * (1 + np.abs(u)), 1e-5 * (1 + np.abs(p))
        fu = (source(u + hu, p) - source(u - hu, p)) / (2 * hu)
        fp = (source(u, p + hp) - source(u, p - hp)) / (2 * hp)
        residual = np.einsum("ikjl,jl->ik", linear, u) + inflow + t * source(u, p)
        jacobian = linear.copy()
        blocks = fu[:, :, None] * np.eye(n) + fp[:, :, None] * radial_slope
        jacobian[np.arange(m), :, np.arange(m), :] += t[:, :, None] * blocks
        step = np.linalg.solve(jacobian.reshape(m * n, m * n), residual.ravel()).reshape(m, n)
        if not np.isfinite(step).all():
            raise ValueError("the solution blows up before T, or f is not defined along it")
        u = u - step
        if np.max(np.abs(step)) <= 1e-9 * size:     # quadratic convergence: the next one is below 1e-14
            return u
    raise ValueError("Newton's method did not converge: f changes too fast along the solution")


def _window(dim: int, shift: float, n: int) -> tuple[Nodes, Matrix, Matrix]:
    """Points q, d/dq and A = 2 q d^2/dq^2 + (d - q) d/dq, on the bulk of the chi-square law."""
    low, high = _quantile(dim, -_WIDTH), _quantile(dim, _WIDTH)
    low = 0.0 if low < 0.02 * dim else low
    ends = np.log([low + shift, high + shift])
    y = ends[0] + (ends[1] - ends[0]) * (1 - np.cos(np.pi * np.arange(n) / (n - 1))) / 2
    q = np.maximum(np.exp(y) - shift, 0.0)
    d = _differentiation(y)
    stretch = np.exp(-y)[:, None]
    slope = stretch * d
    return q, slope, 2 * q[:, None] * stretch**2 * (d @ d - d) + (dim - q)[:, None] * slope


def _quantile(dim: int, z: float) -> float:
    """Of the chi-square law, z standard deviations out: the cube-root approximation (Wilson and Hilferty 1931)."""
    return max(1 - 2 / (9 * dim) + z * np.sqrt(2 / (9 * dim)), 0.0) ** 3 * dim


def _weights(nodes: Nodes) -> Nodes:
    """Barycentric weights (Berrut and Trefethen 2004, eq. 3.2), in logarithms against overflow."""
    gaps = nodes[:, None] - nodes[None, :] + np.eye(len(nodes))
    logs = -np.log(np.abs(gaps)).sum(1)
    return np.prod(np.sign(gaps), axis=1) * np.exp(logs - logs.max())


def _differentiation(nodes: Nodes) -> Matrix:
    """The derivative of the interpolating polynomial, at the nodes."""
    weights = _weights(nodes)
    matrix = weights[None, :] / weights[:, None] / (nodes[:, None] - nodes[None, :] + np.eye(len(nodes)))
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(1))
    return matrix


def _interpolation(nodes: Nodes, at: float) -> Nodes:
    """Row vector that evaluates the interpolating polynomial at a point."""
    gaps = at - nodes
    if (hit := np.abs(gaps) < 1e-14 * (1 + abs(at))).any():
        return hit / hit.sum()
    terms = _weights(nodes) / gaps
    return terms / terms.sum()
