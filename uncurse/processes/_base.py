"""What every process offers: a step, its noise, and the coordinates in which a frozen drift stays exact."""

import abc
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
Point = Float[Array, " d"]
Noise = Float[Array, " m"]


class AbstractProcess(eqx.Module):
    """A diffusion dX = b(t, X) dt + sigma(t, X) dW on R^d, for one point at a time.

    `exact` processes are sampled without a time-discretisation error, also when a constant extra drift is frozen over
    the step in the coordinates that `tilt` chooses. That is what lets a certificate change measure without a step bias.
    """

    dim: eqx.AbstractVar[int]
    exact: eqx.AbstractClassVar[bool]

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
        """Advance by dt from standard normals xi under the tilted measure; return the new point and dW there."""

    @abc.abstractmethod
    def noise(self, t: Scalar, x: Point, grad: Point) -> Noise:
        """z = sigma(t, x)^T grad."""

    @abc.abstractmethod
    def drift(self, t: Scalar, x: Point) -> Point:
        """b(t, x)."""

    @abc.abstractmethod
    def spread(self, t: Scalar, x: Point, z: Noise) -> Point:
        """sigma(t, x) z."""

    def tilt(self, t: Scalar, x: Point, drift: Point) -> Point:
        """An extra drift at (t, x) in the coordinates in which `step` freezes it."""
        return drift

    def carry(self, x: Point, grad: Point, onto: Point) -> Point:
        """The gradient at `onto` that has the same z = sigma^T grad as `grad` has at `x`: a z frozen over a step."""
        return grad


class AbstractExactProcess(AbstractProcess):
    exact: ClassVar[bool] = True
