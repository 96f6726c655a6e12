"""Paths of a controlled system: their costs, and gradients of the cost at branched continuations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from .._devices import single
from ..problems import ControlProblem
from ..statistics import draw_bits, normal
from ..surrogates import AbstractPolicy, Quadratic

Path = Float[Array, " d"]
BRANCHES = 16


def noise_dim(problem: ControlProblem) -> int:
    """Independent normals of one step."""
    shapes = [jax.ShapeDtypeStruct(s, np.float32) for s in ((), (problem.dim,), (problem.control_dim,))]
    sigma = jax.eval_shape(problem.sigma, *shapes)
    return sigma.shape[1] if len(sigma.shape) == 2 else problem.dim


def move(problem: ControlProblem, t: Array, x: Path, a: Array, xi: Array) -> tuple[Path, Path, Path, Array]:
    """The next state, where the drift alone leads, the noise of the step, and the volatility.

    The next state is one sum: a small drift added to a large x alone would be rounded away at every step.
    """
    sigma = problem.sigma(t, x, a)
    noise = jnp.sqrt(jnp.float32(problem.step)) * (sigma @ xi if sigma.ndim == 2 else sigma * xi)
    change = problem.drift(t, x, a) * problem.step
    return x + (change + noise), x + change, noise, sigma


def _spread(sigma: Array, P: Float[Array, "d d"], step: float) -> Array:
    """E s.P s for the noise s of a step."""
    if sigma.ndim == 2:
        return step * jnp.sum(sigma * (P @ sigma))
    return step * jnp.sum(jnp.diagonal(P) * sigma**2)


def _inputs(problem: ControlProblem, value: Quadratic, bits: UInt32[Array, "steps k"]) -> tuple:
    k = jnp.arange(problem.steps)
    return k, k * jnp.float32(problem.step), bits, value.P[1:], value.p[1:]


def path_cost(
    problem: ControlProblem, policy: AbstractPolicy, value: Quadratic, x0: Path, bits: UInt32[Array, "steps k"],
) -> tuple[Array, Array]:
    """The cost of one path under a policy, and a martingale that is zero on average whatever `value` is.

    The martingale is sum_k V_{k+1}(x_{k+1}) - E[V_{k+1}(x_{k+1}) | x_k], in closed form for a quadratic V.
    """
    def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x, cost, martingale = carry
        _, t, b, P, p = inputs
        a = policy.control(t, x)
        a = a + jax.lax.stop_gradient(problem.clip(a) - a)      # derivatives are the policy's own business
        after, mean, s, sigma = move(problem, t, x, a, normal(b))
        bent = P @ s
        martingale += mean @ bent + p @ s + (s @ bent - _spread(sigma, P, problem.step)) / 2
        return (after, cost + problem.step * problem.running_cost(t, x, a), martingale), None

    zero = jnp.zeros((), x0.dtype)
    (end, cost, martingale), _ = jax.lax.scan(body, (x0, zero, zero), _inputs(problem, value, bits))
    return cost + problem.terminal_cost(end), martingale


def branch_gradient(
    problem: ControlProblem, policy: AbstractPolicy, value: Quadratic, x0: Path, bits: UInt32[Array, "steps k"],
    date: Int[Array, ""],
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """d cost / d a_date along one path, the other controls held as they are; and a_date.

    What the path adds to the gradient by chance is taken off as it comes: grad V_{k+1}(x_{k+1}) less its mean, which is
    P_{k+1} s_k for a quadratic V, goes into the adjoint of E[x_{k+1} | x_k] with the opposite sign. Its mean is zero
    for any V.
    """
    hold = jax.lax.stop_gradient

    def total(delta: Float[Array, " m"]) -> tuple[Array, Array]:
        def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
            x, cost, chosen = carry
            k, t, b, P, _ = inputs
            a = hold(problem.clip(policy.control(t, hold(x))))
            chosen = jnp.where(k == date, a, chosen)
            a = a + jnp.where(k == date, delta, 0.0)
            after, mean, s, _ = move(problem, t, x, a, normal(b))
            # Not x_{k+1} = mean + s: noise that the control scales would meet itself in the product.
            cost += problem.step * problem.running_cost(t, x, a) - hold(P @ s) @ mean
            return (after, cost, chosen), None

        begin = x0, jnp.zeros((), x0.dtype), jnp.zeros_like(delta)
        (end, cost, chosen), _ = jax.lax.scan(body, begin, _inputs(problem, value, bits))
        return cost + problem.terminal_cost(end), chosen

    return jax.grad(total, has_aux=True)(jnp.zeros(problem.control_dim, x0.dtype))


@eqx.filter_jit
def _ends(
    problem: Any, policy: Any, starts: Float[Array, "paths d"], bits: UInt32[Array, "steps paths k"]
) -> Float[Array, "paths d"]:
    def one(x: Path, bits: Array) -> Path:
        def body(x: Path, inputs: tuple[Array, Array]) -> tuple[Path, None]:
            t, b = inputs
            return move(problem, t, x, problem.clip(policy.control(t, x)), normal(b))[0], None

        return jax.lax.scan(body, x, (jnp.arange(problem.steps) * jnp.float32(problem.step), bits))[0]

    return jax.vmap(one, in_axes=(0, 1))(starts, bits)


@eqx.filter_jit
def _costs(problem: Any, policy: Any, value: Any, starts: Float[Array, "paths d"], bits: Array
           ) -> Float[Array, "paths 2"]:
    return jax.vmap(lambda x, b: jnp.stack(path_cost(problem, policy, value, x, b)), in_axes=(0, 1))(starts, bits)


@eqx.filter_jit
def _gradients(
    problem: Any, policy: Any, value: Any, starts: Float[Array, "paths d"], bits: UInt32[Array, "steps paths k"],
    date: Int[Array, " groups"],
) -> tuple[Array, Array]:
    branches = len(starts) // len(date)
    steps, paths, _ = bits.shape
    first = jnp.arange(paths) // branches * branches
    dates = jnp.repeat(date, branches)
    bits = jnp.where((jnp.arange(steps)[:, None] < dates)[..., None], bits[:, first], bits)     # one path at first
    one = lambda x, b, k: branch_gradient(problem, policy, value, x, b, k)      # noqa: E731
    return jax.vmap(one, in_axes=(0, 1, 0))(starts, bits, dates)


@dataclass(frozen=True)
class Rollouts:
    """Fresh paths of one problem under one frozen policy, from fixed starting points."""

    problem: ControlProblem
    policy: AbstractPolicy
    value: Quadratic
    starts: Float[np.ndarray, "n d"]
    rows: int

    @property
    def block(self) -> int:
        """Points simulated at once."""
        return min(len(self.starts), self.rows)

    def _turns(self, count: int, width: int, block: int) -> Iterator[tuple[int, int, Float[Array, "paths d"]]]:
        """(round, first point, starting points) of chunks that hold at least `count` units for each point."""
        for round_ in range(-(-count // width)):
            for first in range(0, len(self.starts), block):
                at = np.resize(np.arange(first, min(first + block, len(self.starts))), block)
                yield round_, first, jnp.repeat(single(self.starts[at]), width, axis=0)

    def _bits(self, key: Key[Array, ""], round_: int, first: int, paths: int) -> UInt32[Array, "steps paths k"]:
        return draw_bits(key, (round_, first), (self.problem.steps, paths, noise_dim(self.problem)))

    def costs(self, key: Key[Array, ""], count: int) -> Iterator[Float[np.ndarray, "n paths 2"]]:
        """Costs and martingales of at least `count` paths a point, in rounds."""
        return self.along(key, count, lambda starts, bits: _costs(self.problem, self.policy, self.value, starts, bits))

    def ends(self, key: Key[Array, ""]) -> Float[np.ndarray, "n paths d"]:
        """x_N on the paths of one round."""
        return next(self.along(key, 1, lambda starts, bits: _ends(self.problem, self.policy, starts, bits)))

    def along(
        self, key: Key[Array, ""], count: int, found: Callable[[Array, Array], Float[Array, "paths k"]]
    ) -> Iterator[Float[np.ndarray, "n paths k"]]:
        """k numbers of each of at least `count` paths a point, in rounds; `found` takes starting points and bits."""
        width, parts = self.rows // self.block, []
        for round_, first, starts in self._turns(count, width, self.block):
            numbers = np.asarray(found(starts, self._bits(key, round_, first, len(starts))), dtype=np.float64)
            parts.append(numbers.reshape(self.block, width, -1)[: len(self.starts) - first])
            if first + self.block >= len(self.starts):
                yield np.concatenate(parts)
                parts = []

    def gradients(
        self, key: Key[Array, ""], count: int, branches: int = BRANCHES
    ) -> Iterator[tuple[Float[np.ndarray, "n groups branches m"], Float[np.ndarray, "n groups m"]]]:
        """Gradients at branched continuations and the controls there, for at least `count` dates a point, in rounds.

        Dates are stratified: of the G groups of a round each has its own of G equal parts of the horizon.
        """
        block = min(len(self.starts), max(self.rows // branches, 1))
        groups, parts, m = max(self.rows // (block * branches), 1), [], self.problem.control_dim
        for round_, first, starts in self._turns(-(-count // groups), 1, block):
            starts = jnp.repeat(starts, groups * branches, axis=0)
            bits = self._bits(key, round_, first, len(starts))
            words = np.random.default_rng([*np.asarray(jax.random.key_data(key)).tolist(), round_, first, 1])
            place = (np.arange(groups) + words.uniform(size=(block, groups))) / groups
            date = jnp.asarray((place * self.problem.steps).astype(np.int32).ravel())
            g, a = (np.asarray(v) for v in _gradients(self.problem, self.policy, self.value, starts, bits, date))
            keep = min(block, len(self.starts) - first)
            g, a = (v.reshape(block, groups, branches, m)[:keep].astype(np.float64) for v in (g, a))
            parts.append((g, a[:, :, 0]))
            if first + block >= len(self.starts):
                yield np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
                parts = []
