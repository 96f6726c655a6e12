"""The Ornstein-Uhlenbeck process, sampled exactly together with its noise."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .. import _checks
from .._devices import single
from ._base import AbstractExactProcess, Noise, Point, Scalar, exact_ratio, mean_decay


class OrnsteinUhlenbeck(AbstractExactProcess):
    """dX_i = rate_i (mean_i - X_i) dt + sigma_i dW_i.

    L u = sum_i rate_i (mean_i - x_i) u_i + 1/2 sum_i sigma_i^2 u_ii.

    Args:
        dim: number d of coordinates.
        rate: speed of mean reversion, per unit of time: a number or (d,), not negative.
        volatility: sigma, per square root of time: a number or (d,), not negative.
        mean: level that the process reverts to: a number or (d,).

    One step draws I = int exp(-rate (t + dt - s)) dW_s and dW jointly: Var I = (1 - exp(-2 rate dt)) / (2 rate),
    Var dW = dt, Cov(I, dW) = (1 - exp(-rate dt)) / rate; hence two normals a coordinate.
    """

    dim: int = eqx.field(static=True)
    rate: Float[Array, "..."]
    volatility: Float[Array, "..."]
    mean: Float[Array, "..."]

    def __init__(self, dim: int, rate: ArrayLike | Any, volatility: ArrayLike | Any, mean: ArrayLike | Any = 0.0):
        self.dim = _checks.positive_integer("dim", dim)
        self.rate = single(_checks.coefficient("rate", rate, self.dim, nonnegative=True))
        sigma = _checks.coefficient("volatility", volatility, self.dim, nonnegative=True)
        self.volatility = single(sigma)
        self.mean = single(_checks.coefficient("mean", mean, self.dim))

    @property
    def noise_dim(self) -> int:
        return self.dim

    @property
    def normals(self) -> int:
        return 2 * self.dim

    def step(self, t: Scalar, x: Point, dt: Scalar, xi: Float[Array, " normals"], tilt: Point) -> tuple[Point, Noise]:
        first, second = xi[: self.dim], xi[self.dim :]
        mean = mean_decay(self.rate * dt)                    # (1 - exp(-rate dt)) / (rate dt)
        spare = jnp.maximum(mean_decay(2 * self.rate * dt) - mean**2, 0.0)
        dw = jnp.sqrt(dt) * first
        integral = jnp.sqrt(dt) * (mean * first + jnp.sqrt(spare) * second)
        pull = dt * mean * (self.rate * (self.mean - x) + tilt)
        return x + (pull + self.volatility * integral), dw

    def noise(self, t: Scalar, x: Point, q: Point) -> Noise:
        return self.volatility * q

    def whiten(self, t: Scalar, x: Point, y: Point) -> Noise:
        return exact_ratio(y, self.volatility)

    def intensity(self, t: Scalar, x: Point) -> Scalar:
        return jnp.sum(jnp.broadcast_to(self.volatility, x.shape) ** 2)

    def drift(self, t: Scalar, x: Point) -> Point:
        return self.rate * (self.mean - x)

    def spread(self, t: Scalar, x: Point, z: Noise) -> Point:
        return self.volatility * z
