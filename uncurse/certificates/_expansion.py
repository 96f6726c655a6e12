"""zhat inside a step: the surrogate's gradient, expanded in the noise, and its integral in closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..processes import AbstractProcess
from ..surrogates import AbstractSurrogate

Scalar = Float[Array, ""]
Point = Float[Array, " d"]


class Expansion(NamedTuple):
    """How the chart gradient q moves inside a step: dq = (H + T[y]) dy + (drift - c q) dt.

    y is the martingale part of the chart displacement since the start of the step, H = a I + b n n^T, and T is the
    symmetric tensor with T[y, y, y] = cubic w^3 + 3 bulge w (|y|^2 - w^2), w = n . y: how both curvatures change along
    n. In high dimension |y|^2 is large beside w^2, and so is what the bulge adds; where uhat = F(s(x)) with s curved
    alike in all directions across n, it is F'' |grad s| s'' = a b / |q|. For a solution of the equation the drift needs
    no derivative of q: differentiating u_t + L u + f = 0 gives (d/dt + L + b . grad) q = -(f_u q + f_x + J^T q), J the
    Jacobian of the chart drift. H and T decay by c = f_u too.
    """

    a: Scalar
    b: Scalar
    n: Point
    cubic: Scalar
    bulge: Scalar
    drift: Point

    def faded(self, by: Scalar) -> "Expansion":
        """H and T times a factor."""
        a, b, cubic, bulge = (by * k for k in (self.a, self.b, self.cubic, self.bulge))
        return self._replace(a=a, b=b, cubic=cubic, bulge=bulge)

    def traces(self, process: AbstractProcess, t: Scalar, x: Point) -> tuple[Scalar, Point]:
        """The traces of S H and of S T, a number and a vector, with S = Sigma Sigma^T at a point."""
        z, intensity = process.noise(t, x, self.n), process.intensity(t, x)
        rate = z @ z
        along = self.bulge * (intensity - 3 * rate) + self.cubic * rate
        return self.a * intensity + self.b * rate, 2 * self.bulge * process.spread(t, x, z) + along * self.n


def expand(
    process: AbstractProcess, surrogate: AbstractSurrogate, probe: Point, t: Scalar, h: Scalar, x: Point
) -> tuple[Point, Expansion]:
    """q at x, and its expansion for a step of length h, still without drift: from derivatives along n and a probe.

    The bulge is a b / |q| only as far as q outweighs what the noise along n makes of it in a step.
    """
    def chart(y: Point) -> Point:
        moved = process.move(x, y)
        return process.pull(moved, surrogate.gradient(t, moved))

    q, change = jax.jvp(chart, (jnp.zeros_like(x),), (probe,))
    tiny = jnp.finfo(x.dtype).tiny
    n = q / jnp.sqrt(q @ q + tiny)

    def along(w: Scalar) -> Scalar:
        return n @ jax.jvp(chart, (w * n,), (n,))[1]

    steepest, cubic = jax.jvp(along, (jnp.zeros_like(t),), (jnp.ones_like(t),))
    trace = probe @ change              # Hutchinson's estimate; any number will do, a good one saves variance
    a = (trace - steepest) / max(len(probe) - 1, 1)
    b = steepest - a
    moved2 = (jnp.abs(a) + jnp.abs(b)) ** 2 * jnp.sum(process.noise(t, x, n) ** 2) * h      # of q, by noise along n
    bulge = a * (b * jnp.sqrt(q @ q) / (q @ q + moved2 + tiny))     # so that large u does not overflow
    return q, Expansion(a, b, n, cubic, bulge, jnp.zeros_like(x))


def gradient_drift(process: AbstractProcess, t: Scalar, x: Point, q: Point, f_x: Point) -> Point:
    """What the equation says of the drift of q, but for its decay."""
    _, transpose = jax.vjp(lambda y: process.chart_drift(t, process.move(x, y)), jnp.zeros_like(x))
    return -(process.pull(x, f_x) + transpose(q)[0])


def martingale(
    process: AbstractProcess, expansion: Expansion | None, t: Scalar, x: Point, q: Point, decay: Scalar, y: Point,
    dy: Point, dt: Scalar,
) -> tuple[Scalar, Scalar]:
    """int zhat . dW over a part of a step that starts at x with chart gradient q, after a displacement y, and moves by
    dy; and the same with zhat discounted by exp(decay s).

    q, H and T fall like exp(-f_u s) on the paths of the equation: what is discounted has them constant. int s^k dW_s is
    replaced by its mean given dW: the results have mean zero, which is all that they need.
    """
    one = q @ dy
    if expansion is None:
        return one, one
    a, b, n, cubic, bulge, drift = expansion
    trace, lean = expansion.traces(process, t, x)
    w, before, square, rest = n @ dy, n @ y, dy @ dy, cubic - 3 * bulge
    second = (a + bulge * before) * square + (b + rest * before) * w**2 + 2 * bulge * w * (y @ dy)
    two = (second - dt * (trace + lean @ y)) / 2
    three = w * (3 * bulge * square + rest * w**2) / 6 - dt * lean @ dy / 2
    drifted = drift @ dy * dt / 2
    plain = (1 - decay * dt / 2) * one + drifted + (1 - decay * dt * 2 / 3) * two + (1 - decay * dt * 3 / 4) * three
    return plain, one + drifted + two + three


def gradient_after(
    process: AbstractProcess, expansion: Expansion | None, t: Scalar, x: Point, q: Point, decay: Scalar, dy: Point,
    dt: Scalar,
) -> Point:
    """q after the displacement dy from the start of the step, a time dt later."""
    if expansion is None:
        return q
    a, b, n, cubic, bulge, drift = expansion
    w = n @ dy
    twice = 2 * bulge * w * dy + (bulge * (dy @ dy - 3 * w**2) + cubic * w**2) * n          # T[dy, dy]
    bent = (1 - decay * dt * 2 / 3) * (twice - dt * expansion.traces(process, t, x)[1]) / 2
    return (1 - decay * dt) * q + drift * dt + (1 - decay * dt / 2) * (a * dy + b * w * n) + bent


def seen(
    process: AbstractProcess, expansion: Expansion, probe: Point, t: Scalar, h: Scalar, x: Point, dy: Point
) -> tuple[Scalar, Scalar]:
    """By what the integral over a step grows with the second derivatives along n and along the probe: `Visit`'s bend
    and spin."""
    z = process.noise(t, x, expansion.n)
    bend = ((expansion.n @ dy) ** 2 - z @ z * h) / 2
    spin = ((dy @ dy - process.intensity(t, x) * h) / 2 - bend) / max(len(probe) - 1, 1)
    return bend - spin, spin
