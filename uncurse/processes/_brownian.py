"""Brownian motion with constant volatility, sampled exactly."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .. import _checks
from .._devices import single
from ._base import AbstractExactProcess, Noise, Point, Scalar, exact_ratio, least_norm


class Brownian(AbstractExactProcess):
    """dX = sigma dW, with generator L u = 1/2 tr(sigma sigma^T D^2 u).

    Args:
        dim: number d of coordinates.
        volatility: sigma, per square root of time: a number, one number a coordinate, or a matrix (d, k) for k noises.
            `sqrt(2)` makes L the Laplacian.

    Raises:
        ValueError: a shape that does not fit `dim`, a negative or a non-finite entry.
    """

    dim: int = eqx.field(static=True)
    volatility: Float[Array, "..."]

    def __init__(self, dim: int, volatility: ArrayLike | Any):
        self.dim = _checks.positive_integer("dim", dim)
        sigma = _checks.coefficient("volatility", volatility, self.dim, nonnegative=True, matrix=True)
        self.volatility = single(sigma)

    @property
    def noise_dim(self) -> int:
        return self.volatility.shape[1] if self.volatility.ndim == 2 else self.dim

    def step(self, t: Scalar, x: Point, dt: Scalar, xi: Float[Array, " normals"], tilt: Point) -> tuple[Point, Noise]:
        dw = jnp.sqrt(dt) * xi
        return x + (tilt * dt + self.spread(t, x, dw)), dw

    def noise(self, t: Scalar, x: Point, q: Point) -> Noise:
        return self.volatility.T @ q if self.volatility.ndim == 2 else self.volatility * q

    def drift(self, t: Scalar, x: Point) -> Point:
        return jnp.zeros_like(x)

    def spread(self, t: Scalar, x: Point, z: Noise) -> Point:
        return self.volatility @ z if self.volatility.ndim == 2 else self.volatility * z

    def whiten(self, t: Scalar, x: Point, y: Point) -> Noise:
        return least_norm(self.volatility, y) if self.volatility.ndim == 2 else exact_ratio(y, self.volatility)

    def intensity(self, t: Scalar, x: Point) -> Scalar:
        entries = self.volatility if self.volatility.ndim == 2 else jnp.broadcast_to(self.volatility, x.shape)
        return jnp.sum(entries**2)
