"""Bounds of g, of the solution and of f's derivatives in u that hold for every point, proved by interval arithmetic."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..problems import ParabolicPDE
from ._enclosure import Box, Interval, NotEnclosed, Shape, TooLarge, interval
from ._intervals import evaluate, flatten, inline, is_continuous, is_smooth
from ._source import Variation

Pair = tuple[float, float]
_PIECES = (1024, 128, 16)       # of the range of u; fewer where an intermediate array would grow too large
_ROUNDS, _PARTS = 5, 8          # of splitting cells, and into how many
_SHARE, _SHORTEST = 1e-3, 1e-6  # of the whole variation in one cell that is not split; of |u|, lengths of such cells
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


def solution_range(problem: ParabolicPDE, *, positive: bool = False) -> Pair | None:
    """(low, high) that contains the solution on [0, T] x R^d (or x >= 0, if `positive`); None if not proved.

    Comparison principle. Let m <= g <= M, and let F(y) bound f(t, x, y, 0) from above for all (t, x). Then u <= y(T-t)
    with y' = max(F(y), 0), y(0) = M; from below alike. Proof: f(t, x, u, p) = f(t, x, u, 0) + beta . p, with beta a
    bounded drift where f is Lipschitz in p, so that along the diffusion with drift b + beta, Y_s = u(s, X_s) has
    Y_t = E_t[g(X_T) + int_t^T f(s, X_s, Y_s, 0) ds]; then Gronwall's lemma, as f is Lipschitz in u. The function y does
    not depend on x, so neither b nor sigma matters.

    Proved here: the bounds of g and F; that f(t, x, ., 0) is Lipschitz on [low, high], uniformly in (t, x); that f is
    continuous in grad. Assumed: u is the solution with values in [low, high], which is the only bounded one where f is
    locally Lipschitz in u; and f is Lipschitz in grad over the range of grad u.

    F is constant on cells that grow with the distance from M, by 3 % each, so that y can be followed exactly. A value
    range that the user declared is intersected with the proved one.
    """
    declared = problem.bounds.value_range
    try:
        proved = _compared(problem, positive)
    except (NotEnclosed, NotImplementedError):
        proved = None
    if declared is None or proved is None:
        return proved if declared is None else (float(declared[0]), float(declared[1]))
    low, high = max(declared[0], proved[0]), min(declared[1], proved[1])
    return (float(low), float(high)) if low <= high else (float(declared[0]), float(declared[1]))


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


def _compared(problem: ParabolicPDE, positive: bool) -> Pair | None:
    source: Any = problem.source
    boxes = _domain(problem, positive)
    bounds = terminal_range(problem, positive=positive)
    if bounds is None or not np.isfinite(bounds).all():
        return None
    if not is_continuous(source, 3, _shapes(boxes), boxes):
        return None

    def still(t: Any, x: Any, u: Any) -> Any:
        return source(t, x, u, jnp.zeros(problem.dim))

    function = _plain(still, boxes[:3])
    size = max(1.0, abs(bounds[0]), abs(bounds[1]))
    for pieces in _PIECES:
        lengths = np.concatenate([[0.0, 0.0], size * np.logspace(*_DECADES, pieces)])
        up, down = bounds[1] + lengths, bounds[0] - lengths
        cells = np.concatenate([down[1:], up[:-1]]), np.concatenate([down[:-1], up[1:]])
        try:
            speed = _batch(function, boxes[:3], cells)
        except TooLarge:
            continue
        count = len(lengths) - 1
        top = _reach(up, speed.high[count:], problem.horizon)
        bottom = _reach(-down, -speed.low[:count], problem.horizon)
        if top is None or bottom is None or _slope(still, boxes[:3], (-bottom, top)) is None:
            return None
        return -bottom, top
    return None


def _reach(edges: np.ndarray, speed: np.ndarray, horizon: float) -> float | None:
    """y(T) for y' = max(speed, 0) on each cell of the increasing `edges`, from the first edge; None if beyond the last.

    The first cell is the single point: where the speed there is not positive, y rests.
    """
    if speed[0] <= 0:
        return float(edges[0])
    with np.errstate(divide="ignore"):
        needed = np.where(speed > 0, np.diff(edges) * (1 - 1e-6) / np.maximum(speed, 1e-300), np.inf)
    arrival = np.concatenate([[0.0], np.cumsum(needed)])
    last = int(np.searchsorted(arrival, horizon * (1 + 1e-9))) - 1
    if last >= len(speed):
        return None
    return float(min(edges[last] + (1 + 1e-5) * max(speed[last], 0.0) * (horizon - arrival[last]), edges[last + 1]))


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
