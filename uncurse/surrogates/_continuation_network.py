"""The value of going on as a network of one hidden layer a date, trained."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ._continuation import AbstractContinuation, draws, linear
from ._nodes import Index, Nodes
from ._summary import Summary


class ContinuationNetwork(AbstractContinuation):
    """hidden_k(u) = tanh(A_k u), with A_k trained at each date; u has the 1 that offsets need.

    Before training A_k is that of random features: most units see a few pooled scalars, and, where coordinates cannot
    be exchanged, a quarter of them sees all coordinates.
    """

    nodes: Nodes
    summary: Summary
    inner: Float[Array, "dates m p"]
    theta: Float[Array, "dates n"]
    scale: Float[Array, ""]
    least: Float[Array, ""]

    @staticmethod
    def of(
        nodes: Nodes, summary: Summary, scale: float, least: float, rng: np.random.Generator, count: int
    ) -> "ContinuationNetwork":
        r = summary.count
        d = 0 if summary.exchangeable else summary.origin.shape[0]
        pooled, offset, dense = draws(summary, rng, count, count // 4)
        layer = np.zeros((count, 2 + r + d))
        layer[:, 0], layer[:, 1 : 1 + r] = offset, pooled
        if len(dense):
            layer[-len(dense) :] = 0.0
            layer[-len(dense) :, 2 + r :] = dense
        inner = np.broadcast_to(layer, (nodes.last, *layer.shape))
        theta = np.zeros((nodes.last, linear(summary) + count))
        return ContinuationNetwork(
            nodes, summary, *(single(a) for a in (inner, theta, scale, least))
        )

    def hidden(self, k: Index, u: Float[Array, " p"]) -> Float[Array, " m"]:
        return jnp.tanh(self.inner[k] @ u)

    @property
    def count(self) -> int:
        return self.inner.shape[1]
