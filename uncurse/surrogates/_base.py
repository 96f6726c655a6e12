"""What a surrogate is: a function of (t, x) that proposes u and its gradient, and claims nothing."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._devices import full_precision

Scalar = Float[Array, ""]
Point = Float[Array, " d"]


class AbstractSurrogate(eqx.Module):
    """uhat(t, x) for one point. Its gradient is the derivative of its value, so that the two always agree."""

    @property
    @abc.abstractmethod
    def dim(self) -> int | None:
        """Number d of coordinates of x; None where any number will do."""

    @abc.abstractmethod
    def value(self, t: Scalar, x: Point) -> Scalar:
        """uhat(t, x)."""

    def gradient(self, t: Scalar, x: Point) -> Point:
        """grad uhat(t, x), in x; 0 where that is not finite: a surrogate only proposes, and any adapted zhat will do.

        So a volatility such as sqrt(max(x, 0)), whose derivative at 0 is infinite, spoils no path.
        """
        return finite(jax.grad(self.value, argnums=1)(t, x))

    def __call__(self, t: ArrayLike, x: ArrayLike) -> Float[Array, "*points"]:
        """uhat at (t, x): x is (d,) or (n, d), t a number or (n,)."""
        return _over_points(self, t, x)[0]

    def grad(self, t: ArrayLike, x: ArrayLike) -> Float[Array, "*points d"]:
        """grad uhat at (t, x), in x; the same shapes."""
        return _over_points(self, t, x)[1]

    @abc.abstractmethod
    def recipe(self) -> dict[str, Any]:
        """What `skeleton` needs, besides the problem, to build a surrogate of the same shape; fit for JSON."""


def finite(proposed: Float[Array, "..."]) -> Float[Array, "..."]:
    """What only proposes, with 0 for what is not finite; never for g, f or a path."""
    return jnp.where(jnp.isfinite(proposed), proposed, 0.0)


def batched(
    t: ArrayLike, x: ArrayLike, name: str, dim: int | None
) -> tuple[Float[Array, " n"], Float[Array, "n d"], bool]:
    """One point or many as many, for a function called `name`; and whether it was one."""
    points, times = jnp.asarray(x, dtype=float), jnp.asarray(t, dtype=float)
    fits = points.ndim in (1, 2) and dim in (None, points.shape[-1])
    if not fits or times.shape not in ((), points.shape[:-1]):
        d = "d" if dim is None else dim
        expected = f"t a number or (n,), and x of shape ({d},) for one point or (n, {d}) for n"
        raise ValueError(f"{name}(t, x) takes {expected}; got t of shape {times.shape} and x of shape {points.shape}")
    batch = jnp.atleast_2d(points)
    return jnp.broadcast_to(times, batch.shape[:1]), batch, points.ndim == 1


def _over_points(surrogate: AbstractSurrogate, t: ArrayLike, x: ArrayLike) -> tuple[Array, Array]:
    times, points, one = batched(t, x, "field", surrogate.dim)
    with full_precision():
        value, gradient = _evaluate(surrogate, times, points)
    return (value[0], gradient[0]) if one else (value, gradient)


@eqx.filter_jit
def _evaluate(surrogate: AbstractSurrogate, t: Float[Array, " n"], x: Float[Array, "n d"]) -> tuple[Array, Array]:
    return jax.vmap(jax.value_and_grad(surrogate.value, argnums=1))(t, x)
