"""When one may stop, and what that pays."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._devices import single
from ..problems import StoppingProblem
from ._base import Point, Scalar

Index = Int[Array, ""]


class Nodes(eqx.Module):
    """When a decision is taken, and what stopping pays then: the dates, with t = 0 before them."""

    times: Float[Array, " dates"]
    may_stop: Bool[Array, " dates"]
    payoff: Callable = eqx.field(static=True)
    discount: float = eqx.field(static=True)

    @staticmethod
    def of(problem: StoppingProblem) -> "Nodes":
        dates = np.asarray(problem.dates, dtype=np.float64)
        times = dates if dates[0] == 0 else np.concatenate([[0.0], dates])
        may_stop = np.ones(len(times), dtype=bool)
        may_stop[0] = dates[0] == 0
        return Nodes(single(times), jnp.asarray(may_stop), problem.payoff, problem.discount)

    @property
    def last(self) -> int:
        """Index of the last date."""
        return self.times.shape[0] - 1

    def reward(self, k: Index, x: Point) -> Scalar:
        """What stopping at date k pays, in money of t = 0."""
        t = self.times[k]
        return jnp.exp(-self.discount * t) * self.payoff(t, x)

    def stops(self, k: Index, reward: Scalar, going_on: Scalar) -> Bool[Array, ""]:
        """Whether to stop at date k, before the last: one may, and it pays more than going on."""
        return self.may_stop[k] & (reward > going_on)
