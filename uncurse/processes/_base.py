"""What every process offers: a step, its noise, and the chart in which that noise is additive."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
Point = Float[Array, " d"]
Noise = Float[Array, " m"]


class AbstractProcess(eqx.Module):
    """A diffusion dX = b(t, X) dt + sigma(t, X) dW on R^d, for one point at a time.

    A process comes with a chart: local coordinates y around a point x, x' = move(x, y), in which its noise is additive
    with a matrix Sigma that is constant over a step (y = x' - x; y = log(x'/x) for a geometric Brownian motion).
    Gradients in the chart are called q. What a certificate freezes over a step, an extra drift or a gradient, it
    freezes in the chart; an `exact` process is sampled without time-discretisation error also with such a drift.
    """

    dim: eqx.AbstractVar[int]
    exact: ClassVar[bool]           # no default: each leaf says it
    flat: ClassVar[bool] = True     # the chart is x' - x, so that q is the gradient in x itself

    @property
    @abc.abstractmethod
    def noise_dim(self) -> int:
        """Number m of Brownian motions."""

    @property
    def normals(self) -> int:
        """Standard normals that one step consumes; m unless the pair (X, W) needs more."""
        return self.noise_dim

    @abc.abstractmethod
    def step(self, t: Scalar, x: Point, dt: Scalar, xi: Float[Array, " normals"], tilt: Point) -> tuple[Point, Noise]:
        """Advance by dt from standard normals xi, with the extra chart drift `tilt`; return the new point and dW.

        Add the drift to the noise first, and both to x in one sum: a small drift that is added to a large x alone is
        rounded away, step after step; with the noise it is right in the mean (`_rounding.py`).
        """

    @abc.abstractmethod
    def noise(self, t: Scalar, x: Point, q: Point) -> Noise:
        """z = Sigma^T q for a chart gradient q."""

    @abc.abstractmethod
    def spread(self, t: Scalar, x: Point, z: Noise) -> Point:
        """Sigma z, in the chart."""

    @abc.abstractmethod
    def whiten(self, t: Scalar, x: Point, y: Point) -> Noise:
        """The smallest beta with Sigma beta = y: what an extra chart drift y is worth in units of noise."""

    @abc.abstractmethod
    def intensity(self, t: Scalar, x: Point) -> Scalar:
        """tr(Sigma Sigma^T): the variance per unit of time of the chart displacement."""

    @abc.abstractmethod
    def drift(self, t: Scalar, x: Point) -> Point:
        """b(t, x), in x."""

    def chart_drift(self, t: Scalar, x: Point) -> Point:
        """The drift of X in the chart."""
        return self.drift(t, x)

    def move(self, x: Point, y: Point) -> Point:
        """The point at displacement y from x in the chart."""
        return x + y

    def chart(self, x: Point, to: Point) -> Point:
        """The displacement in the chart that leads from x to another point: `move` undone."""
        return to - x

    def pull(self, x: Point, grad: Point) -> Point:
        """The chart gradient q at x of a function with gradient `grad`: (d move / d y)^T grad at y = 0."""
        return grad

    def gradient(self, x: Point, q: Point) -> Point:
        """The gradient in x that has chart gradient q: the inverse of `pull`."""
        return q

    def tilt(self, x: Point, drift: Point) -> Point:
        """An extra drift at x, in the chart."""
        return drift


class AbstractExactProcess(AbstractProcess):
    exact: ClassVar[bool] = True


def exact_ratio(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a / b, with 0/0 = 0, and infinite where a drift would need noise, or a level, that is not there."""
    zero = b == 0
    return jnp.where(zero, jnp.where(a == 0, 0.0, jnp.inf), a / jnp.where(zero, 1.0, b))


def least_norm(sigma: Float[Array, "d k"], y: Point) -> Noise:
    """The smallest beta with sigma beta = y; infinite where there is none."""
    beta = jnp.linalg.pinv(sigma) @ y
    missed = jnp.sum((sigma @ beta - y) ** 2) > 1e-6 * jnp.sum(y**2)
    return jnp.where(missed, jnp.inf, beta)


def ratio(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a / b, and 0 where b = 0: a coordinate without noise, or one that starts at 0 and stays there."""
    zero = b == 0
    return jnp.where(zero, 0.0, a / jnp.where(zero, 1.0, b))


def mean_decay(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """(1 - exp(-a)) / a, continued by 1 at a = 0."""
    small = jnp.abs(a) < 1e-6
    return jnp.where(small, 1.0, -jnp.expm1(-a) / jnp.where(small, 1.0, a))
