"""Paths from date to date: what a stopping rule earns along them, and the martingale that bounds what any rule can earn.

Notation. t_0 = 0, t_1, ... are the dates, h_k what stopping at date k pays, in money of t = 0, v_k a surrogate of the
value at date k. Along a path,

    M_k = sum_{j < k} [ v_{j+1}(X_{j+1}) - Q_j ],     Q_j = mean over points of a shifted net of v_{j+1}(X'_{j+1}),

where X'_{j+1} is one step of the process from X_j, driven by the points of the net instead of fresh noise. The net's
shift is drawn anew for each path and each date, so E[Q_j | X_j] = E[v_{j+1}(X_{j+1}) | X_j] exactly: M is a martingale,
for any surrogate and any net. No path is continued inside another one: Q_j is an integral over one step.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from ..problems import StoppingProblem
from ..processes import AbstractProcess
from ..statistics import normal, shifted_net
from ..surrogates import Continuation, Nodes, StopRule

Point = Float[Array, " d"]
Scalar = Float[Array, ""]
Index = Int[Array, ""]


class Walk(eqx.Module):
    """The process from date to date, and the net that integrates over one such step."""

    process: AbstractProcess
    nodes: Nodes
    net: UInt32[Array, "points words"]
    steps: int = eqx.field(static=True)     # between two dates; 1 where the process is sampled exactly

    @staticmethod
    def of(problem: StoppingProblem, nodes: Nodes, steps: int, points: int, rng: np.random.Generator) -> "Walk":
        """`points` counts pairs of a point and its mirror image as two."""
        net = shifted_net(points // 2, steps * problem.process.normals, rng)
        return Walk(problem.process, nodes, jnp.asarray(net), steps)

    @property
    def words(self) -> int:
        """Random words of one path for one interval, without those of the net's shift."""
        return self.steps * self.process.normals

    def advance(self, k: Index, x: Point, xi: Float[Array, " words"]) -> Point:
        """From date k to the next."""
        times = self.nodes.times
        dt = (times[k + 1] - times[k]) / self.steps
        rest = jnp.zeros_like(x)
        if self.steps == 1:
            return self.process.step(times[k], x, dt, xi, rest)[0]

        def one(x: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
            i, xi = inputs
            return self.process.step(times[k] + i * dt, x, dt, xi, rest)[0], None

        return jax.lax.scan(one, x, (jnp.arange(self.steps), xi.reshape(self.steps, -1)))[0]

    def ahead(self, surrogate: Continuation, k: Index, x: Point, shift: UInt32[Array, " words"]) -> Scalar:
        """Q_k: the mean of v_{k+1} over one step from x, unbiased for a random shift."""
        xi = normal(self.net + shift)

        def pair(xi: Array) -> Array:
            up, down = self.advance(k, x, xi), self.advance(k, x, -xi)
            return surrogate.worth(k + 1, up) + surrogate.worth(k + 1, down)

        return jnp.mean(jax.vmap(pair)(xi)) / 2


class Outcome(NamedTuple):
    """What each path leaves behind."""

    earned: Float[Array, " paths"]      # h - M where the rule stopped
    best: Float[Array, " paths"]        # max over dates of h - M
    last: Float[Array, " paths"]        # h at the last date
    plain: Float[Array, " paths"]       # h where the rule stopped


def run_dates(
    walk: Walk, surrogate: Continuation, starts: Float[Array, "paths d"], bits: UInt32[Array, "dates paths words"]
) -> Outcome:
    """Run the rule of the surrogate, and the martingale, along the paths."""
    nodes, rule = walk.nodes, StopRule(surrogate)
    zero = jnp.zeros(starts.shape[0], dtype=starts.dtype)

    def decide(k: Index, x: Array, m: Array, state: tuple) -> tuple:
        stopped, earned, plain, best = state
        h = jax.vmap(nodes.reward, (None, 0))(k, x)
        now = jax.vmap(rule.at_date, (None, 0))(k, x) & ~stopped
        best = jnp.where(nodes.may_stop[k], jnp.maximum(best, h - m), best)
        return stopped | now, jnp.where(now, h - m, earned), jnp.where(now, h, plain), best

    def interval(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x, m, state = carry
        k, bits = inputs
        state = decide(k, x, m, state)
        ahead = jax.vmap(walk.ahead, (None, None, 0, 0))(surrogate, k, x, bits[:, walk.words :])
        x = jax.vmap(walk.advance, (None, 0, 0))(k, x, normal(bits[:, : walk.words]))
        m = m + jax.vmap(surrogate.worth, (None, 0))(k + 1, x) - ahead
        return (x, m, state), None

    state = (zero > 1, zero, zero, zero - jnp.inf)
    (x, m, state), _ = jax.lax.scan(interval, (starts, zero, state), (jnp.arange(nodes.last), bits))
    _, earned, plain, best = decide(jnp.asarray(nodes.last), x, m, state)
    last = jax.vmap(nodes.reward, (None, 0))(jnp.asarray(nodes.last), x)
    return Outcome(earned, best, last, plain)
