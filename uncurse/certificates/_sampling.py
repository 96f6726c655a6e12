"""Draws paths chunk by chunk, so that memory stays bounded, and hands their columns to a certificate.

With several devices, each runs a whole chunk: the same chunks from the same keys, added up in the same order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from .._devices import gathered, on_each, single, split
from ..processes import AbstractProcess
from ..statistics import Moments, draw_bits, normal
from ..surrogates import AbstractSurrogate
from ._base import AbstractCertificate, AbstractPairCertificate, PerPath, PerPoint
from ._model import Model
from ._paths import Columns, Trace, read_noise, simulate, twin, words
from ._scheme import Scheme
from .step import coarsen

TOGETHER = 32       # points simulated at once, at most
VISITED = 2048      # paths with their history in one sample, or some more
CACHE = 2**21       # 8 MB: more falls out of the cache, and out of what the allocator keeps: pages are faulted in anew
MOST_ROWS = 4096    # paths at once
ACCELERATED = 32    # times as much on an accelerator: there, launching kernels takes longer than 1000 paths
HISTORY = 2**28     # numbers that such a sample may hold, or one chunk's if that is more

Coupled = tuple[Columns[Float[Array, "..."]], Columns[Float[Array, "..."]] | None]


class Chunk(eqx.Module):
    """Columns shaped (points, paths), and those of coupled paths where a theorem wants them.

    coupled: on half as many steps where the process is stepped; twins, with fresh noise along the directions in which
    f_z varies, where those are known.
    """

    fine: Columns[PerPath]
    coupled: Columns[PerPath] | None


@dataclass(frozen=True)
class Sampler:
    """Paths of one model and scheme from fixed starting points.

    rows: paths simulated at once, over all points; it bounds memory, and is one compiled shape.
    """

    model: Model
    scheme: Scheme
    starts: Float[np.ndarray, "n d"]
    rows: int

    @property
    def block(self) -> int:
        """Points simulated at once."""
        return min(len(self.starts), self.rows, TOGETHER)

    @property
    def width(self) -> int:
        """Paths a point in one chunk."""
        return self.rows // self.block

    def chunks(
        self, surrogate: AbstractSurrogate, y0: PerPoint, key: Key[Array, ""], count: int
    ) -> Iterator[tuple[int, Chunk]]:
        """Chunks that together hold at least `count` paths for each point, with the first point of each chunk.

        Every point has had the same number of paths when the iteration returns to point 0.
        """
        turns = ((r, first) for r in range(-(-count // self.width)) for first in range(0, len(self.starts), self.block))
        devices = jax.device_count()
        while group := list(islice(turns, devices)):
            found = self._alone(surrogate, y0, key, *group[0]) if devices == 1 else (
                self._together(surrogate, y0, key, group, devices)
            )
            for (_, first), (fine, coupled) in zip(group, found, strict=True):
                keep = min(self.block, len(self.starts) - first)
                yield first, Chunk(self._shaped(fine, keep), None if coupled is None else self._shaped(coupled, keep))

    def moments(
        self,
        surrogate: AbstractSurrogate,
        y0: PerPoint,
        key: Key[Array, ""],
        count: int,
        certificate: AbstractCertificate,
    ) -> Iterator[Moments]:
        """Accumulate the certificate's columns; yields after each full round over the points."""
        total: Moments | None = None
        parts: list[Moments] = []
        for first, chunk in self.chunks(surrogate, y0, key, count):
            parts.append(Moments.of(columns_of(certificate, chunk, y0[first : first + self.block])))
            if first + self.block >= len(self.starts):
                whole = Moments.concatenate(parts)
                total = whole if total is None else total.merge(whole)
                parts = []
                yield total

    def pilot(self, surrogate: AbstractSurrogate, y0: PerPoint, key: Key[Array, ""], count: int) -> Chunk:
        """All the columns of a small sample."""
        rounds: dict[int, list[Chunk]] = {}
        for first, chunk in self.chunks(surrogate, y0, key, count):
            rounds.setdefault(first, []).append(chunk)
        along_paths = [jax.tree.map(lambda *a: np.concatenate(a, axis=1), *chunks) for chunks in rounds.values()]
        return jax.tree.map(lambda *a: np.concatenate(a, axis=0), *along_paths)

    def visited(
        self, surrogate: AbstractSurrogate, y0: PerPoint, key: Key[Array, ""], count: int = VISITED,
        branches: np.random.Generator | None = None,
    ) -> "Visited":
        """At least `count` paths with their history, fewer where memory would not hold them: what methods learn from.

        With `branches`, paths come in pairs of neighbours that are one path before a step chosen at random, and
        independent after it.
        """
        paths, sets = self.block * self.width, []
        count = min(count, HISTORY // (4 * self.scheme.steps * self.model.process.dim))
        pairs = np.repeat(np.arange(len(self.starts)), 2)
        for round_ in range(max(-(-count // paths), 1)):
            at = np.resize(np.roll(pairs, -round_ * (paths // 2 * 2)), paths)   # go on where the last one ended
            bits = self._bits(key, round_, 0)
            branch = np.zeros(paths, dtype=np.int64)
            if branches is not None:
                drawn = branches.choice(self.scheme.steps, paths // 2 + 1, p=self.scheme.shares)    # uniform in time
                branch = np.repeat(drawn, 2)[:paths]
                bits = _pair(bits, jnp.asarray(branch))
            columns, _, trace = self._run(surrogate, self.starts, y0, at, bits, True)
            assert trace is not None
            sets.append(Visited(at, branch, columns, trace))
        return Visited.concatenate(sets)

    def idle(self, count: int) -> float:
        """Chunks that all devices could run in the time of `chunks`, over those that it wants."""
        turns, devices = -(-count // self.width) * -(-len(self.starts) // self.block), jax.device_count()
        return -(-turns // devices) * devices / turns

    def _alone(
        self, surrogate: AbstractSurrogate, y0: PerPoint, key: Key[Array, ""], round_: int, first: int
    ) -> list[Coupled]:
        points = self._points(first)
        at, bits = np.repeat(np.arange(self.block), self.width), self._bits(key, round_, first)
        found = self._run(surrogate, self.starts[points], y0[points], at, bits, False)[:2]
        return [jax.device_get(found)]      # all the columns at once

    def _run(
        self, surrogate: AbstractSurrogate, points: Float[np.ndarray, "k d"], y0: Float[np.ndarray, " k"],
        at: Int[np.ndarray, " paths"], bits: UInt32[Array, "steps paths words"], keep: bool,
    ) -> tuple[Columns[Float[Array, " paths"]], Columns[Float[Array, " paths"]] | None, Trace | None]:
        where = jnp.asarray(at.astype(np.int32))
        return _run(self.model, surrogate, self.scheme, single(points), single(y0), where, bits, keep)

    def _together(
        self, surrogate: AbstractSurrogate, y0: PerPoint, key: Key[Array, ""], turns: list[tuple[int, int]],
        devices: int,
    ) -> list[Coupled]:
        """One chunk on each device; where there are fewer chunks than devices, the rest repeat them."""
        which = [turns[i % len(turns)] for i in range(devices)]
        at = np.stack([self._points(first) for _, first in which])
        points, values = single(self.starts[at]), single(y0[at])
        bits = split(lambda i: self._bits(key, *which[i]), self._shape)
        found = _run_on_each(self.model, surrogate, self.scheme, self.width, points, values, bits)
        found = jax.device_get(found)
        return [jax.tree.map(lambda a, i=i: a[i], found) for i in range(len(turns))]

    def _points(self, first: int) -> Int[np.ndarray, " block"]:
        """The points of the block that begins with `first`; the last block is filled up with its own."""
        return np.resize(np.arange(first, min(first + self.block, len(self.starts))), self.block)

    @property
    def _shape(self) -> tuple[int, int, int]:
        """Of the random words of one chunk."""
        directions = 0 if self.model.directions is None else len(self.model.directions)
        return self.scheme.steps, self.block * self.width, words(self.model.process, self.scheme, directions)

    def _bits(self, key: Key[Array, ""], round_: int, first: int) -> UInt32[Array, "steps paths words"]:
        return draw_bits(key, (round_, first), self._shape)

    def _shaped(self, columns: Columns[Float[Array, " paths"]], keep: int) -> Columns[PerPath]:
        return Columns(*(np.asarray(c).reshape(self.block, self.width)[:keep] for c in columns))


class Visited(eqx.Module):
    """Paths with their history."""

    point: np.ndarray       # which starting point each path belongs to
    branch: np.ndarray      # the step before which it was one with its neighbour
    columns: Columns[Float[Array, " paths"]]
    trace: Trace

    @staticmethod
    def concatenate(parts: "list[Visited]") -> "Visited":
        """Paths of several samples as one."""
        if len(parts) == 1:
            return parts[0]
        point, branch = np.concatenate([p.point for p in parts]), np.concatenate([p.branch for p in parts])
        columns = jax.tree.map(lambda *a: jnp.concatenate(a), *(p.columns for p in parts))
        trace = jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), *(p.trace for p in parts))
        return Visited(point, branch, columns, trace)


def columns_of(certificate: AbstractCertificate, chunk: Chunk, y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
    if isinstance(certificate, AbstractPairCertificate):
        assert chunk.coupled is not None
        return certificate.pair_columns(chunk.fine, chunk.coupled, y0)
    return certificate.columns(chunk.fine, y0)


def rows_for(dim: int, width: int, budget: int = CACHE, most: int = MOST_ROWS) -> int:
    """Paths at once, at most so many, so that an array of (paths, width, dim) numbers stays within `budget` entries;
    more on an accelerator."""
    more = 1 if jax.default_backend() == "cpu" else ACCELERATED
    fit = max(more * budget // max(dim * width, 1), 1)
    return int(np.clip(2 ** int(np.log2(fit)), 16, more * most))


@eqx.filter_jit
def _pair(bits: UInt32[Array, "steps paths words"], branch: Int[Array, " paths"]) -> UInt32[Array, "steps paths words"]:
    steps, paths, _ = bits.shape
    together = jnp.arange(steps)[:, None] < branch
    return jnp.where(together[..., None], bits[:, 2 * (jnp.arange(paths) // 2)], bits)


@eqx.filter_jit
def _run(
    model: Model,
    surrogate: AbstractSurrogate,
    scheme: Scheme,
    points: Float[Array, "points d"],
    y0: Float[Array, " points"],
    at: Int[Array, " paths"],
    bits: UInt32[Array, "steps paths words"],
    keep: bool,
) -> tuple[Columns[Float[Array, " paths"]], Columns[Float[Array, " paths"]] | None, Trace | None]:
    """Columns of the paths, which start at points[at]; those of coupled paths, if there are any, where no history is
    kept."""
    starts, y0 = points[at], y0[at]
    read = partial(read_noise, model.process, scheme)
    fine, trace = simulate(model, surrogate, scheme, starts, y0, bits, read, keep)
    if keep or (model.process.exact and model.directions is None):
        return fine, None, trace
    if model.directions is not None:
        reread = partial(twin, model.process, scheme, directions=model.directions)
        return fine, simulate(model, surrogate, scheme, starts, y0, bits, reread)[0], trace
    half = replace(scheme, steps=scheme.steps // 2)
    pairs = bits.reshape(half.steps, 2, *bits.shape[1:])
    return fine, simulate(model, surrogate, half, starts, y0, pairs, lambda b: coarsen(read(b)))[0], trace


@eqx.filter_jit
def _run_on_each(
    model: Model,
    surrogate: AbstractSurrogate,
    scheme: Scheme,
    width: int,
    points: Float[Array, "devices block d"],
    y0: Float[Array, "devices block"],
    bits: UInt32[Array, "devices steps paths words"],
) -> Coupled:
    def run_one(shared: tuple, own: tuple) -> Coupled:
        (model, surrogate), (points, y0, bits) = shared, own
        at = jnp.repeat(jnp.arange(len(points)), width)
        return _run(model, surrogate, scheme, points, y0, at, bits, False)[:2]

    return gathered(on_each(run_one, (model, surrogate), (points, y0, bits)))


@eqx.filter_jit
def _terminal_points(
    process: AbstractProcess, horizon: float, points: Float[Array, "points d"],
    bits: UInt32[Array, "steps paths normals"],
) -> tuple[Float[Array, "paths d"], Float[Array, "paths d"]]:
    steps, paths = bits.shape[:2]
    h, starts = horizon / steps, jnp.repeat(points, paths // len(points), axis=0)
    step = jax.vmap(process.step, in_axes=(None, 0, None, 0, None))

    def body(x: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
        k, bits = inputs
        return step(k * h, x, jnp.asarray(h), normal(bits), jnp.zeros(process.dim))[0], None

    end, _ = jax.lax.scan(body, starts, (jnp.arange(steps), bits))
    return end, jax.vmap(process.chart)(starts, end)


def terminal_points(
    process: AbstractProcess, horizon: float, steps: int, points: Float[np.ndarray, "n d"], width: int,
    key: Key[Array, ""], path: tuple[int, ...],
) -> tuple[Float[Array, "paths d"], Float[Array, "paths d"]]:
    """X_T on `width` paths from each point, in a row, and how far it is from the start in the chart; in one step where
    the process is sampled exactly."""
    shape = (1 if process.exact else steps, len(points) * width, process.normals)
    return _terminal_points(process, horizon, single(points), draw_bits(key, path, shape))


@eqx.filter_jit
def _terminal(model: Model, ends: Float[Array, "paths d"]) -> Float[Array, " paths"]:
    return jax.vmap(model.terminal)(ends)


def terminal_values(
    model: Model, steps: int, points: Float[np.ndarray, "n d"], width: int, key: Key[Array, ""],
    path: tuple[int, ...],
) -> Float[Array, " paths"]:
    """g(X_T) with f dropped, on `width` paths from each point: the linear problem that the baseline reports."""
    return _terminal(model, terminal_points(model.process, model.horizon, steps, points, width, key, path)[0])
