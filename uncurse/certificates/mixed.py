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

        |E int Gamma q ds| ~ T E Gamma |rho(k eps, b xi / sqrt(T))| + |E Gamma_T A w|,
        rho(e, v) = f(y + e, z + v) - f(y, z) - f_u e - f_z . v   at points (t, x, y, z) that paths visited,

    with b^2 = E A^2 for int |zeta|^2 ds and Gaussian xi; v is taken at random or along f_z, whichever is worse. eps is
    what the error would be if the rest of the path were known: -eps' = f(y + eps, z) - f(y, z) from eps_T = A, see
    `errors_along`. It knows where errors sit and that f may enlarge them, which its linearisation cannot; e itself is
    about a mean of it. How much that mean takes from its size, k^2 = a^2 / E[Gamma eps^2], is measured: a^2 =
    E[Gamma eps eps'] without bias from pairs of paths that branch at a random time, or E[Gamma e e'] from their
    linearised errors, whichever is larger. Signs do not cancel, which is cautious; nothing is proved.

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
    remainder: PerPoint     # T E Gamma |rho|
    size: PerPoint          # of the error, a W^(1/2) with W = E Gamma: in units of u at t = 0

    BELIEVED = 0.4

    @staticmethod
    def of(horizon: float, remainder: PerPoint, size: PerPoint) -> "Mixed":
        words = "the remainder of the linearisation was estimated from samples of f around the pilot's paths"
        return Mixed((words,), horizon, remainder, size)

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        return stack(paths.total + paths.lagged, paths.lagged)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        value, sampling = moments.mean[:, 0], z * moments.error[:, 0]
        step = np.abs(moments.mean[:, 1]) + z * moments.cautious_error[:, 1]
        ratio = (self.remainder + step) / np.maximum(self.size, np.finfo(np.float64).tiny)
        believed = ratio < self.BELIEVED
        bias = np.where(believed, (self.remainder + step) / (1 - np.minimum(ratio, self.BELIEVED)) ** 2, np.inf)
        half = sampling + bias
        budget = {"sampling": sampling, "linearisation": self.remainder, "time step": step}
        return Bounds(value, value - half, value + half, budget, Guarantee.estimate)


@eqx.filter_jit
def sampled_remainder(
    model: Model,
    key: Key[Array, ""],
    t: Float[Array, " m"],
    x: Float[Array, "m d"],
    y: Float[Array, " m"],
    q: Float[Array, "m d"],
    e: Float[Array, " m"],
    reach: Float[Array, " m"],
) -> Float[Array, " m"]:
    """T E |rho| at each visited point, for errors e of u and of size b = reach in z there."""
    def one(key: Key[Array, ""], t: Array, x: Array, y: Array, q: Array, e: Array, reach: Array) -> Array:
        process, f = model.process, model.source
        p = process.gradient(x, q)
        f0, (c, b) = jax.value_and_grad(f, argnums=(2, 3))(t, x, y, p)
        tilt = process.tilt(x, b)
        keys = jax.random.split(key, 3)
        random = jax.random.normal(keys[0], x.shape)

        def rho(direction: Array, draw: Array) -> Array:
            norm = jnp.sqrt(jnp.sum(process.noise(t, x, direction) ** 2)) + jnp.finfo(x.dtype).tiny
            v = reach / jnp.sqrt(model.horizon) * draw * direction / norm
            f1 = f(t, x, y + e, process.gradient(x, q + v))
            return jnp.abs(f1 - f0 - c * e - tilt @ v)

        draws = jax.random.normal(keys[1], (8,))
        bent = process.tilt(x, jax.grad(f, argnums=3)(t, x, y, process.gradient(x, q + random))) - tilt
        inside = jnp.all(jnp.isfinite(process.whiten(t, x, bent)))      # else f moves a coordinate that has no noise
        means = [jnp.mean(jax.vmap(partial(rho, direction))(draws)) for direction in (random, tilt)]
        return jnp.where(inside, model.horizon * jnp.maximum(*means), jnp.inf)

    split = jax.random.split(key, t.shape[0])
    return jax.lax.map(lambda inputs: one(*inputs), (split, t, x, y, q, e, reach), batch_size=256)


@eqx.filter_jit
def errors_along(
    model: Model,
    t: Float[Array, " steps"],
    h: Float[Array, " steps"],
    x: Float[Array, "steps paths d"],
    y: Float[Array, "steps paths"],
    q: Float[Array, "steps paths d"],
    mismatch: Float[Array, " paths"],
) -> Float[Array, "steps paths"]:
    """eps at the start of each step, from eps_T = A back along each path, f taken as it is at the start of a step.

    The exponential midpoint rule with difference quotients of f: eps keeps its sign, and stiff f are no trouble.
    """
    def quotient(t: Array, x: Array, y: Array, p: Array, e: Array) -> Array:
        f = partial(model.source, t, x)
        small = jnp.abs(e) <= 1e-3 * jnp.abs(y) + jnp.finfo(y.dtype).tiny     # where a difference would be rounding
        secant = (f(y + e, p) - f(y, p)) / jnp.where(small, 1.0, e)
        return jnp.where(small, jax.grad(f)(y + e / 2, p), secant)

    def back(e: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        def one(e: Array, t: Array, h: Array, x: Array, y: Array, q: Array) -> Array:
            a = partial(quotient, t, x, y, model.process.gradient(x, q))
            return e * jnp.exp(h * a(e * jnp.exp(h / 2 * a(e))))

        t, h, x, y, q = step
        before = jax.vmap(one, in_axes=(0, None, None, 0, 0, 0))(e, t, h, x, y, q)
        return before, before

    return jax.lax.scan(back, mismatch, (t, h, x, y, q), reverse=True)[1]


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
