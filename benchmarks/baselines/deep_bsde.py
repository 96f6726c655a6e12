"""Deep BSDE: the original recipe of E, Han and Jentzen (2017, Commun. Math. Stat. 5).

Y_{k+1} = Y_k - f(t_k, X_k, Y_k, grad) h + z_k . dW_k from a trained Y_0. z_0 is a trained vector. z_k = sigma^T grad u
at t_k is a network of its own for each step: two hidden layers of d + 10 rectifiers, batch normalisation of the input
and after each matrix, output over d. Adam on E (Y_N - g(X_T))^2, linear beyond |Y_N - g| = 50, with 64 fresh paths each
time. The value is Y_0. There is no spread: the authors judge by repeating the whole training.

`PUBLISHED` holds the authors' settings, from the paper and from the configurations published with their program (of
two for reaction-diffusion, the one with more iterations). Three cases are not among theirs: semilinear heat and
sine-Gordon take Allen-Cahn's, Black-Scholes-Barenblatt default risk's with a start of its own. Differences: float32,
and no moving averages, since Y_0 does not depend on them.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from uncurse.problems import ParabolicPDE

from ._common import NOTHING, Deadline, Outcome, gradient_of, never

UNIT = "iterations"
BATCH = 64
BLOCK = 25          # iterations between two looks at the clock
CLIP = 50.0


@dataclass(frozen=True)
class Settings:
    """steps: N; rates: of Adam, changed at the boundaries; start: the range that Y_0 is drawn from."""

    steps: int
    rates: tuple[float, ...]
    boundaries: tuple[int, ...]
    iterations: int
    start: tuple[float, float]


PUBLISHED = {
    "hjb": Settings(20, (1e-2,), (), 2000, (0.0, 1.0)),
    "allen-cahn": Settings(20, (5e-4,), (), 4000, (0.3, 0.5)),
    "semilinear-heat": Settings(20, (5e-4,), (), 4000, (0.3, 0.5)),
    "sine-gordon": Settings(20, (5e-4,), (), 4000, (0.3, 0.5)),
    "quadratic-gradient": Settings(30, (5e-3,), (), 4000, (2.0, 4.0)),
    "burgers": Settings(30, (1e-2, 1e-3, 1e-4), (15_000, 25_000), 30_000, (2.0, 4.0)),
    "reaction-diffusion": Settings(30, (1e-2,), (), 24_000, (0.0, 1.0)),
    "black-scholes-barenblatt": Settings(40, (8e-3,), (), 6000, (60.0, 70.0)),
    "default-risk": Settings(40, (8e-3,), (), 6000, (40.0, 50.0)),
    "different-rates": Settings(20, (5e-3,), (), 4000, (15.0, 18.0)),
}


def budgets(problem: ParabolicPDE) -> tuple[int, ...]:
    whole = PUBLISHED[problem.name].iterations
    return tuple(-(-whole // (part * BLOCK)) * BLOCK for part in (64, 8, 1))


def solve(
    problem: ParabolicPDE, at: Float[np.ndarray, " d"], budget: int, *, seed: int = 0, deadline: Deadline = never,
    settings: Settings | None = None,
) -> Outcome:
    """Y_0 after `budget` iterations, rounded up to whole blocks, or after as many as time allowed."""
    settings = PUBLISHED[problem.name] if settings is None else settings
    rng = np.random.default_rng([seed, 3])
    trained = _initial(problem, settings, rng)
    moments = _optimiser(settings).init(trained)        # type: ignore[arg-type]
    x = jnp.asarray(at, dtype=np.float32)
    done = 0
    while done < budget and not (done and deadline()):
        xi = rng.standard_normal((BLOCK, settings.steps, BATCH, problem.process.normals), dtype=np.float32)
        trained, moments = _train(problem, settings, x, trained, moments, jnp.asarray(xi))
        jax.block_until_ready(trained)
        done += BLOCK
    return Outcome(float(trained.y), None, done) if done else NOTHING


class _Trained(NamedTuple):
    """Y_0, z_0, and the layers of steps 1 ... N - 1 stacked: matrices, scales and shifts of batch normalisation."""

    y: Array
    z: Float[Array, " m"]
    matrices: tuple[Float[Array, "steps a b"], ...]
    scales: tuple[Float[Array, "steps b"], ...]
    shifts: tuple[Float[Array, "steps b"], ...]


def _initial(problem: ParabolicPDE, settings: Settings, rng: np.random.Generator) -> _Trained:
    d, m, steps = problem.dim, problem.process.noise_dim, settings.steps - 1
    widths = (d, d + 10, d + 10, m)

    def uniform(low: float, high: float, *shape: int) -> Array:
        return jnp.asarray(rng.uniform(low, high, shape), dtype=np.float32)

    def glorot(a: int, b: int) -> Array:
        return uniform(-math.sqrt(6 / (a + b)), math.sqrt(6 / (a + b)), steps, a, b)

    return _Trained(
        uniform(*settings.start),
        uniform(-0.1, 0.1, m),
        tuple(glorot(a, b) for a, b in pairwise(widths)),
        tuple(uniform(0.1, 0.5, steps, w) for w in widths),
        tuple(jnp.asarray(0.1 * rng.standard_normal((steps, w)), dtype=np.float32) for w in widths),
    )


def _optimiser(settings: Settings) -> optax.GradientTransformation:
    factors = {at: b / a for at, (a, b) in zip(settings.boundaries, pairwise(settings.rates), strict=True)}
    return optax.adam(optax.piecewise_constant_schedule(settings.rates[0], factors))


def _network(layers: tuple, x: Float[Array, "paths d"]) -> Float[Array, "paths m"]:
    """One step's network on a batch."""
    matrices, scales, shifts = layers

    def normalise(x: Array, k: int) -> Array:
        return scales[k] * (x - jnp.mean(x, axis=0)) / jnp.sqrt(jnp.var(x, axis=0) + 1e-6) + shifts[k]

    x = normalise(x, 0)
    for k, matrix in enumerate(matrices, start=1):
        x = normalise(x @ matrix, k)
        x = jax.nn.relu(x) if k < len(matrices) else x
    return x


