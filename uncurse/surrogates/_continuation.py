"""The value of going on, at each date: linear in random features, so that it is found by least squares."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..problems import StoppingProblem
from ._base import AbstractSurrogate, Point, Scalar
from ._nodes import Index, Nodes
from ._policy import AbstractRule
from ._summary import Summary

MOST_COORDINATES = 128      # up to which a coordinate is a feature of its own


class Continuation(AbstractSurrogate):
    """C_k(x) = max(least, s theta_k . psi_k(x)), psi = (1, r, reward, tanh(W r + b), y, tanh(V y)), in money of t = 0.

    r are the pooled scalars and y the scaled coordinates of `Summary`; y and V are left out where coordinates can be
    exchanged. As a function of (t, x) it is the value of the problem: max(reward, C) at dates, linear in t between
    them, in money of t.
    """

    nodes: Nodes
    summary: Summary
    inner: Float[Array, "m r"]
    offset: Float[Array, " m"]
    dense: Float[Array, "p d"]
    theta: Float[Array, "dates n"]
    scale: Float[Array, ""]
    least: Float[Array, ""]         # no reward on training paths was below it

    @staticmethod
    def of(
        nodes: Nodes, summary: Summary, scale: float, least: float, rng: np.random.Generator, count: int
    ) -> "Continuation":
        d, r = summary.origin.shape[0], summary.count
        p = 0 if summary.exchangeable or d == 1 else count // 4
        linear = d if not summary.exchangeable and d <= MOST_COORDINATES else 0
        draws = _sparse(rng, count, r), rng.uniform(-2, 2, count), rng.standard_normal((p, d)) / np.sqrt(d)
        arrays = (*draws, np.zeros((nodes.last, 2 + r + count + p + linear)), scale, least)
        return Continuation(nodes, summary, *(jnp.asarray(a, dtype=np.float32) for a in arrays))

    def features(self, k: Index, x: Point) -> Float[Array, " n"]:
        """psi_k(x)."""
        r, y = self.summary.pooled(k, x)
        parts = [jnp.ones(1, dtype=r.dtype), r, (self.nodes.reward(k, x) / self.scale)[None]]
        parts.append(jnp.tanh(self.inner @ r + self.offset))
        if self.dense.shape[0]:
            parts.append(jnp.tanh(self.dense @ y))
        if self.theta.shape[1] > sum(p.shape[0] for p in parts):
            parts.append(y)
        return jnp.concatenate(parts)

    def going_on(self, k: Index, x: Point) -> Scalar:
        """C_k(x)."""
        return jnp.maximum(self.least, self.scale * (self.features(k, x) @ self.theta[k]))

    def worth(self, k: Index, x: Point) -> Scalar:
        """max(reward, C_k) at date k, and the reward at the last."""
        reward, on = self.choices(k, x)
        return jnp.where((k == self.nodes.last) | self.nodes.stops(k, reward, on), reward, on)

    def choices(self, k: Index, x: Point) -> tuple[Scalar, Scalar]:
        """What stopping at date k pays, and what going on is worth."""
        return self.nodes.reward(k, x), self.going_on(jnp.minimum(k, self.nodes.last - 1), x)

    def value(self, t: Scalar, x: Point) -> Scalar:
        nodes = self.nodes
        k = jnp.clip(jnp.searchsorted(nodes.times, t, side="left"), 0, nodes.last)
        before = jnp.maximum(k - 1, 0)
        share = jnp.where(k > 0, (nodes.times[k] - t) / jnp.maximum(nodes.times[k] - nodes.times[before], 1e-30), 0.0)
        share = jnp.clip(share, 0.0, 1.0)
        mixed = (1 - share) * self.worth(k, x) + share * self.going_on(jnp.minimum(before, nodes.last - 1), x)
        return jnp.exp(nodes.discount * t) * mixed

    def recipe(self) -> dict[str, Any]:
        return {"class": "Continuation", "count": self.offset.shape[0], **self.summary.recipe()}

    @staticmethod
    def skeleton(problem: StoppingProblem, recipe: dict[str, Any]) -> "Continuation":
        nodes = Nodes.of(problem)
        summary = Summary.skeleton(problem, nodes, recipe)
        return Continuation.of(nodes, summary, 1.0, 0.0, np.random.default_rng(0), int(recipe["count"]))


class StopRule(AbstractRule):
    """Stop where the reward is above what going on is worth, and at the last date; t between dates counts as the date
    before."""

    continuation: Continuation

    @property
    def dim(self) -> int:
        return self.continuation.summary.process.dim

    def stop(self, t: Scalar, x: Point) -> Bool[Array, ""]:
        nodes = self.continuation.nodes
        late = t * (1 + 1e-5) + 1e-9
        k = jnp.clip(jnp.searchsorted(nodes.times, late, side="right") - 1, 0, nodes.last)
        return self.at_date(k, x)

    def at_date(self, k: Index, x: Point) -> Bool[Array, ""]:
        """The decision at date k."""
        nodes = self.continuation.nodes
        return nodes.stops(k, *self.continuation.choices(k, x)) | (k == nodes.last)

    def recipe(self) -> dict[str, Any]:
        return {"class": "StopRule", "continuation": self.continuation.recipe()}


def _sparse(rng: np.random.Generator, count: int, r: int) -> Float[np.ndarray, "count r"]:
    """Directions in the space of pooled scalars, up to three at a time: most functions need few."""
    weights = np.zeros((count, r))
    for row in weights:
        chosen = rng.choice(r, size=min(int(rng.integers(1, 4)), r), replace=False)
        row[chosen] = rng.standard_normal(len(chosen))
    return weights * rng.choice([0.3, 1.0, 2.0], (count, 1))
