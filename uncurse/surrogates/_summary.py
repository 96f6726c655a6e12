"""A few scalars that summarise a point at a date: what the continuation value of a stopping problem is built on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..problems import StoppingProblem
from ..processes import AbstractProcess
from ._base import Point

DIRECTIONS = 4          # along which the payoff varies most, in each of two coordinate systems
ALL_RANKS = 8           # coordinates, up to which all order statistics are used
RANKS = 5               # order statistics at an end that matters, in higher dimension
POWERS = 3              # soft extremes, each twice as sharp as the one before

Index = Int[Array, ""]
Scalar = Float[Array, ""]


class Summary(eqx.Module):
    """Scaled coordinates y and pooled scalars of a point at date k.

    y is the chart displacement from a fixed point, scaled by what paths do up to that date. The scalars are the mean of
    y and |y|^2, the coordinates along which the payoff varies most (active subspaces, Constantine 2015), and, where
    nothing tells coordinates apart, order statistics and soft extremes of y.
    """

    process: AbstractProcess
    origin: Float[Array, " d"]
    centre: Float[Array, "dates d"]
    scale: Float[Array, "dates d"]
    curved: Float[Array, "a d"]         # directions in the chart
    straight: Float[Array, "b d"]       # directions in x
    mean: Float[Array, "dates r"]       # of the pooled scalars, over paths
    spread: Float[Array, "dates r"]
    exchangeable: bool = eqx.field(static=True)
    largest: int = eqx.field(static=True)
    smallest: int = eqx.field(static=True)

    def coordinates(self, k: Index, x: Point) -> Point:
        """y."""
        return (self.process.chart(self.origin, x) - self.centre[k]) / self.scale[k]

    def pooled(self, k: Index, x: Point) -> tuple[Float[Array, " r"], Point]:
        """The scalars, each with mean 0 and variance 1 over paths at date k, and y."""
        y = self.coordinates(k, x)
        return (self.raw(y, x) - self.mean[k]) / self.spread[k], y

    def raw(self, y: Point, x: Point) -> Float[Array, " r"]:
        """The scalars before they are scaled."""
        parts = [jnp.stack([jnp.mean(y), jnp.mean(y**2)]), self.curved @ y, self.straight @ x]
        if self.exchangeable:
            parts += [ranked(y, self.largest), -ranked(-y, self.smallest)]
            for sign in (1.0,) * bool(self.largest) + (-1.0,) * bool(self.smallest):
                power = jnp.exp(jnp.clip(sign * y, -10.0, 10.0))
                for _ in range(POWERS):
                    parts.append(jnp.log(jnp.mean(power))[None])
                    power = power**2
        return jnp.concatenate(parts)

    @staticmethod
    def of(problem: StoppingProblem, times: Float[np.ndarray, " dates"], sample: Float[np.ndarray, "dates m d"],
           start: Float[np.ndarray, " d"]) -> "Summary":
        """Scaled by points that paths visited at each date."""
        process = problem.process
        origin = jnp.asarray(start, dtype=np.float32)
        charted = np.asarray(_charted(process, origin, jnp.asarray(sample)), dtype=np.float64)
        same = exchangeable(problem, sample[-1])
        centre, scale = charted.mean(axis=1), charted.std(axis=1)
        if same:
            centre = np.broadcast_to(centre.mean(axis=1, keepdims=True), centre.shape)
            scale = np.broadcast_to(charted.std(axis=(1, 2))[:, None], scale.shape)
        scale = np.where(scale > 0, scale, 1.0)
        gradients = np.asarray(_gradients(problem, float(times[-1]), jnp.asarray(sample[-1])), dtype=np.float64)
        gradients = np.where(np.isfinite(gradients), gradients, 0.0)
        pulled = gradients * 1.0 if process.flat else gradients * np.asarray(sample[-1])
        largest, smallest = _ends(pulled, np.asarray(sample[-1])) if same else (0, 0)
        curved = _directions(pulled * scale[-1])
        straight = np.zeros((0, problem.dim)) if process.flat else _directions(gradients * sample[-1].std(axis=0))
        centre, scale, curved, straight = (
            jnp.asarray(a, dtype=np.float32) for a in (centre, scale, curved, straight)
        )
        flat = jnp.zeros((len(times), _width(len(curved), len(straight), largest, smallest)))
        draft = Summary(
            process, origin, centre, scale, curved, straight, flat, flat + 1, same, largest, smallest
        )
        mean, spread = (np.asarray(a, dtype=np.float64) for a in _standard(draft, jnp.asarray(sample)))
        spread = np.where(spread > 1e-6 * (1 + np.abs(mean)), spread, 1.0)
        scaled = jnp.asarray(mean, dtype=np.float32), jnp.asarray(spread, dtype=np.float32)
        return eqx.tree_at(lambda s: (s.mean, s.spread), draft, scaled)

    @property
    def width(self) -> int:
        """Number of pooled scalars."""
        return self.mean.shape[1]

    @staticmethod
    def skeleton(problem: StoppingProblem, dates: int, recipe: dict[str, Any]) -> "Summary":
        """The right shapes, for saved arrays to be read into."""
        d, numbers = problem.dim, [int(recipe[k]) for k in ("curved", "straight", "largest", "smallest")]
        curved, straight, largest, smallest = numbers
        point, points, pooled = (jnp.zeros(s, dtype=np.float32) for s in ((d,), (dates, d), (dates, _width(*numbers))))
        directions = jnp.zeros((curved, d), dtype=np.float32), jnp.zeros((straight, d), dtype=np.float32)
        return Summary(
            problem.process, point, points, points, *directions, pooled, pooled, bool(recipe["exchangeable"]),
            largest, smallest,
        )


def _width(curved: int, straight: int, largest: int, smallest: int) -> int:
    return 2 + curved + straight + largest + smallest + POWERS * (bool(largest) + bool(smallest))


def ranked(y: Point, count: int) -> Float[Array, " count"]:
    """The largest entries, in descending order, by insertion: a sort of short vectors is slow on a CPU."""
    if count == 0:
        return y[:0]

    def insert(top: Array, v: Array) -> tuple[Array, None]:
        above = jnp.concatenate([jnp.full(1, jnp.inf, dtype=y.dtype), top[:-1]])
        return jnp.maximum(top, jnp.minimum(above, v)), None

    top = jnp.full(count, -jnp.inf, dtype=y.dtype)
    if y.shape[0] <= ALL_RANKS:
        for v in y:
            top, _ = insert(top, v)
        return top
    return jax.lax.scan(insert, top, y)[0]


def exchangeable(problem: StoppingProblem, sample: Float[np.ndarray, "m d"]) -> bool:
    """Whether payoff and process, looked at in a few points, stay the same when coordinates are exchanged."""
    d = problem.dim
    if d == 1:
        return False
    order = np.random.default_rng(0).permutation(d)
    x, t = jnp.asarray(sample[:64], dtype=np.float32), jnp.asarray(np.float32(problem.horizon / 2))
    level = jnp.full(d, float(np.median(sample)), dtype=np.float32)
    found = [np.asarray(a) for a in _look(problem, t, x, x[:, order], level)]
    payoff, shuffled, drift, shuffled_drift, loads = found
    near = 1e-4 * float(np.abs(payoff).max() + 1e-30), 1e-4 * float(np.abs(drift).max() + 1e-30)
    same = np.allclose(payoff, shuffled, atol=near[0])
    if not (same and np.allclose(drift[:, order], shuffled_drift, atol=near[1])):
        return False
    square = loads.astype(np.float64) @ loads.astype(np.float64).T
    alike = np.full((d, d), square[0, 1])
    np.fill_diagonal(alike, square[0, 0])
    return bool(np.allclose(square, alike, atol=1e-4 * square[0, 0]))


@eqx.filter_jit
def _look(problem: StoppingProblem, t: Array, x: Array, shuffled: Array, level: Array) -> tuple[Array, ...]:
    payoff, process = jax.vmap(problem.payoff, (None, 0)), problem.process
    drift = jax.vmap(process.drift, (None, 0))
    loads = jax.vmap(lambda q: process.noise(t, level, q))(jnp.eye(level.shape[0]))
    return payoff(t, x), payoff(t, shuffled), drift(t, x), drift(t, shuffled), loads


@eqx.filter_jit
def _charted(process: AbstractProcess, origin: Array, sample: Array) -> Array:
    return jax.vmap(jax.vmap(lambda x: process.chart(origin, x)))(sample)


@eqx.filter_jit
def _gradients(problem: StoppingProblem, t: float, x: Array) -> Array:
    return jax.vmap(jax.grad(lambda x: problem.payoff(jnp.asarray(t, dtype=x.dtype), x)))(x)


@eqx.filter_jit
def _standard(summary: Summary, sample: Array) -> tuple[Array, Array]:
    def one(k: Array, points: Array) -> tuple[Array, Array]:
        raw = jax.vmap(lambda x: summary.raw(summary.coordinates(k, x), x))(points)
        return jnp.mean(raw, axis=0), jnp.std(raw, axis=0)

    return jax.lax.map(lambda inputs: one(*inputs), (jnp.arange(len(sample)), sample))


def _directions(gradients: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "k d"]:
    """Principal directions of the gradients, those that matter."""
    _, sizes, rows = np.linalg.svd(gradients[:1024], full_matrices=False)
    matter = sizes**2 > 1e-3 * max(float(np.sum(sizes**2)), 1e-300)
    return rows[: min(int(matter.sum()), DIRECTIONS)]


def _ends(pulled: Float[np.ndarray, "m d"], sample: Float[np.ndarray, "m d"]) -> tuple[int, int]:
    """How many of the largest and of the smallest coordinates to look at: where the payoff's gradient is."""
    d = sample.shape[1]
    if d <= ALL_RANKS:
        return d, 0
    energy = np.take_along_axis(pulled**2, np.argsort(sample, axis=1), axis=1).sum(axis=0)
    share = energy / max(float(energy.sum()), 1e-300)
    uneven = (1 + RANKS / d) / 2        # halfway from a share like any other's to all of it
    top, bottom = share[-RANKS:].sum(), share[:RANKS].sum()
    if top + bottom <= uneven:
        return 0, 0
    return (RANKS if top > 0.1 else 0), (RANKS if bottom > 0.1 else 0)
