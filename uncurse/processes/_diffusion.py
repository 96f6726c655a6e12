"""A general diffusion, stepped by the Euler-Maruyama scheme."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _checks
from ._base import AbstractProcess, Noise, Point, Scalar, least_norm


class Diffusion(AbstractProcess):
    """dX = b(t, X) dt + sigma(t, X) dW, with L u = b . grad u + 1/2 tr(sigma sigma^T D^2 u).

    Args:
        dim: number d of coordinates.
        drift: b, a function (t, x) -> (d,) written for one point.
        volatility: sigma, a function (t, x) -> (d, k) written for one point.

    It is stepped, X + b dt + sigma dW (Kloeden and Platen, Numerical Solution of Stochastic Differential Equations,
    10.2.4), so an answer built on it carries a time-step part in its error budget.
    """

    dim: int = eqx.field(static=True)
    drift_function: Callable = eqx.field(static=True)
    volatility_function: Callable = eqx.field(static=True)
    _noise_dim: int = eqx.field(static=True)
    exact: ClassVar[bool] = False

    def __init__(
        self,
        dim: int,
        drift: Callable[[Scalar, Point], Point],
        volatility: Callable[[Scalar, Point], Float[Array, "d k"]],
    ):
        self.dim = _checks.positive_integer("dim", dim)
        arguments = [("t", ()), ("x", (self.dim,))]
        _checks.returns("drift", drift, arguments, (self.dim,))

        def matrix(shape: tuple) -> str | None:
            fits = len(shape) == 2 and shape[0] == self.dim and shape[1] >= 1
            return None if fits else f"a matrix of shape ({self.dim}, k)"

        _checks.returns("volatility", volatility, arguments, matrix)
        self.drift_function = drift
        self.volatility_function = volatility
        one = jax.ShapeDtypeStruct((self.dim,), np.float32)
        self._noise_dim = jax.eval_shape(volatility, jax.ShapeDtypeStruct((), np.float32), one).shape[1]

    @property
    def noise_dim(self) -> int:
        return self._noise_dim

    def step(self, t: Scalar, x: Point, dt: Scalar, xi: Float[Array, " normals"], tilt: Point) -> tuple[Point, Noise]:
        dw = jnp.sqrt(dt) * xi
        return x + ((self.drift(t, x) + tilt) * dt + self.spread(t, x, dw)), dw

    def noise(self, t: Scalar, x: Point, q: Point) -> Noise:
        return self.volatility_function(t, x).T @ q

    def whiten(self, t: Scalar, x: Point, y: Point) -> Noise:
        return least_norm(self.volatility_function(t, x), y)

    def intensity(self, t: Scalar, x: Point) -> Scalar:
        return jnp.sum(self.volatility_function(t, x) ** 2)

    def drift(self, t: Scalar, x: Point) -> Point:
        return self.drift_function(t, x)

    def spread(self, t: Scalar, x: Point, z: Noise) -> Point:
        return self.volatility_function(t, x) @ z
