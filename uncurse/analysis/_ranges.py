"""Bounds of g, of the solution and of f's derivatives in u that hold for every point, proved by interval arithmetic."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from ..problems import ParabolicPDE
from ._enclosure import Box, Interval, NotEnclosed, Shape, TooLarge, interval
from ._intervals import evaluate, flatten, inline, is_continuous, is_smooth
from ._source import Variation

Pair = tuple[float, float]
_PIECES = (1024, 128, 16)       # of the range of u; fewer where an intermediate array would grow too large
_ROUNDS, _PARTS = 5, 8          # of splitting cells, and into how many
_SHARE, _SHORTEST = 1e-3, 1e-6  # of the whole variation in one cell that is not split; of |u|, lengths of such cells
_BLOCK = 64                     # cells looked at together
_DECADES = (-7.0, 5.0)          # lengths over which the comparison ODE is followed, relative to the size of g


def terminal_range(problem: ParabolicPDE, *, positive: bool = False) -> Pair | None:
    """(low, high) with low <= g(x) <= high for all x in R^d, or for all x >= 0 where `positive`; None if not proved.

    One of the two may be infinite, not both. `positive` is for geometric Brownian motion started at positive points.
    """
    try:
        closed = flatten(problem.terminal, [(problem.dim,)])
        value = evaluate(closed, [interval(_space(problem, positive))])(closed.jaxpr.outvars[0])
    except (NotEnclosed, NotImplementedError):
        return None
    low, high = _ends(value)
    return None if np.isinf(low) and np.isinf(high) else (low, high)


class Reach(NamedTuple):
    """Where the solution lies: on all of [0, T] x R^d, and at t = 0."""

    always: Pair
    initial: Pair


def solution_reach(problem: ParabolicPDE, *, positive: bool = False) -> Reach | None:
    """What contains the solution on [0, T] x R^d (or x >= 0, if `positive`), and at t = 0; None if not proved.

    Comparison principle. Let m <= g <= M, and let F(y) bound f(t, x, y, 0) from above for all (t, x). Then u <= y(T-t)
    with y' = F(y), y(0) = M; from below alike. Proof: f(t, x, u, p) = f(t, x, u, 0) + beta . p, with beta a
    bounded drift where f is Lipschitz in p, so that along the diffusion with drift b + beta, Y_s = u(s, X_s) has
    Y_t = E_t[g(X_T) + int_t^T f(s, X_s, Y_s, 0) ds]; then Gronwall's lemma, as f is Lipschitz in u. The function y does
    not depend on x, so neither b nor sigma matters.

    Proved here: the bounds of g and F; that f(t, x, ., 0) is Lipschitz on [low, high], uniformly in (t, x); that f is
    continuous in grad. Assumed: u is the solution with values in [low, high], which is the only bounded one where f is
    locally Lipschitz in u; and f is Lipschitz in grad over the range of grad u. Outside [low, high] f need not even be
    defined: continue it by its values at the ends, and the solution stays where that changes nothing.

    F is constant on cells, so that y can be followed exactly. Beyond [m, M] they grow with the distance from it, by 3 %
    each, and none is looked at that y does not reach. A value range that the user declared is intersected with the
    proved one.
    """
    declared = problem.bounds.value_range
    try:
        proved = _compared(problem, positive)
    except (NotEnclosed, NotImplementedError):
        proved = None
    if declared is None:
        return proved
    given = float(declared[0]), float(declared[1])
    if proved is None:
        return Reach(given, given)
    within = Reach(*((max(given[0], p[0]), min(given[1], p[1])) for p in proved))
    return within if all(low <= high for low, high in within) else Reach(given, given)


def slope_bounds(problem: ParabolicPDE, value_range: Pair, *, positive: bool = False) -> Pair | None:
    """(low, high) for df/du over t in [0, T], x and grad in R^d, u in `value_range`; None if not proved.

    The ends of `value_range` may be infinite, those of the result are not. Proved where f is continuous in u and its
    derivative, off the kinks, is enclosed by finite numbers: then they bound all difference quotients of f in u. The
    derivative is that of the operations themselves: custom rules and `stop_gradient` do not count. A product of u with
    grad leaves the slope unbounded: None.
    """
    source: Any = problem.source
    try:
        return _slope(source, _domain(problem, positive), value_range)
    except (NotEnclosed, NotImplementedError):
        return None


def curvature_bound(problem: ParabolicPDE, value_range: Pair, *, positive: bool = False) -> float | None:
    """A bound of |d2f/du2| over the same set, proved where f is smooth in u; otherwise None."""
    source: Any = problem.source
    boxes = _domain(problem, positive)
    try:
        function = _plain(source, boxes)
        bends = _over(_derivative(_derivative(function)), boxes, value_range, of=function, proof=is_smooth)
    except (NotEnclosed, NotImplementedError):
        return None
    bound = max(abs(end) for end in _ends(bends))
    return bound if np.isfinite(bound) else None


def slope_variation(problem: ParabolicPDE, value_range: Pair, *, positive: bool = False) -> Variation | None:
    """How df/du varies over `value_range`, whose ends may be infinite, where it depends on u alone; None if not proved.

    Two slopes differ by no more than the sum of the jumps of all cells from one point to the other: neighbours share an
    end. Proved as `slope_bounds` is. Cells that hold much of the variation are split, so that kinks lie in short ones.
    """
    source: Any = problem.source
    boxes = _domain(problem, positive)
    try:
        function = _plain(source, boxes)
        low, high = _cells(*value_range, _PIECES[0] // 4)
        batch = [*boxes[:2], (low, high), *boxes[3:]]
        if not is_continuous(_batched(function, boxes), 2, _shapes(batch), batch):
            return None
        slope = _batch(_derivative(function), boxes, (low, high))
        for _ in range(_ROUNDS):
            jump = slope.high - slope.low
            long = high - low > _SHORTEST * np.maximum(np.abs(low), np.abs(high))
            split = (jump > _SHARE * jump.sum()) & long & np.isfinite(low) & np.isfinite(high)
            if not split.any():
                break
            edges = np.linspace(low[split], high[split], _PARTS + 1, axis=1)
            low = np.concatenate([low[~split], edges[:, :-1].ravel()])
            high = np.concatenate([high[~split], edges[:, 1:].ravel()])
            order = np.argsort(low, kind="stable")
            low, high = low[order], high[order]
            slope = _batch(_derivative(function), boxes, (low, high))
    except (NotEnclosed, NotImplementedError):
        return None
    jump = slope.high - slope.low
    return Variation(low, high, jump, _ends(slope)) if np.isfinite(jump).all() else None


def _slope(source: Callable, boxes: Sequence[Box], value_range: Pair) -> Pair | None:
    function = _plain(source, boxes)
    low, high = _ends(_over(_derivative(function), boxes, value_range, of=function, proof=is_continuous))
    return (low, high) if np.isfinite([low, high]).all() else None


def _compared(problem: ParabolicPDE, positive: bool) -> Reach | None:
    source: Any = problem.source
    boxes = _domain(problem, positive)
    bounds = terminal_range(problem, positive=positive)
    if bounds is None or not np.isfinite(bounds).all():
        return None

    def still(t: Any, x: Any, u: Any) -> Any:
        return source(t, x, u, jnp.zeros(problem.dim))

    def speed(low: Float[np.ndarray, " cells"], high: Float[np.ndarray, " cells"]) -> Interval:
        return _batch(function, boxes[:3], (low, high))

    def mirrored(low: Float[np.ndarray, " cells"], high: Float[np.ndarray, " cells"]) -> Interval:
        value = speed(-high, -low)
        return Interval(-value.high, -value.low)

    function = _plain(still, boxes[:3])
    size, horizon = max(1.0, abs(bounds[0]), abs(bounds[1])), problem.horizon
    top, bottom = _grown(speed, bounds[1], size, horizon), _grown(mirrored, -bounds[0], size, horizon)
    if top is None or bottom is None or _slope(still, boxes[:3], (-bottom, top)) is None:
        return None
    known = [*boxes[:2], (-bottom, top), boxes[3]]
    if not is_continuous(source, 3, _shapes(known), known):
        return None
    above = _sunk(speed, bounds[1], -bottom, horizon) if top == bounds[1] else top
    below = -_sunk(mirrored, -bounds[0], -top, horizon) if -bottom == bounds[0] else -bottom
    return Reach((-bottom, top), (below, above) if below <= above else (-bottom, top))


Speed = Callable[[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]], Interval]


def _grown(speed: Speed, start: float, size: float, horizon: float) -> float | None:
    """The greatest y on [0, T] for y' = max F(y), y(0) = start, with F bounded by `speed` on cells above the start.

    None where y leaves them, or comes to one where f is not enclosed.
    """
    if _upper(speed(np.array([start]), np.array([start])))[0] <= 0:
        return start
    for pieces in _PIECES:
        edges = start + np.concatenate([[0.0], size * np.logspace(*_DECADES, pieces)])
        try:
            return _followed(speed, edges, horizon)
        except TooLarge:
            continue
    return None


def _followed(speed: Speed, edges: Float[np.ndarray, " edges"], horizon: float) -> float | None:
    """y(T) for y' = max(F(y), 0) from the first of the increasing `edges`. Cells are looked at in blocks, which shrink
    to one cell where a block meets the end of f's domain."""
    left, k, block = horizon * (1 + 1e-9), 0, _BLOCK
    while k < len(edges) - 1:
        ends = edges[k : k + block + 1]
        try:
            rates = _upper(speed(ends[:-1], ends[1:]))
        except TooLarge:
            raise
        except NotEnclosed:
            if block == 1:
                return None
            block = 1
            continue
        for low, high, rate in zip(ends, ends[1:], rates, strict=False):
            if not rate > 0:
                return float(low)
            if (high - low) * (1 - 1e-6) >= left * rate:
                return float(min(low + (1 + 1e-5) * rate * left, high))
            left -= (high - low) * (1 - 1e-6) / rate
        k += len(ends) - 1
    return None


