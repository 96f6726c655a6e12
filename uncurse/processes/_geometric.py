"""Geometric Brownian motion with correlated noises, sampled exactly."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .. import _checks
from .._devices import single
from ._base import AbstractExactProcess, Noise, Point, Scalar, exact_ratio, ratio


class GeometricBrownian(AbstractExactProcess):
    """dX_i = X_i (mu_i dt + sigma_i dB_i), with d[B_i, B_j] = rho_ij dt.

    L u = sum_i mu_i x_i u_i + 1/2 sum_ij sigma_i sigma_j rho_ij x_i x_j u_ij.

    Args:
        dim: number d of coordinates.
        drift: mu, per unit of time: a number or (d,).
        volatility: sigma, per square root of time: a number or (d,), not negative.
        correlation: rho (d, d), symmetric, positive definite, ones on the diagonal; `None` for independent noises.

    The chart is y = log(x'/x): an extra drift frozen there keeps the process a geometric Brownian motion.
    """

    flat: ClassVar[bool] = False
    dim: int = eqx.field(static=True)
    growth: Float[Array, "..."]
    volatility: Float[Array, "..."]
    factor: Float[Array, "d d"] | None   # lower Cholesky factor of the correlation

    def __init__(
        self,
        dim: int,
        drift: ArrayLike | Any,
        volatility: ArrayLike | Any,
        correlation: ArrayLike | Any = None,
    ):
        self.dim = _checks.positive_integer("dim", dim)
        self.growth = single(_checks.coefficient("drift", drift, self.dim))
        sigma = _checks.coefficient("volatility", volatility, self.dim, nonnegative=True)
        self.volatility = single(sigma)
        self.factor = None if correlation is None else single(_factor(correlation, self.dim))

    @property
    def noise_dim(self) -> int:
        return self.dim

    def step(self, t: Scalar, x: Point, dt: Scalar, xi: Float[Array, " normals"], tilt: Point) -> tuple[Point, Noise]:
        dw = jnp.sqrt(dt) * xi
        y = (self.growth + tilt - self.volatility**2 / 2) * dt + self.spread(t, x, dw)
        return self.move(x, y), dw

    def noise(self, t: Scalar, x: Point, q: Point) -> Noise:
        scaled = self.volatility * q
        return scaled if self.factor is None else self.factor.T @ scaled

    def spread(self, t: Scalar, x: Point, z: Noise) -> Point:
        return self.volatility * self._correlate(z)

    def whiten(self, t: Scalar, x: Point, y: Point) -> Noise:
        scaled = exact_ratio(y, jnp.broadcast_to(self.volatility, y.shape))
        return scaled if self.factor is None else jax.scipy.linalg.solve_triangular(self.factor, scaled, lower=True)

    def intensity(self, t: Scalar, x: Point) -> Scalar:
        return jnp.sum(jnp.broadcast_to(self.volatility, x.shape) ** 2)

    def drift(self, t: Scalar, x: Point) -> Point:
        return self.growth * x

    def chart_drift(self, t: Scalar, x: Point) -> Point:
        return jnp.broadcast_to(self.growth - self.volatility**2 / 2, x.shape)

    def move(self, x: Point, y: Point) -> Point:
        return x * jnp.exp(y)

    def chart(self, x: Point, to: Point) -> Point:
        r = ratio(to, x)
        return jnp.log(jnp.where(r > 0, r, 1.0))

    def pull(self, x: Point, grad: Point) -> Point:
        return x * grad

    def gradient(self, x: Point, q: Point) -> Point:
        return ratio(q, x)

    def tilt(self, x: Point, drift: Point) -> Point:
        return exact_ratio(drift, x)

    def _correlate(self, z: Noise) -> Point:
        return z if self.factor is None else self.factor @ z


def _factor(correlation: Any, dim: int) -> np.ndarray:
    rho = _checks.as_array("correlation", correlation)
    if rho.shape != (dim, dim):
        raise ValueError(f"correlation must have shape ({dim}, {dim}), since dim = {dim}; got {rho.shape}")
    _checks.finite("correlation", rho)
    if not np.allclose(rho, rho.T, atol=1e-6):
        i, j = np.unravel_index(np.argmax(np.abs(rho - rho.T)), rho.shape)
        entries = f"entry ({i}, {j}) is {rho[i, j]:g}, ({j}, {i}) is {rho[j, i]:g}"
        raise ValueError(f"correlation must be symmetric; {entries}")
    if not np.allclose(np.diag(rho), 1.0, atol=1e-6):
        i = int(np.argmax(np.abs(np.diag(rho) - 1)))
        raise ValueError(f"correlation must have ones on its diagonal; entry ({i}, {i}) is {rho[i, i]:g}")
    try:
        return np.linalg.cholesky(rho)
    except np.linalg.LinAlgError as error:
        smallest = np.linalg.eigvalsh(rho)[0]
        raise ValueError(
            f"correlation must be positive definite; its smallest eigenvalue is {smallest:.3g}. "
            f"Estimated from few observations? Shrink it: (1 - a) rho + a I."
        ) from error
