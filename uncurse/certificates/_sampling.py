"""Draws paths chunk by chunk, so that memory stays bounded, and hands their columns to a certificate.

With several devices, each runs a whole chunk: the same chunks from the same keys, added up in the same order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from .._devices import gathered, on_each
from ..processes import AbstractProcess
from ..statistics import Moments
from ..surrogates import AbstractSurrogate
from ._base import AbstractCertificate, PerPath, PerPoint
from ._paths import Columns, Model, Noise, Scheme, Trace, draw, simulate
from .step import Stepped, coarsen

FineCoarse = tuple[Columns[Float[Array, "..."]], Columns[Float[Array, "..."]] | None]


class Chunk(eqx.Module):
    """Columns shaped (points, paths); `coarse` is there for stepped processes only."""

    fine: Columns[PerPath]
    coarse: Columns[PerPath] | None


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
        return min(len(self.starts), self.rows)

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
            for (_, first), (fine, coarse) in zip(group, found, strict=True):
                keep = min(self.block, len(self.starts) - first)
                yield first, Chunk(self._shaped(fine, keep), None if coarse is None else self._shaped(coarse, keep))

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
        self,
        surrogate: AbstractSurrogate,
        y0: PerPoint,
        key: Key[Array, ""],
        branch: Int[np.ndarray, " paths"] | None = None,
    ) -> "Visited":
        """One chunk of paths with their history: what methods learn from.

        With `branch`, paths come in pairs of neighbours that are one path before step branch[i] and independent after
        it.
        """
        paths = self.block * self.width
        at = np.resize(np.repeat(np.arange(len(self.starts)), 2), paths)
        starts = jnp.asarray(self.starts[at].astype(np.float32))
        values = jnp.asarray(y0[at].astype(np.float32))
        noise, coarse = self._noise(key, 0, 0)
        if branch is not None:
            noise = _pair(noise, jnp.asarray(branch))
        fine, _, trace = _run(self.model, surrogate, self.scheme, starts, values, noise, coarse)
        return Visited(at, fine, trace)

    def idle(self, count: int) -> float:
        """Chunks that all devices could run in the time of `chunks`, over those that it wants."""
        turns, devices = -(-count // self.width) * -(-len(self.starts) // self.block), jax.device_count()
        return -(-turns // devices) * devices / turns

    def _alone(
        self, surrogate: AbstractSurrogate, y0: PerPoint, key: Key[Array, ""], round_: int, first: int
    ) -> list[FineCoarse]:
        at = self._points(first)
        starts = jnp.asarray(np.repeat(self.starts[at], self.width, axis=0).astype(np.float32))
        values = jnp.asarray(np.repeat(y0[at], self.width).astype(np.float32))
        noise = self._noise(key, round_, first)
        return [_run(self.model, surrogate, self.scheme, starts, values, *noise)[:2]]

    def _together(
        self, surrogate: AbstractSurrogate, y0: PerPoint, key: Key[Array, ""], turns: list[tuple[int, int]],
        devices: int,
    ) -> list[FineCoarse]:
        """One chunk on each device; where there are fewer chunks than devices, the rest repeat them."""
        which = np.resize(np.array(turns, dtype=np.uint32), (devices, 2))
        at = np.stack([self._points(int(first)) for _, first in which])
        points, values = jnp.asarray(self.starts[at].astype(np.float32)), jnp.asarray(y0[at].astype(np.float32))
        paths = self.block * self.width
        noise = _draw_on_each(self.model.process, self.scheme, paths, key, jnp.asarray(which))
        found = _run_on_each(self.model, surrogate, self.scheme, self.width, points, values, noise)
        found = jax.tree.map(np.asarray, found)
        return [jax.tree.map(lambda a, i=i: a[i], found) for i in range(len(turns))]

    def _points(self, first: int) -> Int[np.ndarray, " block"]:
        """The points of the block that begins with `first`; the last block is filled up with its own."""
        return np.resize(np.arange(first, min(first + self.block, len(self.starts))), self.block)

    def _noise(self, key: Key[Array, ""], round_: int, first: int) -> tuple[Noise, Noise | None]:
        chunk = jnp.asarray(np.array([round_, first], dtype=np.uint32))
        return _draw(self.model.process, self.scheme, self.block * self.width, key, chunk)

    def _shaped(self, columns: Columns[Float[Array, " paths"]], keep: int) -> Columns[PerPath]:
        return Columns(*(np.asarray(c).reshape(self.block, self.width)[:keep] for c in columns))


class Visited(eqx.Module):
    """Paths with their history."""

    point: np.ndarray       # which starting point each path belongs to
    columns: Columns[Float[Array, " paths"]]
    trace: Trace


def columns_of(certificate: AbstractCertificate, chunk: Chunk, y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
    if isinstance(certificate, Stepped):
        assert chunk.coarse is not None
        return certificate.pair_columns(chunk.fine, chunk.coarse, y0)
    return certificate.columns(chunk.fine, y0)


def rows_for(dim: int, width: int, budget: int = 2**22) -> int:
    """Paths at once so that an array of (paths, width, dim) numbers stays within `budget` entries."""
    fit = max(budget // max(dim * width, 1), 1)
    return int(np.clip(2 ** int(np.log2(fit)), 16, 4096))


@eqx.filter_jit
def _draw(
    process: AbstractProcess, scheme: Scheme, paths: int, key: Key[Array, ""], chunk: Array
) -> tuple[Noise, Noise | None]:
    key = jax.random.fold_in(jax.random.fold_in(key, chunk[0]), chunk[1])
    noise = draw(key, process, scheme, paths)
    return noise, None if process.exact else coarsen(noise, jax.random.fold_in(key, 1))


@eqx.filter_jit
def _pair(noise: Noise, branch: Int[Array, " paths"]) -> Noise:
    paths = branch.shape[0]
    leader = 2 * (jnp.arange(paths) // 2)

    def shared(a: Array) -> Array:
        together = jnp.arange(a.shape[0])[:, None] < branch
        return jnp.where(together.reshape(together.shape + (1,) * (a.ndim - 2)), a[:, leader], a)

    return jax.tree.map(shared, noise)


@eqx.filter_jit
def _run(
    model: Model,
    surrogate: AbstractSurrogate,
    scheme: Scheme,
    starts: Float[Array, "paths d"],
    y0: Float[Array, " paths"],
    noise: Noise,
    coarser: Noise | None,
) -> tuple[Columns[Float[Array, " paths"]], Columns[Float[Array, " paths"]] | None, Trace]:
    fine, trace = simulate(model, surrogate, scheme, starts, y0, noise)
    if coarser is None:
        return fine, None, trace
    half = replace(scheme, steps=scheme.steps // 2)
    return fine, simulate(model, surrogate, half, starts, y0, coarser)[0], trace


@eqx.filter_jit
def _draw_on_each(
    process: AbstractProcess, scheme: Scheme, paths: int, key: Key[Array, ""], turns: Int[Array, "devices two"]
) -> tuple[Noise, Noise | None]:
    def draw_one(shared: tuple, turn: Array) -> tuple[Noise, Noise | None]:
        return _draw(shared[0], scheme, paths, shared[1], turn)

    return on_each(draw_one, (process, key), turns)


@eqx.filter_jit
def _run_on_each(
    model: Model,
    surrogate: AbstractSurrogate,
    scheme: Scheme,
    width: int,
    points: Float[Array, "devices block d"],
    y0: Float[Array, "devices block"],
    noise: tuple[Noise, Noise | None],
) -> FineCoarse:
    def run_one(shared: tuple, own: tuple) -> FineCoarse:
        (model, surrogate), (points, y0, noise) = shared, own
        starts, values = jnp.repeat(points, width, axis=0), jnp.repeat(y0, width)
        return _run(model, surrogate, scheme, starts, values, *noise)[:2]

    return gathered(on_each(run_one, (model, surrogate), (points, y0, noise)))


@eqx.filter_jit
def terminal_values(
    model: Model, steps: int, starts: Float[Array, "paths d"], key: Key[Array, ""]
) -> Float[Array, " paths"]:
    """g(X_T) with f dropped: the linear problem that the baseline reports."""
    process = model.process
    count = 1 if process.exact else steps
    h = model.horizon / count
    step = jax.vmap(process.step, in_axes=(None, 0, None, 0, None))

    def body(x: Array, k: Array) -> tuple[Array, None]:
        xi = jax.random.normal(jax.random.fold_in(key, k), (x.shape[0], process.normals))
        return step(k * h, x, jnp.asarray(h), xi, jnp.zeros(process.dim))[0], None

    end, _ = jax.lax.scan(body, starts, jnp.arange(count))
    return jax.vmap(model.terminal)(end)
