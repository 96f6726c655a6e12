"""Policy optimisation on fresh paths: Adam on the mean cost, or on the scatter of what the value leaves of it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt32

from .._devices import single
from ..certificates._controlled import Path, move, noise_dim, path_cost
from ..certificates.drift_control import Shifted
from ..problems import ControlProblem
from ..statistics import Purpose, draw_bits, host_stream, normal, stream
from ..surrogates import Feedback, Quadratic, Trained

BLOCK = 100         # steps of Adam in a block
RATE = 1e-2         # of the first block; later ones divide it by 1 + round / 10
MEMORY = 50         # steps that the policy in use is an average over, so that training can stop after any
BATCH = 128         # paths a step
VISITS = 64         # paths that inputs and outputs are scaled with


@dataclass(frozen=True)
class Training:
    """A policy with the state of its optimiser."""

    policy: Trained         # the average over the last steps: the one to use
    latest: Trained
    moments: Any
    round: int = 0


def begin(
    problem: ControlProblem, base: Feedback, starts: Float[np.ndarray, "n d"], seed: int, gamma: Float[np.ndarray, " m"]
) -> Training:
    """A network on top of feedback, scaled with the feedback's own paths.

    gamma: root mean squares of the gradient of the cost in each control, over its modulus: how far controls are from
    where they should be.
    """
    paths = single(starts[np.resize(np.arange(len(starts)), VISITS)])
    bits = draw_bits(stream(seed, Purpose.training, 0), (), (problem.steps, VISITS, noise_dim(problem)))
    states, controls = (np.asarray(v, dtype=np.float64) for v in visit(problem, base, paths, bits))
    spread = states.std(axis=(0, 1))
    size = np.sqrt(np.mean(controls**2, axis=(0, 1)))
    width = np.asarray(base.high - base.low, dtype=np.float64)
    scale = np.where(np.isfinite(width), np.minimum(width / 2, np.maximum(size, gamma)), np.maximum(size, gamma))
    scale = np.where(scale > 0, scale, max(float(np.mean(scale)), 1.0))
    policy = Trained.of(
        base, states.mean(axis=(0, 1)), np.maximum(spread, 1e-3 * (spread.max() or 1.0)), scale, problem.horizon,
        own_states(problem), host_stream(seed, Purpose.training, 1),
    )
    return Training(policy, policy, _optimiser().init(_parameters(policy)))


def step(
    problem: ControlProblem, training: Training, value: Quadratic, shifted: Shifted | None,
    starts: Float[np.ndarray, "n d"], seed: int, limit: float,
) -> Training:
    """One block of training: by the martingale loss where controls shift the noise, else through the simulation.

    limit: seconds on the clock of `time.perf_counter` after which it stops.
    """
    import time

    policy, latest, moments = training.policy, training.latest, training.moments
    # Units that share a network teach it all at once: fewer paths a step, and more steps in a block.
    batch, block, memory = (BATCH // 4, 2 * BLOCK, 2 * MEMORY) if policy.own.shape[1] else (BATCH, BLOCK, MEMORY)
    paths = single(starts[np.resize(np.arange(len(starts)), batch)])
    for i in range(block):
        key = stream(seed, Purpose.training, 2, training.round)
        bits = draw_bits(key, (i,), (problem.steps, batch, noise_dim(problem)))
        rate = jnp.float32(RATE / (1 + training.round / 10))
        weight = jnp.float32(max(1 / (training.round * block + i + 1), 1 / memory))
        latest, policy, moments = _improve(
            problem, latest, policy, value, shifted, moments, paths, bits, rate, weight)
        if i % 10 == 9 and time.perf_counter() > limit:
            break
    return Training(policy, latest, moments, training.round + 1)


def _optimiser() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99))


def _parameters(policy: Trained) -> tuple:
    return policy.parameters


def own_states(problem: ControlProblem) -> Int[np.ndarray, "m q"]:
    """The states that belong to each control where all units are alike, stored unit by unit or kind by kind; else none.

    Units are alike if reordering them, with their controls, reorders the drift and leaves the costs as they were: tried
    at random points. That only shapes the network; a wrong guess costs nothing but time.
    """
    d, m = problem.dim, problem.control_dim
    rng, none = np.random.default_rng(0), np.zeros((m, 0), dtype=int)
    if d % m or m == 1:
        return none
    t, x, a = jnp.float32(0.3 * problem.horizon), *(single(rng.uniform(-1, 1, k)) for k in (d, m))
    order = rng.permutation(m)
    first = problem.drift(t, x, a), problem.running_cost(t, x, a), problem.terminal_cost(x)
    for own in (np.arange(d).reshape(-1, m).T, np.arange(d).reshape(m, -1)):
        moved = np.empty(d, dtype=int)
        moved[own] = own[order]
        y, b = x[moved], a[order]
        second = problem.drift(t, y, b), problem.running_cost(t, y, b), problem.terminal_cost(y)
        pairs = zip((first[0][moved], *first[1:]), second, strict=True)
        if all(np.allclose(p, q, rtol=1e-3, atol=1e-3) for p, q in pairs):
            return own
    return none


@eqx.filter_jit
def _improve(
    problem: Any, policy: Trained, average: Trained, value: Quadratic, shifted: Shifted | None, moments: Any,
    starts: Array, bits: Array, rate: Array, weight: Array,
) -> tuple[Trained, Trained, Any]:
    shares = (jnp.arange(len(starts)) % 2).astype(starts.dtype)

    def loss(parameters: tuple) -> Array:
        trial = eqx.tree_at(_parameters, policy, parameters)
        if shifted is not None:
            left = jax.vmap(partial(_left, problem, policy, trial, shifted), in_axes=(0, 0, 1))
            return jnp.var(left(shares, starts, bits))
        one = lambda x, b: path_cost(problem, trial, value, x, b)      # noqa: E731
        cost, martingale = jax.vmap(one, in_axes=(0, 1))(starts, bits)
        return jnp.mean(cost - martingale)

    slope = jax.grad(loss)(_parameters(policy))
    finite = jnp.all(jnp.asarray([jnp.isfinite(g).all() for g in jax.tree.leaves(slope)]))
    updates, after = _optimiser().update(slope, moments)
    moved = jax.tree.map(lambda p, u: jnp.where(finite, p - rate * u, p), _parameters(policy), updates)
    moments = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, moments)
    mean = jax.tree.map(lambda a, b: a + weight * (b - a), _parameters(average), moved)
    return eqx.tree_at(_parameters, policy, moved), eqx.tree_at(_parameters, average, mean), moments


def _left(
    problem: ControlProblem, policy: Trained, trial: Trained, shifted: Shifted, share: Array, x0: Path,
    bits: UInt32[Array, "steps q"],
) -> Array:
    """What the martingale of a trial policy's value leaves of the cost of one path:

        sum_k h [l(a*_k) + theta_k . C_k (a*_k - a_k)] - sqrt(h) theta_k . xi_k  +  g(x_N),

    a* and theta those of the trial, the path under a = share times another policy. If the trial is the best policy, it
    is the value up to O(h), whichever way the path went (E, Han and Jentzen 2017). Paths that go their own way show
    what a policy that is only locally best never meets.
    """
    h = jnp.float32(problem.step)

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x, left = carry
        k, b = inputs
        t, xi = k * h, normal(b)
        a, best = problem.clip(share * policy.control(t, x)), trial.control(t, x)
        theta = shifted.noise(problem, trial, k, t, x)
        left += h * (problem.running_cost(t, x, best) + theta @ shifted.push(k, best - a)) - jnp.sqrt(h) * (theta @ xi)
        after, *_ = move(problem, t, x, a, xi)
        return (after, left), None

    (end, left), _ = jax.lax.scan(body, (x0, jnp.zeros((), x0.dtype)), (jnp.arange(problem.steps), bits))
    return left + problem.terminal_cost(end)


@eqx.filter_jit
def visit(problem: Any, policy: Any, starts: Array, bits: Array) -> tuple[Array, Array]:
    """States and controls along paths."""
    def one(x: Array, bits: Array) -> tuple[Array, Array]:
        def body(x: Array, inputs: tuple) -> tuple[Array, tuple[Array, Array]]:
            t, b = inputs
            a = policy.control(t, x)
            after, *_ = move(problem, t, x, problem.clip(a), normal(b))
            return after, (x, a)

        times = jnp.arange(problem.steps) * jnp.float32(problem.step)
        return jax.lax.scan(body, x, (times, bits))[1]

    return jax.vmap(one, in_axes=(0, 1))(starts, bits)
