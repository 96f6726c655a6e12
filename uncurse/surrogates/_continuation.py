"""The value of going on, at each date, and the rule that follows from it: what all surrogates of stopping share."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..problems import StoppingProblem
from ._base import AbstractSurrogate, Point, Scalar
from ._nodes import Index, Nodes
from ._policy import AbstractRule
from ._summary import Summary

MOST_COORDINATES = 128      # up to which a coordinate is a feature of its own


class AbstractContinuation(AbstractSurrogate):
    """C_k(x) = max(least, s theta_k . psi_k(x)), psi = (u, hidden(u)), u = (1, r, reward / s, y), in money of t = 0.

    r are the pooled scalars and y the scaled coordinates of `Summary`; y is left out where coordinates can be
    exchanged, and has no weights of its own where it is long. As a function of (t, x) it is the value of the problem:
    max(reward, C) at dates, linear in t between them, in money of t.
    """

    nodes: eqx.AbstractVar[Nodes]
    summary: eqx.AbstractVar[Summary]
    theta: eqx.AbstractVar[Float[Array, "dates n"]]
    scale: eqx.AbstractVar[Float[Array, ""]]
    least: eqx.AbstractVar[Float[Array, ""]]        # no reward on training paths was below it

    @staticmethod
    @abc.abstractmethod
    def of(
        nodes: Nodes, summary: Summary, scale: float, least: float, rng: np.random.Generator, count: int
    ) -> "AbstractContinuation":
        """With `count` hidden units drawn at random, and theta 0."""

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """What `of` was told."""

    @abc.abstractmethod
    def hidden(self, k: Index, u: Float[Array, " p"]) -> Float[Array, " m"]:
        """What psi_k has besides its inputs."""

    @property
    def dim(self) -> int:
        return self.summary.process.dim

    def inputs(self, k: Index, x: Point) -> Float[Array, " p"]:
        """u at date k."""
        r, y = self.summary.pooled(k, x)
        reward = self.nodes.reward(k, x) / self.scale
        parts = [jnp.ones(1, dtype=r.dtype), r, reward[None]] + [y] * (not self.summary.exchangeable)
        return jnp.concatenate(parts)

    def features(self, k: Index, x: Point) -> Float[Array, " n"]:
        """psi_k(x)."""
        u = self.inputs(k, x)
        return jnp.concatenate([u[: linear(self.summary)], self.hidden(k, u)])

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
        return {"class": type(self).__name__, "count": self.count, **self.summary.recipe()}

    @classmethod
    def skeleton(cls, problem: StoppingProblem, recipe: dict[str, Any]) -> "AbstractContinuation":
        nodes = Nodes.of(problem)
        summary = Summary.skeleton(problem, nodes, recipe)
        return cls.of(nodes, summary, 1.0, 0.0, np.random.default_rng(0), int(recipe["count"]))


class StopRule(AbstractRule):
    """Stop where the reward is above what going on is worth, and at the last date; t between dates counts as the date
    before."""

    continuation: AbstractContinuation

    @property
    def dim(self) -> int:
        return self.continuation.dim

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


def linear(summary: Summary) -> int:
    """Number of inputs that are features as they are."""
    d = 0 if summary.exchangeable else summary.origin.shape[0]
    return 2 + summary.count + (d if d <= MOST_COORDINATES else 0)


def draws(
    summary: Summary, rng: np.random.Generator, count: int, dense: int
) -> tuple[Float[np.ndarray, "count r"], Float[np.ndarray, " count"], Float[np.ndarray, "dense d"]]:
    """Random weights of hidden units: on the pooled scalars, with an offset, and on all coordinates.

    There are none of the last kind where the pooled scalars say all that there is to say.
    """
    d = summary.origin.shape[0]
    p = 0 if summary.exchangeable or d == 1 else dense
    return _sparse(rng, count, summary.count), rng.uniform(-2, 2, count), rng.standard_normal((p, d)) / np.sqrt(d)


def _sparse(rng: np.random.Generator, count: int, r: int) -> Float[np.ndarray, "count r"]:
    """Directions in the space of pooled scalars, up to three at a time: most functions need few."""
    weights = np.zeros((count, r))
    for row in weights:
        chosen = rng.choice(r, size=min(int(rng.integers(1, 4)), r), replace=False)
        row[chosen] = rng.standard_normal(len(chosen))
    return weights * rng.choice([0.3, 1.0, 2.0], (count, 1))
