"""Theorem 5: everything else, with a remainder that is estimated."""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from .._solution import Guarantee
from ..statistics import Moments
from ._base import AbstractCertificate, Bounds, PerPath, PerPoint, stack
from ._model import Model
from ._paths import Columns


@dataclass(frozen=True)
class Mixed(AbstractCertificate):
    """u = E[S] + E int Gamma q ds for any f(t, x, u, grad), where the linearisation remainder is estimated:

        |E int Gamma q ds| ~ W T E |rho(a xi, b xi' / sqrt(T))| + |E Gamma_T A w|,
        rho(e, v) = f(y + e, z + v) - f(y, z) - f_u e - f_z . v   at points (t, x, y, z) that paths visited,

    with W = E Gamma, a^2 = E[Gamma e^2] / W over all times, b^2 = E A^2 for int |zeta|^2 ds, and Gaussian xi; v is
    taken at random or along f_z, whichever is worse. a^2 comes without bias from pairs of paths that branch at a random
    time, each half giving e there independently of the other. Signs do not cancel, which is cautious; nothing is
    proved.

    The second part is the slopes' change along each step: since S = y0 + Gamma_T A + (residuals), weights with the
    slopes at both ends of a step, 1 + w with w = sum h/2 (c_k - c_{k-1}) + 1/2 (beta_k - beta_{k-1}) . dW_k, correct S
    to first order (a trapezoid for the discount, Girsanov's density for the drift). The correction is applied, and its
    size stays in the budget.

    One Newton step with error a leaves about r = remainder(a); the next would leave (r/a) r, and so on: the sum is
    within r / (1 - r/a)^2. Where r/a reaches `BELIEVED`, the surrogate is too far away for that, and both ends are
    infinite.

    Guarantee: estimate.
    """

    horizon: float
    rho: PerPoint           # T E |rho|
    size: PerPoint          # a
    weight: PerPoint        # W

    BELIEVED = 0.4

    @staticmethod
    def of(horizon: float, rho: PerPoint, size: PerPoint, weight: PerPoint) -> "Mixed":
        words = "the remainder of the linearisation was estimated from samples of f around the pilot's paths"
        return Mixed((words,), horizon, rho, size, weight)

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        return stack(paths.total + paths.lagged, paths.lagged)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        value, sampling = moments.mean[:, 0], z * moments.error[:, 0]
        remainder = self.weight * self.rho
        step = np.abs(moments.mean[:, 1]) + z * moments.cautious_error[:, 1]
        ratio = (remainder + step) / np.maximum(self.weight * self.size, np.finfo(np.float64).tiny)
        believed = ratio < self.BELIEVED
        bias = np.where(believed, (remainder + step) / (1 - np.minimum(ratio, self.BELIEVED)) ** 2, np.inf)
        half = sampling + bias
        budget = {"sampling": sampling, "linearisation": remainder, "time step": step}
        return Bounds(value, value - half, value + half, budget, Guarantee.estimate)


@eqx.filter_jit
def sampled_remainder(
    model: Model,
    key: Key[Array, ""],
    t: Float[Array, " m"],
    x: Float[Array, "m d"],
    y: Float[Array, " m"],
    q: Float[Array, "m d"],
    size: Float[Array, " m"],
    reach: Float[Array, " m"],
) -> Float[Array, " m"]:
    """T E |rho| at each visited point, for errors a = size of u and b = reach of z there."""
    def one(key: Key[Array, ""], t: Array, x: Array, y: Array, q: Array, size: Array, reach: Array) -> Array:
        process, f = model.process, model.source
        p = process.gradient(x, q)
        f0, (c, b) = jax.value_and_grad(f, argnums=(2, 3))(t, x, y, p)
        tilt = process.tilt(x, b)
        keys = jax.random.split(key, 3)
        random = jax.random.normal(keys[0], x.shape)

        def rho(direction: Array, draws: Array) -> Array:
            norm = jnp.sqrt(jnp.sum(process.noise(t, x, direction) ** 2)) + jnp.finfo(x.dtype).tiny
            e, v = size * draws[0], reach / jnp.sqrt(model.horizon) * draws[1] * direction / norm
            f1 = f(t, x, y + e, process.gradient(x, q + v))
            return jnp.abs(f1 - f0 - c * e - tilt @ v)

        draws = jax.random.normal(keys[1], (8, 2))
        bent = process.tilt(x, jax.grad(f, argnums=3)(t, x, y, process.gradient(x, q + random))) - tilt
        inside = jnp.all(jnp.isfinite(process.whiten(t, x, bent)))      # else f moves a coordinate that has no noise
        means = [jnp.mean(jax.vmap(partial(rho, direction))(draws)) for direction in (random, tilt)]
        return jnp.where(inside, model.horizon * jnp.maximum(*means), jnp.inf)

    return jax.vmap(one)(jax.random.split(key, t.shape[0]), t, x, y, q, size, reach)


@eqx.filter_jit
def sampled_curvature(
    model: Model,
    key: Key[Array, ""],
    t: Float[Array, " m"],
    x: Float[Array, "m d"],
    y: Float[Array, " m"],
    q: Float[Array, "m d"],
) -> Float[Array, ""]:
    """The largest |d2f/dz2| found by power iteration at visited points: an estimate of K from below."""
    def one(key: Key[Array, ""], t: Array, x: Array, y: Array, q: Array) -> Array:
        process = model.process

        def slope(q: Array) -> Array:
            return process.tilt(x, jax.grad(model.source, argnums=3)(t, x, y, process.gradient(x, q)))

        def iterate(v: Array, _: None) -> tuple[Array, Array]:
            unit = v / (jnp.sqrt(jnp.sum(process.noise(t, x, v) ** 2)) + jnp.finfo(x.dtype).tiny)
            image = jax.jvp(slope, (q,), (unit,))[1]
            return image, jnp.sqrt(jnp.sum(process.whiten(t, x, image) ** 2))

        _, norms = jax.lax.scan(iterate, jax.random.normal(key, x.shape), None, length=8)
        return norms[-1]

    return jnp.max(jax.vmap(one)(jax.random.split(key, t.shape[0]), t, x, y, q))