def _sunk(speed: Speed, start: float, floor: float, horizon: float) -> float:
    """An upper bound of y(T) for y' = F(y) <= 0 at y(0) = start: y falls through cells in which F is negative."""
    for pieces in _PIECES:
        edges = np.linspace(floor, start, pieces + 1)
        try:
            rates = _upper(speed(edges[:-1], edges[1:]))
        except TooLarge:
            continue
        y, left = start, horizon * (1 - 1e-9)
        for low, rate in zip(edges[-2::-1], rates[::-1], strict=True):
            if not rate < 0:
                break
            if (y - low) * (1 + 1e-6) >= -rate * left:
                return float(min(y + (1 - 1e-5) * rate * left, y))
            left -= (y - low) * (1 + 1e-6) / -rate
            y = low
        return float(y)
    return start


def _upper(rates: Interval) -> Float[np.ndarray, " cells"]:
    return np.asarray(rates.high, dtype=np.float64)


# --- a function of (t, x, u, ...) over cells of u -------------------------------------------------------------------


def _space(problem: ParabolicPDE, positive: bool) -> Box:
    return np.full(problem.dim, 0.0 if positive else -np.inf), np.full(problem.dim, np.inf)


def _domain(problem: ParabolicPDE, positive: bool) -> list[Box]:
    """All (t, x, u, grad)."""
    d, anything = problem.dim, (-np.inf, np.inf)
    return [(0.0, problem.horizon), _space(problem, positive), anything, (np.full(d, -np.inf), np.full(d, np.inf))]


