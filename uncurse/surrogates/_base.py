"""What a surrogate is: a function of (t, x) that proposes u and its gradient, and claims nothing."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
Point = Float[Array, " d"]


class AbstractSurrogate(eqx.Module):
    """uhat(t, x) for one point. Its gradient is the derivative of its value, so that the two always agree."""

    @abc.abstractmethod
    def value(self, t: Scalar, x: Point) -> Scalar:
        """uhat(t, x)."""

    def gradient(self, t: Scalar, x: Point) -> Point:
        """grad uhat(t, x), in x."""
        return jax.grad(self.value, argnums=1)(t, x)

    @abc.abstractmethod
    def recipe(self) -> dict[str, Any]:
        """What `skeleton` needs, besides the problem, to build a surrogate of the same shape; fit for JSON."""
