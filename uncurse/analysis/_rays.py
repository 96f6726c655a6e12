"""Whether the cost of a control problem falls without end: tried along constant controls."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._devices import single
from ..problems import ControlProblem


def refuse_unbounded(problem: ControlProblem, points: Float[np.ndarray, "n d"]) -> None:
    """Refuse a cost that falls without end along a control that is held over all steps, or over the last one alone, the
    noise left out.

    Raises:
        ValueError: the cost of pushing harder in some free direction is ever lower.
    """
    m = problem.control_dim
    low, high = (np.full(m, -np.inf), np.full(m, np.inf)) if problem.control_bounds is None else problem.control_bounds
    ways = np.concatenate([np.eye(m)[~np.isfinite(high)], -np.eye(m)[~np.isfinite(low)]])
    if len(ways) == 0:
        return
    start = single(points[0])

    def cost(a: Any, first: Any) -> Any:
        """Of pushing from step `first` on."""
        def body(carry: tuple, k: Any) -> tuple[tuple, None]:
            (x, total), t = carry, k * jnp.float32(problem.step)
            held = problem.clip(jnp.asarray(jnp.where(k >= first, a, 0.0)))
            total += problem.step * problem.running_cost(t, x, held)
            return (x + problem.step * problem.drift(t, x, held), total), None

        (end, total), _ = jax.lax.scan(body, (start, jnp.float32(0)), jnp.arange(problem.steps))
        return total + problem.terminal_cost(end)

    sizes = 10.0 ** np.arange(2, 6)
    pushes = single((sizes[:, None, None] * ways).reshape(-1, m))
    along = jax.jit(lambda first: jax.lax.map(lambda a: cost(a, first), pushes, batch_size=256))
    for first in (0, problem.steps - 1):
        found = np.asarray(along(first), dtype=np.float64).reshape(len(sizes), len(ways))
        falls = (np.diff(found, axis=0) < 0).all(axis=0) & (found[-1] < 5 * found[-2]) & (found[-2] < 0)
        if not falls.any():
            continue
        way = ways[int(np.argmax(falls))]
        i = int(np.argmax(np.abs(way)))
        sign = "+" if way[i] > 0 else "-"
        raise ValueError(
            f"the cost is unbounded below: it falls without end as control {i} goes to {sign}infinity. "
            "Give that control a bound in control_bounds, or let running_cost grow with it"
        )
