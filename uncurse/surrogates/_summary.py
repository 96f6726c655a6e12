"""A few scalars that summarise a point at a date: what the continuation value of a stopping problem is built on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..problems import StoppingProblem
from ..processes import AbstractProcess
from ._base import Point, Scalar
from ._nodes import Index, Nodes
from ._smoothed import frozen_noise

DIRECTIONS = 4          # along which the payoff varies most, in each of two coordinate systems
ALL_RANKS = 8           # coordinates, up to which all order statistics are used
RANKS = 5               # order statistics at an end that matters, in higher dimension
POWERS = 3              # soft extremes, each twice as sharp as the one before
PAIRS = 8               # of frozen normals


class Summary(eqx.Module):
    """Scaled coordinates y and pooled scalars of a point at date k.

    y is the chart displacement from a fixed point, scaled by what paths do up to that date. The scalars are the mean of
    y and |y|^2, the coordinates along which the payoff varies most (active subspaces, Constantine 2015), and, where the
    payoff does not tell coordinates apart, order statistics and soft extremes of the displacement on one scale for all.
    Where the process does tell them apart, also what the payoff will be at the next date and at the last: its mean over
    a few frozen normals, as in `Smoothed`.
    """

    nodes: Nodes
    process: AbstractProcess
    origin: Float[Array, " d"]
    centre: Float[Array, "dates d"]
    scale: Float[Array, "dates d"]
    level: Float[Array, " dates"]       # one scale for all coordinates
    width: Float[Array, " dates"]
    curved: Float[Array, "a d"]         # directions in the chart
    straight: Float[Array, "b d"]       # directions in x
    noise: Float[Array, "pairs normals"]
    mean: Float[Array, "dates r"]       # of the pooled scalars, over paths
    spread: Float[Array, "dates r"]
    exchangeable: bool = eqx.field(static=True)
    largest: int = eqx.field(static=True)
    smallest: int = eqx.field(static=True)

    def pooled(self, k: Index, x: Point) -> tuple[Float[Array, " r"], Point]:
        """The scalars, each with mean 0 and variance 1 over paths at date k, and y."""
        raw, y = self.raw(k, x)
        return (raw - self.mean[k]) / self.spread[k], y

    def raw(self, k: Index, x: Point) -> tuple[Float[Array, " r"], Point]:
        """The scalars before they are scaled, and y."""
        moved = self.process.chart(self.origin, x)
        y = (moved - self.centre[k]) / self.scale[k]
        parts = [jnp.stack([jnp.mean(y), jnp.mean(y**2)]), self.curved @ y, self.straight @ x]
        common = (moved - self.level[k]) / self.width[k]
        parts += [ranked(common, self.largest), -ranked(-common, self.smallest)]
        for sign in (1.0,) * bool(self.largest) + (-1.0,) * bool(self.smallest):
            power = jnp.exp(jnp.clip(sign * common, -10.0, 10.0))
            for _ in range(POWERS):
                parts.append(jnp.log(jnp.mean(power))[None])
                power = power**2
        if self.noise.shape[0]:
            last = self.nodes.last
            parts += [self.later(k, end, x)[None] for end in (jnp.minimum(k + 1, last), jnp.asarray(last))]
        return jnp.concatenate(parts), y

    def later(self, k: Index, end: Index, x: Point) -> Scalar:
        """The mean reward at a later date over frozen noise, in one step of the process."""
        times, rest = self.nodes.times, jnp.zeros_like(x)
        dt = jnp.maximum(times[end] - times[k], 1e-7 * times[-1])

        def one(xi: Array) -> Scalar:
            return self.nodes.reward(end, self.process.step(times[k], x, dt, xi, rest)[0])

        return jnp.mean(jax.vmap(one)(jnp.concatenate([self.noise, -self.noise])))

    @staticmethod
    def of(problem: StoppingProblem, nodes: Nodes, sample: Float[np.ndarray, "dates m d"],
           start: Float[np.ndarray, " d"], rng: np.random.Generator) -> "Summary":
        """Scaled by points that paths visited at each date."""
        process, last = problem.process, sample[-1]
        symmetric, same = symmetry(problem, last)
        origin = single(np.full_like(start, start.mean()) if symmetric else start)
        charted = np.asarray(_charted(process, origin, jnp.asarray(sample)), dtype=np.float64)
        centre, scale = charted.mean(axis=1), charted.std(axis=1)
        level, width = centre.mean(axis=1), charted.std(axis=(1, 2))
        if same:
            centre, scale = (np.broadcast_to(a[:, None], centre.shape) for a in (level, width))
        gradients = np.asarray(_gradients(problem, float(nodes.times[-1]), jnp.asarray(last)), dtype=np.float64)
        gradients = np.where(np.isfinite(gradients), gradients, 0.0)
        pulled = gradients if process.flat else gradients * last
        largest, smallest = _ends(pulled, last) if symmetric else (0, 0)
        curved = _directions(pulled * scale[-1])
        straight = np.zeros((0, problem.dim)) if process.flat else _directions(gradients * last.std(axis=0))
        pairs = 0 if same or problem.dim == 1 else PAIRS
        noise = frozen_noise(rng, pairs, process.normals) if pairs else np.zeros((0, process.normals))
        sizes = tuple(np.where(a > 0, a, 1.0) for a in (scale, width))
        flat = np.zeros((len(sample), _count(len(curved), len(straight), len(noise), largest, smallest)))
        arrays = (
            single(a)
            for a in (centre, sizes[0], level, sizes[1], curved, straight, noise, flat, flat + 1)
        )
        draft = Summary(nodes, process, origin, *arrays, exchangeable=same, largest=largest, smallest=smallest)
        mean, spread = (np.asarray(a, dtype=np.float64) for a in _standard(draft, jnp.asarray(sample)))
        spread = np.where(spread > 1e-6 * (1 + np.abs(mean)), spread, 1.0)
        scaled = single(mean), single(spread)
        return eqx.tree_at(lambda s: (s.mean, s.spread), draft, scaled)

    @property
    def count(self) -> int:
        """Number r of pooled scalars."""
        return self.mean.shape[1]

    def recipe(self) -> dict[str, Any]:
        """What `skeleton` needs besides the problem."""
        return {
            "exchangeable": self.exchangeable, "curved": self.curved.shape[0], "straight": self.straight.shape[0],
            "pairs": self.noise.shape[0], "largest": self.largest, "smallest": self.smallest,
        }

    @staticmethod
    def skeleton(problem: StoppingProblem, nodes: Nodes, recipe: dict[str, Any]) -> "Summary":
        """The right shapes, for saved arrays to be read into."""
        d, k = problem.dim, nodes.last + 1
        numbers = [int(recipe[name]) for name in ("curved", "straight", "pairs", "largest", "smallest")]
        curved, straight, pairs, largest, smallest = numbers
        r, normals = _count(*numbers), problem.process.normals
        shapes = (d,), (k, d), (k, d), (k,), (k,), (curved, d), (straight, d), (pairs, normals), (k, r), (k, r)
        arrays = (jnp.zeros(shape, dtype=np.float32) for shape in shapes)
        return Summary(
            nodes, problem.process, *arrays, exchangeable=bool(recipe["exchangeable"]), largest=largest,
            smallest=smallest,
        )


def _count(curved: int, straight: int, pairs: int, largest: int, smallest: int) -> int:
    ends = largest + smallest + POWERS * (bool(largest) + bool(smallest))
    return 2 + curved + straight + 2 * bool(pairs) + ends


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


def symmetry(problem: StoppingProblem, sample: Float[np.ndarray, "m d"]) -> tuple[bool, bool]:
    """Whether the payoff, and whether payoff and process, looked at in a few points, stay the same when coordinates are
    exchanged."""
    d = problem.dim
    if d == 1:
        return False, False
    order = np.random.default_rng(0).permutation(d)
    x, t = single(sample[:64]), jnp.asarray(np.float32(problem.horizon / 2))
    level = jnp.full(d, float(np.median(sample)), dtype=np.float32)
    found = [np.asarray(a) for a in _look(problem, t, x, x[:, order], level)]
    payoff, shuffled, drift, shuffled_drift, loads = found
    near = 1e-4 * float(np.abs(payoff).max() + 1e-30), 1e-4 * float(np.abs(drift).max() + 1e-30)
    if not np.allclose(payoff, shuffled, atol=near[0]):
        return False, False
    square = loads.astype(np.float64) @ loads.astype(np.float64).T
    alike = np.full((d, d), square[0, 1])
    np.fill_diagonal(alike, square[0, 0])
    same = np.allclose(drift[:, order], shuffled_drift, atol=near[1])
    return True, bool(same and np.allclose(square, alike, atol=1e-4 * square[0, 0]))


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
        raw = jax.vmap(lambda x: summary.raw(k, x)[0])(points)
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