def _over(derivative: Callable, boxes: Sequence[Box], value_range: Pair, *, of: Callable, proof: Callable) -> Interval:
    """Enclose the derivative of a function on cells of the value range, once `proof` has shown there what it means."""
    for pieces in _PIECES:
        cells = _cells(*value_range, pieces)
        batch = [*boxes[:2], cells, *boxes[3:]]
        try:
            if not proof(_batched(of, boxes), 2, _shapes(batch), batch):
                raise NotEnclosed("not shown to be regular in u")
            return _batch(derivative, boxes, cells)
        except TooLarge:
            continue
    raise TooLarge("for the fewest pieces too")


def _cells(low: float, high: float, pieces: int) -> Box:
    """Closed cells that cover [low, high] and share their ends; growing with |u| where an end is infinite."""
    if np.isfinite([low, high]).all():
        edges = np.linspace(low, high, pieces + 1)
    else:
        inner = np.sinh(np.linspace(-16.0, 16.0, pieces))
        edges = np.concatenate([[low], inner[(inner > low) & (inner < high)], [high]])
    return edges[:-1], edges[1:]


def _batched(function: Callable, boxes: Sequence[Box]) -> Callable:
    return jax.vmap(function, in_axes=[0 if i == 2 else None for i in range(len(boxes))])


def _batch(function: Callable, boxes: Sequence[Box], cells: Box) -> Interval:
    inputs = [interval(box) for box in (*boxes[:2], cells, *boxes[3:])]
    closed = flatten(_batched(function, boxes), [box.low.shape for box in inputs])
    return evaluate(closed, inputs)(closed.jaxpr.outvars[0])


def _shapes(boxes: Sequence[Box]) -> list[Shape]:
    return [np.shape(low) for low, _ in boxes]


def _ends(value: Interval) -> Pair:
    return float(np.min(value.low)), float(np.max(value.high))


def _plain(function: Callable, boxes: Sequence[Box]) -> Callable:
    """The traced function, whose derivatives are those of its operations."""
    closed = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, np.float32) for shape in _shapes(boxes)))
    return lambda *arguments: inline(closed, arguments, {"max": _max, "min": _min})[0]


def _derivative(function: Callable) -> Callable:
    """d/du."""
    def derivative(t: Any, x: Any, u: Any, *rest: Any) -> Any:
        return jax.jvp(lambda v: function(t, x, v, *rest), (u,), (jnp.ones_like(u),))[1]
    return derivative


@jax.custom_jvp
def _max(a: Any, b: Any) -> Any:
    """Its derivative is that of the larger operand, by comparisons that intervals can decide; at a tie the mean,
    as in JAX: f continued affinely from there has that slope."""
    return lax.max(a, b)


@jax.custom_jvp
def _min(a: Any, b: Any) -> Any:
    return lax.min(a, b)


@_max.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    (a, b), (da, db) = primals, tangents
    return _max(a, b), jnp.where(a > b, da, jnp.where(a < b, db, (da + db) / 2))


@_min.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    (a, b), (da, db) = primals, tangents
    return _min(a, b), jnp.where(a < b, da, jnp.where(a > b, db, (da + db) / 2))
