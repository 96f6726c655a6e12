"""The value of going on, linear in random features, so that it is found by least squares."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ._continuation import AbstractContinuation, draws, linear
from ._nodes import Index, Nodes
from ._summary import Summary


class Continuation(AbstractContinuation):
    """hidden(u) = (tanh(W r + b), tanh(V y)), at all dates alike; V is left out where coordinates can be exchanged."""

    nodes: Nodes
    summary: Summary
    inner: Float[Array, "m r"]
    offset: Float[Array, " m"]
    dense: Float[Array, "p d"]
    theta: Float[Array, "dates n"]
    scale: Float[Array, ""]
    least: Float[Array, ""]

    @staticmethod
    def of(
        nodes: Nodes, summary: Summary, scale: float, least: float, rng: np.random.Generator, count: int
    ) -> "Continuation":
        inner, offset, dense = draws(summary, rng, count, count // 4)
        theta = np.zeros((nodes.last, linear(summary) + count + len(dense)))
        arrays = (single(a) for a in (inner, offset, dense, theta, scale, least))
        return Continuation(nodes, summary, *arrays)

    def hidden(self, k: Index, u: Float[Array, " p"]) -> Float[Array, " m"]:
        r = u[1 : 1 + self.summary.count]
        parts = [jnp.tanh(self.inner @ r + self.offset)]
        if self.dense.shape[0]:
            parts.append(jnp.tanh(self.dense @ u[2 + self.summary.count :]))
        return jnp.concatenate(parts)

    @property
    def count(self) -> int:
        return self.offset.shape[0]
