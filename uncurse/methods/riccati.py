"""Riccati's recursion: exact for linear dynamics with quadratic cost; for the rest, along a noise-free path."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..problems import ControlProblem
from ..statistics import Purpose, host_stream
from ._box import box_newton, nearest_convex

BLOCK = 2**23           # entries of second derivatives held at once
SLACK = 1e-6            # relative: a negative eigenvalue nearer to 0 than this may be rounding in float32
ZERO = 1e-12            # relative: a positive one nearer to 0 is 0
ITERATIONS = 100        # of Newton's method on the controls
NUDGE = 1e-3            # of the scale of a control: keeps the start off a path that is stationary by symmetry alone
RESTARTS = 3            # from larger random controls, where no finite path was found
STEPS = 0.5 ** np.arange(12)            # lengths tried in a line search, all at once
LEVENBERG = 10.0        # factor by which the regularisation moves
SMALLEST, LARGEST = 1e-6, 1e8   # regularisation, relative to the curvature
SETTLED = 1e-5          # relative decrease that is none; met twice, the search ends


@dataclass(frozen=True, eq=False)
class LQ:
    """V_k(x) = x.P_k x / 2 + p_k.x + c_k, least at a = -K_k x - k_k."""

    P: Float[np.ndarray, "steps+1 d d"]
    p: Float[np.ndarray, "steps+1 d"]
    c: Float[np.ndarray, " steps+1"]
    K: Float[np.ndarray, "steps m d"]
    k: Float[np.ndarray, "steps m"]

    def value(self, x: Float[np.ndarray, "*points d"], step: int = 0) -> Float[np.ndarray, "*points"]:
        """V at a step, at one point or many."""
        x = np.asarray(x, dtype=np.float64)
        return 0.5 * np.einsum("...i,ij,...j", x, self.P[step], x) + x @ self.p[step] + self.c[step]


def solve_lq(problem: ControlProblem) -> LQ:
    """The exact solution of a problem that is known to be linear-quadratic, without bounds on its controls.

    drift(t, x, a) is affine in (x, a), the costs are quadratic (products and linear terms included), all may depend on
    time, and the volatility may depend on nothing else. With V_{k+1} = x.P x / 2 + p.x + c, x' = A x + B a + b + noise
    of covariance W, and the cost of the step (x.Q x + 2 a.S x + a.R a) / 2 + q.x + r.a + l,

        H = R + B'PB,  K = H^-1 (S + B'PA),  k = H^-1 (r + B'(P b + p)),
        P_k = Q + A'PA - (S + B'PA)'K,   p_k = q + A'(P b + p) - (S + B'PA)'k,
        c_k = l + c + b.P b / 2 + p.b - k.H k / 2 + tr(P W) / 2

    (Bertsekas, Dynamic Programming and Optimal Control, volume 1, section 3.1).

    Raises:
        ValueError: H has a negative eigenvalue, or a zero one in a direction that lowers the cost: unbounded below.
    """
    A, B, b, Q, S, R, q, r, level, noise, end = _coefficients(problem)
    n, d, m = len(A), problem.dim, problem.control_dim
    P, p, c = np.zeros((n + 1, d, d)), np.zeros((n + 1, d)), np.zeros(n + 1)
    K, k = np.zeros((n, m, d)), np.zeros((n, m))
    P[n], p[n], c[n] = end
    for i in reversed(range(n)):
        PA, PB, ahead = P[i + 1] @ A[i], P[i + 1] @ B[i], P[i + 1] @ b[i] + p[i + 1]
        H, cross, slope = R[i] + B[i].T @ PB, S[i] + B[i].T @ PA, r[i] + B[i].T @ ahead
        solved = _solve(H, np.column_stack([cross, slope]), i)
        K[i], k[i] = solved[:, :-1], solved[:, -1]
        P[i] = Q[i] + A[i].T @ PA - cross.T @ K[i]
        P[i] = 0.5 * (P[i] + P[i].T)
        p[i] = q[i] + A[i].T @ ahead - cross.T @ k[i]
        constant = 0.5 * b[i] @ (ahead + p[i + 1]) - 0.5 * slope @ k[i] + 0.5 * np.sum(P[i + 1] * noise[i])
        c[i] = level[i] + c[i + 1] + constant
    return LQ(P, p, c, K, k)


def _solve(H: Float[np.ndarray, "m m"], right: Float[np.ndarray, "m n"], step: int) -> Float[np.ndarray, "m n"]:
    """H^-1 right, or the shortest solution where H leaves a direction open that changes nothing."""
    values, vectors = np.linalg.eigh(0.5 * (H + H.T))
    size, turned = np.abs(values).max(), vectors.T @ right
    flat = values <= ZERO * size
    falls = flat & (np.abs(turned).max(axis=1) > SLACK * np.abs(right).max())
    if (values < -SLACK * size).any() or falls.any():
        raise ValueError(
            f"the cost is unbounded below: at step {step} its curvature in the control, R + B'PB, must be positive "
            f"definite; its smallest eigenvalue is {values[0]:.3g} (does running_cost grow with every control?)"
        )
    return vectors @ (turned / np.where(flat, np.inf, values)[:, None])


def _coefficients(problem: ControlProblem) -> tuple:
    """A, B, b, Q, S, R, q, r, l, noise covariance of every step, and P, p, c at the end, in float64.

    The derivatives come in the precision in which paths are simulated. float64 for one call is not safe: JAX 0.9.2
    keeps arrays that a function closes over as it first met them, in float32.
    """
    d, h = problem.dim, problem.step
    found = _derivatives(problem, jnp.arange(problem.steps) * h, jnp.zeros(d + problem.control_dim))
    (J, b, C, g, level, noise), end = jax.tree.map(lambda a: np.asarray(a, dtype=np.float64), found)
    A, B = np.eye(d) + h * J[:, :, :d], h * J[:, :, d:]
    Q, S, R = h * C[:, :d, :d], h * C[:, d:, :d], h * C[:, d:, d:]
    return A, B, h * b, Q, S, R, h * g[:, :d], h * g[:, d:], h * level, h * noise, end


@functools.partial(jax.jit, static_argnums=0)
def _derivatives(problem: ControlProblem, times: Float[Array, " n"], z: Float[Array, " w"]) -> tuple:
    """Of drift and running cost at z = (x, a) and each time, with values and noise; and of the terminal cost at x."""
    d = problem.dim
    drift, cost = _joined(problem)

    def at(t: Array) -> tuple[Array, ...]:
        sigma = problem.sigma(t, z[:d], z[d:])
        noise = sigma @ sigma.T if sigma.ndim == 2 else jnp.diag(jnp.broadcast_to(sigma**2, (d,)))
        slope, curvature = jax.grad(cost, argnums=1), jax.jacfwd(jax.grad(cost, argnums=1), argnums=1)
        return jax.jacfwd(drift, argnums=1)(t, z), drift(t, z), curvature(t, z), slope(t, z), cost(t, z), noise

    rows, x, g = max(min(BLOCK // len(z) ** 2, problem.steps), 1), z[:d], problem.terminal_cost
    return jax.lax.map(at, times, batch_size=rows), (jax.jacfwd(jax.grad(g))(x), jax.grad(g)(x), g(x))


def _joined(problem: ControlProblem) -> tuple[Callable, Callable]:
    """drift and running cost as functions of t and z = (x, a)."""
    d = problem.dim
    return (lambda t, z: problem.drift(t, z[:d], z[d:])), (lambda t, z: problem.running_cost(t, z[:d], z[d:]))


# --- along a noise-free path


@dataclass(frozen=True, eq=False)
class Nominal:
    """A path without noise, its controls, and the quadratic problem around it.

    Near the path a = a_k + K_k (x - x_k) and V_k(x) = togo_k + p_k.(x - x_k) + (x - x_k).P_k (x - x_k) / 2.
    """

    states: Float[np.ndarray, "steps+1 d"]
    controls: Float[np.ndarray, "steps m"]
    gains: Float[np.ndarray, "steps m d"]
    P: Float[np.ndarray, "steps+1 d d"]
    p: Float[np.ndarray, "steps+1 d"]
    togo: Float[np.ndarray, " steps+1"]     # the cost of the rest of the path

    @property
    def cost(self) -> float:
        """Of the whole path; infinite where no finite path was found."""
        return float(self.togo[0])


def linearised(
    problem: ControlProblem, x0: ArrayLike, start: ArrayLike | None = None, iterations: int = ITERATIONS
) -> Nominal:
    """A locally least cost without noise, from x0: Newton's method on the controls, one Riccati recursion an iteration.

    The dynamics are linearised, the costs taken to second order; steps are regularised (Levenberg) and shortened until
    the cost falls; controls stay within their box, by a projected Newton method at every step (Tassa, Mansard and
    Todorov 2014, Proc. IEEE ICRA, "Control-limited differential dynamic programming", II and III). Where costs are not
    convex enough for that, the nearest convex second derivatives stand in for theirs.

    Args:
        problem: any problem; its volatility is left out.
        x0: (d,).
        start: controls (steps, m) to begin with; by default zero, nudged, and clipped into the box.
        iterations: at most.

    Returns:
        The best path found. Its cost is infinite, and its gains are zero, where no finite path was found.
    """
    rng = host_stream(0, Purpose.training, 0)
    shape = (problem.steps, problem.control_dim)
    best = None
    for attempt in range(1 + RESTARTS):
        controls = np.zeros(shape) if start is None else np.asarray(start, dtype=np.float64)
        if attempt or start is None:
            size = 0.1**attempt if attempt else NUDGE
            controls = controls + size * _scale(problem) * rng.standard_normal(shape)
        found = _descend(problem, _search(problem), np.asarray(x0, dtype=np.float64), controls, iterations)
        best = found if best is None or found.cost < best.cost else best
        if np.isfinite(best.cost):
            break
    assert best is not None
    return best


def _scale(problem: ControlProblem) -> Float[np.ndarray, " m"]:
    """Of a control: its box, or 1."""
    if problem.control_bounds is None:
        return np.ones(problem.control_dim)
    low, high = (np.asarray(end, dtype=np.float64) for end in problem.control_bounds)
    return np.where(np.isfinite(high - low), high - low, 1.0)


@dataclass(frozen=True)
class _Search:
    """The parts that call the problem, compiled."""

    roll: Callable      # states, controls, steps, gains -> states, controls and costs for all lengths of steps
    expand: Callable    # states, controls -> derivatives of the drift and the costs along the path


@functools.lru_cache(maxsize=4)
def _search(problem: ControlProblem) -> _Search:
    h, g = problem.step, problem.terminal_cost
    drift, cost = _joined(problem)
    times = np.arange(problem.steps) * h

    def one(states: Array, controls: Array, change: Array, gains: Array) -> tuple[Array, Array, Array]:
        def body(x: Array, inputs: tuple) -> tuple[Array, tuple[Array, Array, Array]]:
            t, near, a, da, gain = inputs
            a = problem.clip(a + da + gain @ (x - near))
            z = jnp.concatenate([x, a])
            return x + h * drift(t, z).astype(x.dtype), (x, a, h * cost(t, z).astype(x.dtype))

        inputs = (jnp.asarray(times, states.dtype), states[:-1], controls, change, gains)
        end, (path, a, spent) = jax.lax.scan(body, states[0], inputs)
        return jnp.concatenate([path, end[None]]), a, jnp.append(spent, g(end).astype(states.dtype))

    @jax.jit
    def roll(states: Array, controls: Array, change: Array, gains: Array) -> tuple[Array, Array, Array]:
        lengths = jnp.asarray(STEPS, dtype=states.dtype)
        return jax.vmap(lambda s: one(states, controls, s * change, gains))(lengths)

    @jax.jit
    def expand(states: Array, controls: Array) -> tuple[Array, ...]:
        z, t = jnp.concatenate([states[:-1], controls], axis=1), jnp.asarray(times, states.dtype)
        rows = max(min(BLOCK // z.shape[1] ** 2, problem.steps), 1)
        slope = jax.grad(cost, argnums=1)
        J, s, C = jax.lax.map(
            lambda tz: (jax.jacfwd(drift, argnums=1)(*tz), slope(*tz), jax.jacfwd(slope, argnums=1)(*tz)),
            (t, z), batch_size=rows,
        )  # fmt: skip
        return h * J, h * s, h * C, jax.grad(g)(states[-1]), jax.jacfwd(jax.grad(g))(states[-1])

    return _Search(roll, expand)


@jax.jit
def _backward(
    J: Array, slope: Array, C: Array, p: Array, P: Array, controls: Array, low: Array, high: Array, mu: Array
) -> tuple[Array, ...]:
    """One recursion along a path, in the precision of its arguments: steps, gains, P, p, whether all went through."""
    d = p.shape[0]
    move = J.at[:, :, :d].add(jnp.eye(d, dtype=J.dtype))
    scale = jnp.mean(jnp.abs(jax.vmap(jnp.diag)(C[:, d:, d:]))) + jnp.finfo(J.dtype).tiny

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        P, p, good = carry
        F, g, curvature, a = inputs
        H, s = curvature + F.T @ P @ F, g + F.T @ p
        Hax, Haa = H[d:, :d], H[d:, d:]
        damped = Haa + mu * (scale + jnp.mean(jnp.abs(jnp.diag(Haa)))) * jnp.eye(len(a), dtype=a.dtype)
        da, K, fine = box_newton(damped, s[d:], Hax, low - a, high - a)
        p = s[:d] + K.T @ (Haa @ da + s[d:]) + Hax.T @ da       # of the model itself, without regularisation
        P = H[:d, :d] + K.T @ Haa @ K + K.T @ Hax + Hax.T @ K
        P = 0.5 * (P + P.T)
        return (P, p, good & fine & jnp.isfinite(P).all()), (da, K, P, p)

    (*_, good), (change, gains, Ps, ps) = jax.lax.scan(
        body, (P, p, jnp.asarray(True)), (move, slope, C, controls), reverse=True
    )
    good = good & jnp.isfinite(change).all() & jnp.isfinite(gains).all()
    return change, gains, jnp.concatenate([Ps, P[None]]), jnp.concatenate([ps, p[None]]), good


@dataclass(frozen=True)
class _Path:
    """A path with its controls, and what each step and the end cost."""

    states: Float[np.ndarray, "steps+1 d"]
    controls: Float[np.ndarray, "steps m"]
    costs: Float[np.ndarray, " steps+1"]

    @property
    def cost(self) -> float:
        total = float(self.costs.sum())
        return total if np.isfinite(total) and np.isfinite(self.states).all() else np.inf


def _rolled(search: _Search, path: _Path, change: np.ndarray, gains: np.ndarray) -> _Path:
    """The best of all lengths of the step."""
    single = (jnp.asarray(a, dtype=float) for a in (path.states, path.controls, change, gains))
    tried = (np.asarray(a, dtype=np.float64) for a in search.roll(*single))
    with np.errstate(all="ignore"):
        return min((_Path(*parts) for parts in zip(*tried, strict=True)), key=lambda p: p.cost)


Solved = Callable[[float], tuple[np.ndarray, ...] | None]


def _model(problem: ControlProblem, search: _Search, path: _Path, convex: bool) -> Solved:
    """mu -> steps, gains, P, p about a path, or None where the regularisation mu is too weak."""
    single = (jnp.asarray(a, dtype=float) for a in (path.states, path.controls))
    J, slope, C, p, P = (np.asarray(a, dtype=np.float64) for a in search.expand(*single))
    bounds = (-np.inf, np.inf) if problem.control_bounds is None else problem.control_bounds
    low, high = (np.broadcast_to(np.asarray(end, dtype=np.float64), (problem.control_dim,)) for end in bounds)
    if convex:
        C, P = nearest_convex(C), nearest_convex(P[None])[0]

    def solved(mu: float) -> tuple[np.ndarray, ...] | None:
        with jax.enable_x64(True):      # nothing of the user's runs in here
            *parts, good = _backward(J, slope, C, p, P, path.controls, low, high, np.float64(mu))
            return tuple(np.asarray(a) for a in parts) if bool(good) else None

    return solved


def _descend(
    problem: ControlProblem, search: _Search, x0: np.ndarray, controls: np.ndarray, iterations: int
) -> Nominal:
    """Newton steps from given controls, until the cost no longer falls."""
    n, m, d = *controls.shape, len(x0)
    still, none = np.zeros((n, m)), np.zeros((n, m, d))
    path = _rolled(search, _Path(np.tile(x0, (n + 1, 1)), controls, np.zeros(n + 1)), still, none)
    if not np.isfinite(path.cost):
        states, controls = (np.nan_to_num(a, posinf=0.0, neginf=0.0) for a in (path.states, controls))
        return Nominal(states, controls, none, np.zeros((n + 1, d, d)), np.zeros((n + 1, d)), np.full(n + 1, np.inf))
    convex, mu, small = False, 0.0, 0
    solved = _model(problem, search, path, convex)
    for _ in range(iterations):
        found = solved(mu)
        if found is None and not convex:
            convex = True
            solved = _model(problem, search, path, convex)
            continue
        if found is not None:
            new = _rolled(search, path, *found[:2])
            gained = path.cost - new.cost
            small = small + 1 if abs(gained) <= SETTLED * abs(path.cost) else 0
            if gained > 0:
                path, mu = new, 0.0 if mu < SMALLEST * LEVENBERG else mu / LEVENBERG
                solved = _model(problem, search, path, convex)
            if small == 2:
                break
            if gained > 0:
                continue
        mu = max(mu * LEVENBERG, SMALLEST)
        if mu > LARGEST:
            break
    found = _model(problem, search, path, convex=False)(0.0)
    for tried in (0.0, *SMALLEST * LEVENBERG ** np.arange(15)):     # as little regularisation as goes through
        found = found or _model(problem, search, path, convex=True)(tried)
    _, gains, P, p = found or (still, none, np.zeros((n + 1, d, d)), np.zeros((n + 1, d)))
    return Nominal(path.states, path.controls, gains, P, p, np.cumsum(path.costs[::-1])[::-1])
