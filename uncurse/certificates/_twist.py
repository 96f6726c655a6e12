"""A step for f = c |z|^2 + b . z + const: the drift follows the surrogate inside the step, and its density is exact."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..processes import AbstractProcess
from ..surrogates import AbstractSurrogate

Scalar = Float[Array, ""]
Point = Float[Array, " d"]
Noise = Float[Array, " m"]

STIFFEST = 0.5      # least value of 1 + strength h (curvature): the noise's variance is at most h / STIFFEST


class Feedback(NamedTuple):
    """zhat inside a step: z + (a I + b n n^T) w, n = z / |z|, for the noise w since the step began."""

    q: Point
    z: Noise
    n: Noise
    along: Scalar       # a + b
    across: Scalar      # a


def feedback(process: AbstractProcess, surrogate: AbstractSurrogate, probe: Noise, t: Scalar, x: Point) -> Feedback:
    """The surrogate's gradient at x and two numbers of its Hessian in units of noise: along z, and a mean across it."""
    def chart(w: Noise) -> Point:
        moved = process.move(x, process.spread(t, x, w))
        return process.pull(moved, surrogate.gradient(t, moved))

    q, change = jax.linearize(chart, jnp.zeros_like(probe))
    z = process.noise(t, x, q)
    line = jnp.where(z @ z > 0, z, probe)       # any direction will do where z = 0, but it must have length 1
    n = line / jnp.sqrt(line @ line)
    along = n @ process.noise(t, x, change(n))
    trace = probe @ process.noise(t, x, change(probe))      # Hutchinson's estimate; any number will do
    across = (trace - along) / max(len(probe) - 1, 1)
    return Feedback(q, z, n, along, across if len(probe) > 1 else jnp.zeros_like(along))


class Twist(NamedTuple):
    """One step under the changed measure."""

    w: Noise                # the noise
    martingale: Noise       # w less its mean
    total: Scalar           # what the step adds to S, the constant of f aside
    across: Scalar          # d(-total) / d(curvature across z), for the same w
    along: Scalar           # d(-total) / d(curvature along z)


def twisted(found: Feedback, strength: float, h: Scalar, xi: Noise) -> Twist:
    """A step of length h from standard normals xi.

    For f = -(strength / 2) |z|^2, exp(-strength u) is an expectation over Brownian noise, w ~ N(0, h I) (Hopf-Cole).
    Here w ~ N(-strength C z, C) with C = h (I + strength h (a I + b n n^T))^-1, the law that exp(-strength uhat) has
    for a quadratic uhat; exp(-strength S) is the ratio of the two densities. So it averages to the same, for any z, a
    and b, whatever the length of the step: only S's scatter depends on them. For a = b = 0 it is Girsanov's density.
    """
    def excess(curvature: Scalar) -> Scalar:
        """Variance over h, less 1."""
        return 1 / jnp.maximum(1 + strength * h * curvature, STIFFEST) - 1

    m, along, across = len(xi), excess(found.along), excess(found.across)
    size, line = found.n @ found.z, found.n @ xi
    deviation = jnp.sqrt(h * (1 + along))
    middle = -strength * h * (1 + along) * size                # of w, along n
    martingale = jnp.sqrt(h * (1 + across)) * (xi - line * found.n) + deviation * line * found.n
    drift = middle * (middle + 2 * deviation * line) / h
    beside = xi @ xi - line**2 - (m - 1)
    total = drift + across * beside + (m - 1) * (across - jnp.log1p(across))
    total = (total + along * (line**2 - 1) + along - jnp.log1p(along)) / (2 * strength)
    steeper = deviation**2 / 2 * (line**2 - 1) + middle * deviation * line
    return Twist(middle * found.n + martingale, martingale, total, h * (1 + across) / 2 * beside, steeper)
