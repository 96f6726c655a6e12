"""What is proved of a control problem before any path is drawn: what controls reach, linearity, convexity, moduli."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.sparse.csgraph import connected_components

from .._devices import single
from ..problems import ControlProblem
from ._definite import SINGLE, semidefinite
from ._elements import elements_in
from ._intervals import TooLarge, is_smooth
from ._source import Bound

SAMPLES = 512           # points of a test that stands in for a proof
DOUBLINGS = 20          # of what is taken off a modulus, until it is proved


@dataclass(frozen=True)
class Decision:
    """The structure of a control problem; `False` or None means that nothing was proved."""

    controlled: Bool[np.ndarray, " d"]      # states that controls reach; the others are exogenous
    affine: bool            # controlled states are affine in (controlled states, controls), for given noise
    quadratic: bool         # all dynamics affine, costs quadratic, noise independent of states and controls
    convex: Bound | None    # running cost in (controlled states, controls), terminal cost in controlled states
    modulus: Bound          # (m,): running_cost - sum_i m_i a_i^2 / 2 is still convex
    bounded: bool           # every control has two finite bounds
    costs_positive: bool    # no cost can be negative

    @property
    def provable(self) -> bool:
        """Whether the branched bound applies: convex, and each control with a modulus or within a box."""
        return self.affine and self.convex is not None

    @property
    def proved(self) -> bool:
        """Whether convexity and modulus are proved or declared, not only tested."""
        return self.provable and "tested" not in (self.convex.origin, self.modulus.origin)      # type: ignore[union-attr]


def analyse_control(problem: ControlProblem, points: Float[np.ndarray, "n d"]) -> Decision:
    """Trace drift, volatility and costs; test at random points what the traces do not show."""
    d, m = problem.dim, problem.control_dim
    controlled = _reached(problem)
    yes = np.ones(m, bool)
    drift = elements_in(problem.drift, [np.asarray(False), controlled, yes])
    sigma = elements_in(problem.sigma, [np.asarray(False), controlled, yes])
    affine = bool(drift.affine[controlled].all() and _rows(sigma.affine, d)[controlled].all())
    low, high = (-np.inf, np.inf) if problem.control_bounds is None else problem.control_bounds
    bounded = bool(np.isfinite(low).all() and np.isfinite(high).all())
    costs = Costs(problem, controlled, points)
    convex, modulus = _convexity(costs, affine)
    running = elements_in(problem.running_cost, [np.asarray(False), np.ones(d, bool), yes])
    terminal = elements_in(problem.terminal_cost, [np.ones(d, bool)])
    return Decision(
        controlled, affine, _is_quadratic(problem), convex, modulus, bounded,
        bool(running.positive.all() and terminal.positive.all()),
    )


def _rows(flags: Bool[np.ndarray, "..."], d: int) -> Bool[np.ndarray, " d"]:
    """A flag for each state from those of a volatility: (), (d,) or (d, k)."""
    return np.asarray(flags.all(axis=1) if flags.ndim == 2 else np.broadcast_to(flags, (d,)))


def _reached(problem: ControlProblem) -> Bool[np.ndarray, " d"]:
    """States that controls reach: the least set that drift and volatility do not lead out of."""
    d = problem.dim
    reached = np.zeros(d, bool)
    while True:
        chosen = [np.asarray(False), reached, np.ones(problem.control_dim, bool)]
        still = elements_in(problem.drift, chosen).independent & _rows(
            elements_in(problem.sigma, chosen).independent, d
        )
        if not (~still & ~reached).any():
            return reached
        reached = reached | ~still


def _is_quadratic(problem: ControlProblem) -> bool:
    """Linear dynamics, quadratic costs, noise that depends on time alone: what Riccati's recursion solves."""
    d, m = problem.dim, problem.control_dim
    everything = [np.asarray(False), np.ones(d, bool), np.ones(m, bool)]
    if not elements_in(problem.drift, everything).affine.all():
        return False
    if not elements_in(problem.sigma, everything).independent.all():
        return False
    whole = Costs(problem, np.ones(d, bool), np.zeros((1, d)))
    return whole.running_fixed and whole.terminal_fixed and whole.running_smooth and whole.terminal_smooth


