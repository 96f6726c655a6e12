"""Backward regression: the value of going on, date by date, from realised payoffs with their noise taken out."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from ..certificates import Walk, rows_for
from ..problems import StoppingProblem
from ..statistics import Purpose, draw_bits, host_stream, normal, stream
from ..surrogates import Continuation, Nodes, Summary

RIDGE = 1e-5                # relative to the diagonal of the normal equations
ENTRIES = 2**25             # numbers in the paths of one round, at most


@dataclass(frozen=True)
class Backward:
    """One round: paths forward, then least squares from the last date back.

    The target at date k is Q_k + (Y_{k+1} - v_{k+1}(X_{k+1})), where Y_{k+1} is what the rule found so far earns on the
    path from date k + 1 on, less its martingale increments, and Q_k + ... replaces v_{k+1}(X_{k+1}) by its mean over
    one step. Its mean given X_k is what the rule earns (Longstaff and Schwartz 2001), and its noise is only what v
    misses, as in Glasserman and Yu 2004, where the regression has martingales.

    Args:
        features: random features.
        paths: on which the regression is made.
        points: of the net that integrates over one step.
    """

    features: int = 256
    paths: int = 16384
    points: int = 16

    def fit(self, problem: StoppingProblem, starts: Float[np.ndarray, "n d"], steps: int, seed: int, round_: int
            ) -> Continuation:
        nodes = Nodes.of(problem)
        rng = host_stream(seed, Purpose.training, round_)
        walk = Walk.of(problem, nodes, steps, self.points, rng)
        count = int(np.clip(ENTRIES // ((nodes.last + 1) * problem.dim), 1024, self.paths))
        rows = min(rows_for(max(problem.dim, self.features), self.points), count)
        count = -(-count // rows) * rows
        key = stream(seed, Purpose.training, round_)
        at = np.resize(np.arange(len(starts)), rows)
        first = jnp.asarray(starts[at], dtype=np.float32)
        paths = [
            np.asarray(_forward(walk, first, draw_bits(key, (0, i), (nodes.last, rows, walk.words))))
            for i in range(count // rows)
        ]
        x = np.concatenate(paths, axis=1)       # (dates, paths, d)
        surrogate = self._draft(problem, nodes, x, starts[0], host_stream(seed, Purpose.frame, round_))
        return self._backward(walk, surrogate, x, rows, key)

    def _draft(self, problem: StoppingProblem, nodes: Nodes, x: np.ndarray, start: np.ndarray,
               rng: np.random.Generator) -> Continuation:
        summary = Summary.of(problem, nodes, x[:, :2048], start, rng)
        rewards = np.asarray(_rewards(nodes, jnp.asarray(x[:, :2048])), dtype=np.float64)
        scale = float(rewards[-1].std()) or float(np.abs(rewards).max()) or 1.0
        return Continuation.of(nodes, summary, scale, float(rewards.min()), rng, self.features)

    def _backward(
        self, walk: Walk, surrogate: Continuation, x: np.ndarray, rows: int, key: Array
    ) -> Continuation:
        rest = np.zeros(x.shape[1], dtype=np.float32)       # Y - v, at the date after
        for k in reversed(range(walk.nodes.last)):
            n, targets = surrogate.theta.shape[1], []
            gram, moment = np.zeros((n, n)), np.zeros(n)
            for i, begin in enumerate(range(0, x.shape[1], rows)):
                here = jnp.asarray(x[k, begin : begin + rows]), jnp.asarray(rest[begin : begin + rows])
                bits = draw_bits(key, (1, k, i), (rows, walk.words))
                found = _normal_equations(walk, surrogate, jnp.asarray(k), *here, bits)
                gram = gram + np.asarray(found[0], dtype=np.float64)
                moment = moment + np.asarray(found[1], dtype=np.float64)
                targets.append(found[2])
            theta = surrogate.theta.at[k].set(_solve(gram, moment))
            surrogate = eqx.tree_at(lambda s: s.theta, surrogate, theta)
            rest = np.concatenate([
                np.asarray(_remainder(surrogate, jnp.asarray(k), jnp.asarray(x[k, i * rows : (i + 1) * rows]), target))
                for i, target in enumerate(targets)
            ])
        return surrogate


def backward_plan(method: Any) -> tuple[Backward, ...]:
    """The regressions to try, in order: all that the loop may use, or the one asked for."""
    if method is None or method == "features":
        return Backward(128, 4096, 16), Backward(256, 16384, 16), Backward(512, 32768, 32)
    if isinstance(method, Backward):
        return (method,)
    raise ValueError(f"method of a stopping problem must be None, 'features' or a methods.Backward; got {method!r}")


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
def _normal_equations(
    walk: Walk, surrogate: Continuation, k: Array, x: Array, rest: Array, bits: UInt32[Array, "rows words"]
) -> tuple[Array, Array, Array]:
    """Sums for the regression of the target on psi; and the target."""
    target = jax.vmap(walk.ahead, (None, None, 0, 0))(surrogate, k, x, bits) + rest
    psi = jax.vmap(surrogate.features, (None, 0))(k, x)
    return psi.T @ psi, psi.T @ (target / surrogate.scale), target


@eqx.filter_jit
def _remainder(surrogate: Continuation, k: Array, x: Array, target: Array) -> Array:
    """Y_k - v_k: what the rule earns from date k on, less the surrogate."""
    def one(x: Array, target: Array) -> Array:
        reward, on = surrogate.choices(k, x)
        return jnp.where(surrogate.nodes.stops(k, reward, on), 0.0, target - on)

    return jax.vmap(one)(x, target)