def _loss(trained: _Trained, problem: ParabolicPDE, settings: Settings, at: Array, xi: Array) -> Array:
    """On one batch, from normals (steps, paths, m)."""
    assert problem.source is not None
    process, source, steps = problem.process, problem.source, settings.steps
    dt = jnp.asarray(problem.horizon / steps, dtype=np.float32)

    def step(t: Array, x: Array, y: Array, z: Array, xi: Array) -> tuple[Array, Array]:
        f = source(t, x, y, gradient_of(process, t, x, z))
        x, dw = process.step(t, x, dt, xi, jnp.zeros_like(x))
        return x, y - f * dt + z @ dw

    advance = jax.vmap(step, in_axes=(None, 0, 0, 0, 0))

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x, y = carry
        t, xi, layers = inputs
        return advance(t, x, y, _network(layers, x) / problem.dim, xi), None

    x, y = jnp.broadcast_to(at, (BATCH, problem.dim)), jnp.broadcast_to(trained.y, (BATCH,))
    state = advance(jnp.zeros(()), x, y, jnp.broadcast_to(trained.z, (BATCH, len(trained.z))), xi[0])
    times = jnp.arange(1, steps) * dt
    (x, y), _ = jax.lax.scan(body, state, (times, xi[1:], trained[2:]))
    gap = y - jax.vmap(problem.terminal)(x)
    return jnp.mean(jnp.where(jnp.abs(gap) < CLIP, gap**2, 2 * CLIP * jnp.abs(gap) - CLIP**2))


@eqx.filter_jit
def _train(
    problem: ParabolicPDE, settings: Settings, at: Array, trained: _Trained, moments: Any, xi: Array
) -> tuple[_Trained, Any]:
    """One step of Adam for each batch of normals."""
    def iterate(carry: tuple, xi: Array) -> tuple[tuple, None]:
        trained, moments = carry
        slope = jax.grad(_loss)(trained, problem, settings, at, xi)
        updates, moments = _optimiser(settings).update(slope, moments)
        return (optax.apply_updates(trained, updates), moments), None

    return jax.lax.scan(iterate, (trained, moments), xi)[0]