@dataclass(frozen=True)
class Costs:
    """The costs as functions of w = (controlled states, controls), and their curvatures."""

    problem: ControlProblem
    controlled: Bool[np.ndarray, " d"]
    points: Float[np.ndarray, "n d"]

    @property
    def reached(self) -> int:
        return int(self.controlled.sum())

    def place(self, v: Array) -> Array:
        """Controlled states (r,) as (d,), zero elsewhere."""
        return jnp.zeros(self.problem.dim, v.dtype).at[np.flatnonzero(self.controlled)].set(v)

    def running_slope(self, t: Array, x: Array, a: Array) -> Array:
        gx, ga = jax.grad(self.problem.running_cost, argnums=(1, 2))(t, x, a)
        return jnp.concatenate([gx[np.flatnonzero(self.controlled)], ga])

    def running_product(self, t: Array, x: Array, a: Array, v: Array) -> Array:
        """Second derivative of the running cost in w, times v."""
        r = self.reached
        return jax.jvp(lambda x, a: self.running_slope(t, x, a), (x, a), (self.place(v[:r]), v[r:]))[1]

    def terminal_product(self, x: Array, v: Array) -> Array:
        index = np.flatnonzero(self.controlled)
        return jax.jvp(lambda x: jax.grad(self.problem.terminal_cost)(x)[index], (x,), (self.place(v),))[1]

    def _chosen(self, t: bool = False, x: bool = True, a: bool = True) -> list[Bool[np.ndarray, "..."]]:
        d, m = self.problem.dim, self.problem.control_dim
        return [np.asarray(t), np.full(d, x), np.full(m, a)]

    @property
    def running_fixed(self) -> bool:
        """The running cost's curvature in w depends on time at most."""
        v = np.zeros(self.reached + self.problem.control_dim, bool)
        return bool(elements_in(self.running_product, [*self._chosen(), v]).independent.all())

    @property
    def terminal_fixed(self) -> bool:
        v = np.zeros(self.reached, bool)
        return bool(elements_in(self.terminal_product, [np.ones(self.problem.dim, bool), v]).independent.all())

    @property
    def running_smooth(self) -> bool:
        """The running cost has no kinks in w, so its second derivative tells all of its curvature."""
        d, r, m = self.problem.dim, self.reached, self.problem.control_dim
        whole = lambda t, e, v, a: self.problem.running_cost(t, self._moved(e, v), a)       # noqa: E731
        return all(_smooth(whole, i, [(), (d,), (r,), (m,)]) for i in ((2, 3) if r else (3,)))

    @property
    def terminal_smooth(self) -> bool:
        d, r = self.problem.dim, self.reached
        return r == 0 or _smooth(lambda e, v: self.problem.terminal_cost(self._moved(e, v)), 1, [(d,), (r,)])

    def _moved(self, e: Array, v: Array) -> Array:
        """e, with v for the controlled states."""
        return e.at[np.flatnonzero(self.controlled)].set(v) if self.reached else e

    @property
    def separable(self) -> bool:
        """The running cost is a function of the controlled states plus one of the controls."""
        chosen = [np.asarray(False), self.controlled, np.zeros(self.problem.control_dim, bool)]
        slope = elements_in(jax.grad(self.problem.running_cost, argnums=2), chosen)      # type: ignore[arg-type]
        return bool(slope.independent.all())

    @property
    def control_curvature_fixed(self) -> bool:
        """d2/da2 of the running cost depends on time at most."""
        m = self.problem.control_dim
        return bool(elements_in(self._control_product, [*self._chosen(), np.zeros(m, bool)]).independent.all())

    def _control_product(self, t: Array, x: Array, a: Array, v: Array) -> Array:
        return jax.jvp(lambda a: jax.grad(self.problem.running_cost, argnums=2)(t, x, a), (a,), (v,))[1]

    def times(self) -> Float[np.ndarray, " n"]:
        """Every decision time where the curvature may depend on it, or the first alone."""
        v = np.zeros(self.reached + self.problem.control_dim, bool)
        product = elements_in(self.running_product, [*self._chosen(True, False, False), v])
        count = 1 if product.independent.all() else self.problem.steps
        return np.arange(count) * self.problem.step

    def hessians(self, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n w w"]:
        """d2 of the running cost in w at the first point, for each time."""
        w = self.reached + self.problem.control_dim
        x, a = single(self.points[0]), jnp.zeros(self.problem.control_dim)
        one = lambda t: jax.vmap(lambda v: self.running_product(t, x, a, v))(jnp.eye(w))      # noqa: E731
        found = jax.jit(lambda t: jax.lax.map(one, t))(single(times))
        return _symmetric(np.asarray(found, dtype=np.float64))

    def terminal_hessian(self) -> Float[np.ndarray, "r r"]:
        x = single(self.points[0])
        found = jax.jit(jax.vmap(lambda v: self.terminal_product(x, v)))(jnp.eye(self.reached))
        return _symmetric(np.asarray(found, dtype=np.float64))


def _smooth(function: Callable[..., Any], argument: int, shapes: list[tuple[int, ...]]) -> bool:
    try:
        return is_smooth(function, argument, shapes)
    except TooLarge:
        return False


def _symmetric(h: Float[np.ndarray, "... w w"]) -> Float[np.ndarray, "... w w"]:
    return (h + np.swapaxes(h, -1, -2)) / 2


def _convexity(costs: Costs, affine: bool) -> tuple[Bound | None, Bound]:
    """Whether the costs are convex along what controls reach, and by how much in the controls; each with its origin."""
    problem = costs.problem
    m, declared = problem.control_dim, problem.bounds
    nothing = Bound(np.zeros(m), "proved")
    if not affine or declared.convex is False:
        return None, nothing
    running, modulus = _running(costs)
    terminal = _terminal(costs)
    if declared.modulus is not None:
        modulus = _declared(problem)
    if declared.convex:
        return Bound(True, "declared"), modulus
    origins = {running, terminal}
    if None in origins:
        return None, modulus
    return Bound(True, "tested" if "tested" in origins else "proved"), modulus


def _terminal(costs: Costs) -> str | None:
    """How the terminal cost is known to be convex: "proved", "tested", or None."""
    problem = costs.problem
    if elements_in(problem.terminal_cost, [costs.controlled]).convex.all():
        return "proved"
    if costs.terminal_fixed and costs.terminal_smooth:
        return semidefinite(costs.terminal_hessian()[None])
    return "tested" if _bends_up(costs, lambda t, x, a: problem.terminal_cost(x)) else None


def _running(costs: Costs) -> tuple[str | None, Bound]:
    """How the running cost is known to be convex, and its modulus.

    A second derivative is proof only where there are no kinks that it misses, or where all of them are known to bend
    up, since the cost is convex.
    """
    problem, m = costs.problem, costs.problem.control_dim
    r, running = costs.reached, costs.problem.running_cost
    chosen = [np.asarray(False), costs.controlled, np.ones(m, bool)]
    traced = "proved" if elements_in(running, chosen).convex.all() else None
    if traced or costs.running_smooth:
        if costs.running_fixed:
            h = costs.hessians(costs.times())
            return traced or semidefinite(h), _modulus(costs, h, r)
        if costs.separable and costs.control_curvature_fixed:
            h = costs.hessians(costs.times())[:, r:, r:]
            state = elements_in(lambda t, x: running(t, x, jnp.zeros(m)), [np.asarray(False), costs.controlled])
            origin = traced or (semidefinite(h) if state.convex.all() else None)
            return origin or ("tested" if _bends_up(costs, running) else None), _modulus(costs, h, 0)
    origin = traced or ("tested" if _bends_up(costs, running) else None)
    sampled = _sampled_modulus(costs) if origin is not None and not _boxed(problem) else np.zeros(m)
    return origin, Bound(sampled, "tested" if sampled.any() else "proved")


def control_modulus(problem: ControlProblem, points: Float[np.ndarray, "n d"]) -> Bound | None:
    """m >= 0 with running_cost - sum_i m_i a_i^2 / 2 convex in the controls alone, for every (t, x); None where it may
    not even be convex."""
    if problem.bounds.modulus is not None:
        return _declared(problem)
    costs = Costs(problem, np.zeros(problem.dim, bool), points)
    chosen = [np.asarray(False), np.zeros(problem.dim, bool), np.ones(problem.control_dim, bool)]
    traced = bool(elements_in(problem.running_cost, chosen).convex.all())
    if (traced or costs.running_smooth) and costs.control_curvature_fixed:
        h = costs.hessians(costs.times())
        return _modulus(costs, h, 0) if traced or semidefinite(h) is not None else None
    sampled = _sampled_modulus(costs) if traced or _bends_up(costs, problem.running_cost) else np.zeros(0)
    if sampled.any():
        return Bound(sampled, "tested")
    return Bound(np.zeros(problem.control_dim), "proved") if traced else None


def _declared(problem: ControlProblem) -> Bound:
    assert problem.bounds.modulus is not None
    modulus = np.asarray(problem.bounds.modulus, dtype=np.float64)
    return Bound(np.broadcast_to(modulus, (problem.control_dim,)), "declared")


def _boxed(problem: ControlProblem) -> bool:
    bounds = problem.control_bounds
    return bounds is not None and bool(np.isfinite(bounds[0]).all() and np.isfinite(bounds[1]).all())


def _modulus(costs: Costs, h: Float[np.ndarray, "n w w"], r: int) -> Bound:
    """The largest modulus of which h - diag(0, m) >= 0 can be proved.

    Where that is none: 0 with a box, which needs none, else what the curvatures show, "tested". States that no entry
    connects to a control have no say.
    """
    shown, label = _shown_modulus(h, r), connected_components((h != 0).any(axis=0), directed=False)[1]
    joined = np.isin(label, label[r:])
    block, still = h[:, joined][:, :, joined], np.zeros(int(joined[:r].sum()))
    for k in range(DOUBLINGS):
        less = np.maximum(1 - SINGLE * len(joined) * 2.0**k, 0.0) * shown
        if semidefinite(block, np.concatenate([still, less])) == "proved":
            return Bound(less, "proved")
    return Bound(np.zeros_like(shown), "proved") if _boxed(costs.problem) else Bound(shown, "tested")


def _shown_modulus(h: Float[np.ndarray, "n w w"], r: int) -> Float[np.ndarray, " m"]:
    """The largest multiple of the diagonal of d2l/da2 that can be taken from it and leaves h semidefinite, if it is.

    With S = h_aa - h_ax h_xx^+ h_xa and D = diag(h_aa): h - diag(0, s D) >= 0 for s the least eigenvalue of
    D^-1/2 S D^-1/2 (Schur's complement).
    """
    found, slack = [], SINGLE * h.shape[-1]
    for one in h:
        cross, corner = one[:r, r:], one[r:, r:]
        unit = np.sqrt(np.maximum(np.diag(one)[:r], np.finfo(np.float64).tiny))
        turned = cross / unit[:, None]
        inverse = np.linalg.pinv(one[:r, :r] / np.outer(unit, unit), rcond=slack) if cross.any() else np.zeros((r, r))
        schur, diagonal = corner - turned.T @ inverse @ turned, np.diag(corner)
        free = diagonal > 0     # no curvature in some controls: only where these are apart from the rest
        if one[r:][~free].any() or not free.any():
            return np.zeros(len(diagonal))
        root = np.sqrt(diagonal[free])
        s = np.linalg.eigvalsh(schur[np.ix_(free, free)] / np.outer(root, root))[0]
        found.append(np.where(free, max(s, 0.0) * diagonal, 0.0))
    return np.min(found, axis=0)


def _draws(costs: Costs, count: int) -> tuple[np.ndarray, ...]:
    """Random (t, x, a) about the points asked for, at several scales, with a within its bounds."""
    problem, rng = costs.problem, np.random.default_rng(0)
    base = costs.points[rng.integers(0, len(costs.points), count)]
    scale = (1 + np.abs(costs.points).max()) * 10.0 ** rng.uniform(-2, 0.5, (count, 1))
    x = base + scale * rng.standard_normal((count, problem.dim))
    a = 10.0 ** rng.uniform(-2, 1, (count, 1)) * rng.standard_normal((count, problem.control_dim))
    if problem.control_bounds is not None:
        low, high = (np.asarray(end, dtype=np.float64) for end in problem.control_bounds)
        inside = np.isfinite(low) & np.isfinite(high)
        width = np.where(inside, high - low, 1.0)
        uniform = np.where(inside, low, 0.0) + width * rng.uniform(size=a.shape)
        a = np.clip(np.where(inside, uniform, a), low, high)
    t = problem.step * rng.integers(0, problem.steps, count)
    return tuple(v.astype(np.float32) for v in (t, x, a))


def _bends_up(costs: Costs, function: Callable[..., Any]) -> bool:
    """Whether a cost lies below its chords at random points: a test, not a proof."""
    t, x, a = _draws(costs, SAMPLES)
    other = np.where(costs.controlled, np.roll(x, 1, axis=0), x)
    short = np.random.default_rng(1).uniform(0.05, 1.0, (SAMPLES, 1)).astype(np.float32)
    other_a = np.roll(a, 1, axis=0)
    xs = [x, x + 0.5 * short * (other - x), x + short * (other - x)]
    actions = [a, a + 0.5 * short * (other_a - a), a + short * (other_a - a)]
    f = jax.jit(jax.vmap(function))
    left, middle, right = (np.asarray(f(t, p, q), dtype=np.float64) for p, q in zip(xs, actions, strict=True))
    size = np.abs(left) + np.abs(right) + np.abs(middle)
    gap = middle - (left + right) / 2
    return bool(np.isfinite(size).all() and (gap <= 1e-5 * size + 1e-12).all())


def _sampled_modulus(costs: Costs) -> Float[np.ndarray, " m"]:
    """The least modulus met at random points."""
    t, x, a = _draws(costs, 64)
    w = costs.reached + costs.problem.control_dim
    one = lambda t, x, a: jax.vmap(lambda v: costs.running_product(t, x, a, v))(jnp.eye(w))      # noqa: E731
    h = np.asarray(jax.jit(lambda *p: jax.lax.map(lambda q: one(*q), p))(t, x, a), dtype=np.float64)
    return _shown_modulus(_symmetric(h), costs.reached)
