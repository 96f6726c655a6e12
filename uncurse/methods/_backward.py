"""Backward in time: paths forward, then a regression at each date, from realised payoffs with their noise taken out."""

import abc
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from .. import _checks
from .._devices import single
from ..certificates import Walk, rows_for
from ..problems import StoppingProblem
from ..statistics import Purpose, draw_bits, host_stream, normal, stream
from ..surrogates import AbstractContinuation, Nodes, Summary

RIDGE = 1e-5                # relative to the diagonal of the normal equations
ENTRIES = 2**25             # numbers in the paths of one round, at most

Fitted = TypeVar("Fitted", bound=AbstractContinuation)


class AbstractBackward(abc.ABC):
    """One round: paths forward, then a regression at each date, from the last back.

    The target at date k is Q_k + (Y_{k+1} - v_{k+1}(X_{k+1})), where Y_{k+1} is what the rule found so far earns on the
    path from date k + 1 on, less its martingale increments, and Q_k + ... replaces v_{k+1}(X_{k+1}) by its mean over
    one step. Its mean given X_k is what the rule earns (Longstaff and Schwartz 2001), and its noise is only what v
    misses, as in Glasserman and Yu 2004, where the regression has martingales.
    """

    name: ClassVar[str]
    paths: int              # on which the regression is made
    points: int             # of the net that integrates over one step

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):      # type: ignore[arg-type]
            _checks.positive_integer(field.name, getattr(self, field.name))

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of random features or hidden units."""

    @abc.abstractmethod
    def draft(
        self, nodes: Nodes, summary: Summary, scale: float, least: float, rng: np.random.Generator
    ) -> AbstractContinuation:
        """A surrogate of which nothing is learnt yet."""

    @abc.abstractmethod
    def regress(
        self, surrogate: Any, k: int, x: Float[np.ndarray, "n d"], target: Float[np.ndarray, " n"], rows: int
    ) -> AbstractContinuation:
        """The surrogate with what the target says about date k; all later dates are done. `rows`: points at once."""

    def fit(self, problem: StoppingProblem, starts: Float[np.ndarray, "n d"], steps: int, seed: int, round_: int
            ) -> AbstractContinuation:
        nodes = Nodes.of(problem)
        rng = host_stream(seed, Purpose.training, round_)
        walk = Walk.of(problem, nodes, steps, self.points, rng)
        count = int(np.clip(ENTRIES // ((nodes.last + 1) * problem.dim), 1024, self.paths))
        rows = min(rows_for(max(problem.dim, self.size), self.points), count)
        count = -(-count // rows) * rows
        key = stream(seed, Purpose.training, round_)
        at = np.resize(np.arange(len(starts)), rows)
        first = single(starts[at])
        paths = [
            np.asarray(_forward(walk, first, draw_bits(key, (0, i), (nodes.last, rows, walk.words))))
            for i in range(count // rows)
        ]
        x = np.concatenate(paths, axis=1)       # (dates, paths, d)
        rng = host_stream(seed, Purpose.frame, round_)
        summary = Summary.of(problem, nodes, x[:, :2048], starts[0], rng)
        rewards = np.asarray(_rewards(nodes, jnp.asarray(x[:, :2048])), dtype=np.float64)
        scale = float(rewards[-1].std()) or float(np.abs(rewards).max()) or 1.0
        return self._backward(walk, self.draft(nodes, summary, scale, float(rewards.min()), rng), x, rows, key)

    def _backward(
        self, walk: Walk, surrogate: AbstractContinuation, x: np.ndarray, rows: int, key: Array
    ) -> AbstractContinuation:
        rest = np.zeros(x.shape[1], dtype=np.float32)       # Y - v, at the date after
        for k in reversed(range(walk.nodes.last)):
            at = jnp.asarray(k)
            target = np.concatenate([
                np.asarray(_targets(walk, surrogate, at, here, after, draw_bits(key, (1, k, i), (rows, walk.words))))
                for i, (here, after) in enumerate(chunks(rows, x[k], rest))
            ])
            surrogate = self.regress(surrogate, k, x[k], target, rows)
            rest = np.concatenate([
                np.asarray(_remainder(surrogate, at, *here)) for here in chunks(rows, x[k], target)
            ])
        return surrogate


def chunks(rows: int, *arrays: np.ndarray) -> Iterator[tuple[Array, ...]]:
    """The arrays, so many rows at a time."""
    for begin in range(0, len(arrays[0]), rows):
        yield tuple(jnp.asarray(a[begin : begin + rows]) for a in arrays)


def least_squares(
    surrogate: Fitted, k: int, x: Float[np.ndarray, "n d"], target: Float[np.ndarray, " n"], rows: int
) -> Fitted:
    """The surrogate with theta_k from the regression of the target on psi_k."""
    n = surrogate.theta.shape[1]
    gram, moment = np.zeros((n, n)), np.zeros(n)
    for here in chunks(rows, x, target):
        found = _normal_equations(surrogate, jnp.asarray(k), *here)
        gram = gram + np.asarray(found[0], dtype=np.float64)
        moment = moment + np.asarray(found[1], dtype=np.float64)
    return eqx.tree_at(lambda s: s.theta, surrogate, surrogate.theta.at[k].set(_solve(gram, moment)))


def _solve(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    if not (np.isfinite(gram).all() and np.isfinite(moment).all()):
        return np.zeros(len(moment), dtype=np.float32)      # the pilot will say that payoffs are not finite
    ridge = RIDGE * np.diag(gram) + 1e-9 * np.trace(gram) / len(gram)
    return np.linalg.solve(gram + np.diag(ridge), moment).astype(np.float32)


@eqx.filter_jit
def _forward(walk: Walk, starts: Array, bits: UInt32[Array, "dates rows words"]) -> Float[Array, "dates rows d"]:
    def one(x: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        k, bits = inputs
        return jax.vmap(walk.advance, (None, 0, 0))(k, x, normal(bits)), x

    last, before = jax.lax.scan(one, starts, (jnp.arange(walk.nodes.last), bits))
    return jnp.concatenate([before, last[None]])


@eqx.filter_jit
def _rewards(nodes: Nodes, x: Float[Array, "dates m d"]) -> Float[Array, "dates m"]:
    return jax.vmap(lambda k, x: jax.vmap(nodes.reward, (None, 0))(k, x))(jnp.arange(nodes.last + 1), x)


@eqx.filter_jit
def _targets(
    walk: Walk, surrogate: AbstractContinuation, k: Array, x: Array, rest: Array, bits: UInt32[Array, "rows words"]
) -> Array:
    return jax.vmap(walk.ahead, (None, None, 0, 0))(surrogate, k, x, bits) + rest


@eqx.filter_jit
def _normal_equations(surrogate: AbstractContinuation, k: Array, x: Array, target: Array) -> tuple[Array, Array]:
    """Sums for the regression of the target on psi."""
    psi = jax.vmap(surrogate.features, (None, 0))(k, x)
    return psi.T @ psi, psi.T @ (target / surrogate.scale)


@eqx.filter_jit
def _remainder(surrogate: AbstractContinuation, k: Array, x: Array, target: Array) -> Array:
    """Y_k - v_k: what the rule earns from date k on, less the surrogate."""
    def one(x: Array, target: Array) -> Array:
        reward, on = surrogate.choices(k, x)
        return jnp.where(surrogate.nodes.stops(k, reward, on), 0.0, target - on)

    return jax.vmap(one)(x, target)
