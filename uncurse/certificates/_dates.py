"""Paths from date to date: what a stopping rule earns on them, and a martingale that bounds what any rule can earn.

Notation. t_0 = 0, t_1, ... are the dates, h_k what stopping at date k pays, in money of t = 0, v_k a surrogate of the
value at date k. Along a path,

    M_k = sum_{j < k} [ v_{j+1}(X_{j+1}) - Q_j ],     Q_j = mean over points of a shifted net of v_{j+1}(X'_{j+1}),

where X'_{j+1} is one step of the process from X_j, driven by the points of the net instead of fresh noise. The net's
shift is drawn anew for each path and each date, so E[Q_j | X_j] = E[v_{j+1}(X_{j+1}) | X_j] exactly: M is a martingale,
for any surrogate and any net. No path is continued inside another one: Q_j is an integral over one step.
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from ..problems import StoppingProblem
from ..processes import AbstractProcess
from ..statistics import normal, shifted_net
from ..surrogates import AbstractContinuation, Nodes

Point = Float[Array, " d"]
Scalar = Float[Array, ""]
Index = Int[Array, ""]
Entry = TypeVar("Entry")


class Walk(eqx.Module):
    """The process from date to date, and the net that integrates over one such step."""

    process: AbstractProcess
    nodes: Nodes
    net: UInt32[Array, "points words"]      # with the mirror image of each, twice as many points
    steps: int = eqx.field(static=True)     # between two dates; 1 where the process is sampled exactly

    @staticmethod
    def of(problem: StoppingProblem, nodes: Nodes, steps: int, points: int, rng: np.random.Generator) -> "Walk":
        """`points` counts mirror images too."""
        net = shifted_net(max(points // 2, 1), steps * problem.process.normals, rng)
        return Walk(problem.process, nodes, jnp.asarray(net), steps)

    @property
    def words(self) -> int:
        """Random words of one path for one interval; the net's shift takes as many again."""
        return self.steps * self.process.normals

    def advance(self, k: Index, x: Point, xi: Float[Array, " words"], coarse: bool = False) -> Point:
        """From date k to the next; `coarse` takes half as many steps along the same Brownian path."""
        times, steps = self.nodes.times, self.steps
        rest, noise = jnp.zeros_like(x), xi.reshape(steps, -1)
        if coarse:
            steps = steps // 2
            noise = noise.reshape(steps, 2, -1).sum(axis=1) / np.float32(np.sqrt(2))
        dt = (times[k + 1] - times[k]) / steps
        if steps == 1:
            return self.process.step(times[k], x, dt, noise[0], rest)[0]

        def one(x: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
            i, xi = inputs
            return self.process.step(times[k] + i * dt, x, dt, xi, rest)[0], None

        return jax.lax.scan(one, x, (jnp.arange(steps), noise))[0]

    def mean(
        self, k: Index, x: Point, shift: UInt32[Array, " words"], function: Callable[[Point], Scalar],
        coarse: bool = False,
    ) -> Scalar:
        """The mean of a function of the next date's point, over the net: unbiased for a random shift."""
        half = normal(self.net + shift)
        xi = jnp.concatenate([half, -half])
        return jnp.mean(jax.vmap(lambda xi: function(self.advance(k, x, xi, coarse)))(xi))

    def ahead(self, surrogate: AbstractContinuation, k: Index, x: Point, shift: UInt32[Array, " words"]) -> Scalar:
        """Q_k."""
        return self.mean(k, x, shift, partial(surrogate.worth, k + 1))

    def step_change(
        self, surrogate: AbstractContinuation, k: Index, x: Point, shift: UInt32[Array, " words"]
    ) -> Scalar:
        """Q_k less the same with half as many steps: 0 where the process is sampled exactly."""
        if self.process.exact:
            return jnp.zeros_like(x[0])
        worth = partial(surrogate.worth, k + 1)
        return self.mean(k, x, shift, worth) - self.mean(k, x, shift, worth, coarse=True)


class Outcome(NamedTuple, Generic[Entry]):
    """What each path leaves behind: (paths,) on the device, (n, paths) in NumPy once sorted by starting point."""

    earned: Entry       # h - M where the rule stopped
    best: Entry         # max over dates of h - M
    last: Entry         # h at the last date
    step: Entry         # sum of `Walk.step_change` up to where the rule stopped
    paid: Entry         # h where the rule stopped
    foreseen: Entry     # max over dates of h


class _State(NamedTuple):
    """A path as it comes to a date; the martingale still lacks v there."""

    x: Float[Array, "paths d"]
    martingale: Float[Array, " paths"]
    stopped: Bool[Array, " paths"]
    earned: Float[Array, " paths"]
    best: Float[Array, " paths"]
    step: Float[Array, " paths"]
    paid: Float[Array, " paths"]
    foreseen: Float[Array, " paths"]


def run_dates(
    walk: Walk, surrogate: AbstractContinuation, starts: Float[Array, "paths d"],
    bits: UInt32[Array, "dates paths words"],
) -> Outcome[Float[Array, " paths"]]:
    """Run the rule of the surrogate, and the martingale, along the paths."""
    nodes, last = walk.nodes, jnp.asarray(walk.nodes.last)

    def at_date(s: _State, stop: Array, may: Array, reward: Array, value: Array) -> _State:
        m = s.martingale + value
        now = stop & ~s.stopped
        return s._replace(
            martingale=m, stopped=s.stopped | stop,
            earned=jnp.where(now, reward - m, s.earned), paid=jnp.where(now, reward, s.paid),
            best=jnp.where(may, jnp.maximum(s.best, reward - m), s.best),
            foreseen=jnp.where(may, jnp.maximum(s.foreseen, reward), s.foreseen),
        )

    def interval(s: _State, inputs: tuple[Array, Array]) -> tuple[_State, None]:
        k, bits = inputs
        reward, on = jax.vmap(surrogate.choices, (None, 0))(k, s.x)
        stop = jax.vmap(nodes.stops, (None, 0, 0))(k, reward, on)
        value = jnp.where(k > 0, jnp.where(stop, reward, on), 0.0)
        s, shift = at_date(s, stop, nodes.may_stop[k], reward, value), bits[:, walk.words :]
        ahead = jax.vmap(walk.ahead, (None, None, 0, 0))(surrogate, k, s.x, shift)
        change = jax.vmap(walk.step_change, (None, None, 0, 0))(surrogate, k, s.x, shift)
        x = jax.vmap(walk.advance, (None, 0, 0))(k, s.x, normal(bits[:, : walk.words]))
        step = s.step + jnp.where(s.stopped, 0.0, change)
        return s._replace(x=x, martingale=s.martingale - ahead, step=step), None

    zero = jnp.zeros(starts.shape[0], dtype=starts.dtype)
    start = _State(starts, zero, zero > 1, zero, zero - jnp.inf, zero, zero, zero - jnp.inf)
    s = jax.lax.scan(interval, start, (jnp.arange(nodes.last), bits))[0]
    reward = jax.vmap(nodes.reward, (None, 0))(last, s.x)
    end = at_date(s, zero == 0, nodes.may_stop[last], reward, reward)
    return Outcome(end.earned, end.best, reward, end.step, end.paid, end.foreseen)
