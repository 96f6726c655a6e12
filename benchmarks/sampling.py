"""Antithetic paths and randomised quasi-Monte Carlo in place of independent paths: what either would save.

    python -m benchmarks.sampling [--cases hjb,...] [--surrogates none,first,trained] [--replicates 16]

S is measured along the very paths that a certificate averages, for three frozen surrogates: none (uhat = 0, plain Monte
Carlo), the first one of the tolerance loop, and what it trains in some seconds for a tolerance out of reach. Random
words go in where the sampler's own would. Written to benchmarks/results/sampling.md, row by row.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32
from scipy.stats import chi2, qmc, t

from uncurse import zoo
from uncurse._loop import Run
from uncurse._request import Request
from uncurse.certificates import AbstractCertificate, Chunk, Sampler, Scheme, columns_of
from uncurse.certificates._sampling import _run
from uncurse.methods import AbstractMethod, plan
from uncurse.problems import ParabolicPDE
from uncurse.report import Progress
from uncurse.statistics import Moments, Purpose, draw_bits, half_width_factor, normal, stream
from uncurse.surrogates import AbstractSurrogate

from . import _runs

TARGET = _runs.RESULTS / "sampling.md"
FEW, MANY = 2048, 16384     # points a replicate; of a net of MANY, each FEW in a row are one
PAIRS = 16384
CONFIDENCE, RTOL = 0.99, 1e-4
LIMITS = {"first": (1e-2, 5.0), "trained": (1e-5, 40.0)}     # rtol, and seconds with the certificate

Words = UInt32[np.ndarray, "points words"]

INTRO = """    {command}

{machine}. What S, whose mean is the answer, has to gain from other random numbers, with the surrogate frozen.
`none` is uhat = 0, so plain Monte Carlo; `smoothing` is the tolerance loop's first surrogate; any other is what the
loop has {seconds:.0f} s later. Gains are factors of time, or of paths, for the same half-width: above 1 it pays.

`paths`: independent ones for a sampling error of {rtol:g} u; no sample has fewer than 2048. `antithetic`: each path
comes with the one whose random words are complemented (normals change sign, the random time of a step is mirrored in
it), and the pair is the sampling unit. `rho`: correlation of S over {pairs} pairs; `normals only`: with random times
left as they are; `other columns`: the largest correlation in what else the certificate averages. `variance` =
1 / (1 + rho). `sampling`: square of the ratio of the certificate's own sampling parts, at as many paths. `net`: that
times what half of the random words cost less.

| case | surrogate | paths | certificate | rho | normals only | other columns | variance | sampling | net |
|---|---|---|---|---|---|---|---|---|---|
{antithetic}

Randomised quasi-Monte Carlo with {replicates} independent replicates. `sobol`: Sobol' points, scrambled by linear
matrices and a digital shift (SciPy); random times first, then normals step by step. `in time`: the same, but they are
the principal components of Brownian motion in time. `d`: coordinates of a path. `words`: share of a path's seconds
that random words take now. `variance`: of a mean of {few} / {many} independent paths over that of a replicate's mean;
the second is known to within {least:.2f} to {most:.2f} times itself (95 %). `cost`: seconds a path now over those with
such points; putting them in order, and turning them, is not counted. `net`: variance times cost, times {price:.2f} for
the t quantile of {replicates} replicates ({quantile:.2f} for {z:.2f} at 99 %).

| case | surrogate | d | words | sobol: variance | cost | net | in time: variance | net |
|---|---|---|---|---|---|---|---|---|
{nets}
"""


@dataclass(frozen=True)
class Frozen:
    """What the tolerance loop would certify, and how."""

    sampler: Sampler
    surrogate: AbstractSurrogate
    certificate: AbstractCertificate
    y0: Float[np.ndarray, " one"]

    def run(self, words: UInt32[Array, "steps rows words"]) -> Chunk:
        """Columns of the paths that some random words make."""
        s = self.sampler
        points, y0 = jnp.asarray(s.starts, dtype=jnp.float32), jnp.asarray(self.y0, dtype=jnp.float32)
        at = jnp.zeros(s.rows, dtype=jnp.int32)
        found = _run(s.model, self.surrogate, s.scheme, points, y0, at, jnp.asarray(words), False)[:2]
        return Chunk(*jax.tree.map(lambda a: np.asarray(a, dtype=np.float64)[None], found))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Steps, paths at once, random words a step."""
        return self.sampler._shape

    @property
    def normals(self) -> int:
        """Words a step of which normals are made that drive the path."""
        return self.sampler.model.process.normals * (2 if self.sampler.scheme.random_time else 1)


class Nothing(AbstractSurrogate):
    """uhat = 0."""

    dim = None

    def value(self, t: Float[Array, ""], x: Float[Array, " d"]) -> Float[Array, ""]:
        return 0 * x[0]

    def recipe(self) -> dict[str, Any]:
        return {}


def surrogates(name: str, wanted: set[str]) -> Iterator[tuple[str, Frozen]]:
    """Those wanted of `none`, `first` and `trained`, the last where the loop trains at all."""
    first, how = _proposed(name, plan(None)[:1], *LIMITS["first"])
    if "none" in wanted:
        yield "none", replace(first, surrogate=Nothing())
    if "first" in wanted:
        yield how, first
    if "trained" in wanted:
        trained, then = _proposed(name, plan(None), *LIMITS["trained"])
        if then != how:
            yield then, trained


def _proposed(
    name: str, methods: list[AbstractMethod], rtol: float, limit: float, **parameters: Any
) -> tuple[Frozen, str]:
    case = zoo.get(name, **parameters)
    assert isinstance(case.problem, ParabolicPDE)
    request = Request(np.atleast_2d(case.at), True, (rtol, 0.0), CONFIDENCE, 0, limit, None)
    run = Run(case.problem, request, methods)
    with Progress(False, "") as request.progress:
        run.go()
    best = run.best
    assert best is not None
    sampler = replace(best.setting.sampler, rows=min(best.setting.rows, FEW))
    return Frozen(sampler, best.surrogate, best.offer.certificate, best.y0), best.method.name


# --- Sobol' points, as random words


def sobol(dims: int, points: int, rows: int, rng: np.random.Generator) -> Iterator[Words]:
    engine = qmc.Sobol(dims, bits=32, rng=rng)
    for _ in range(0, points, rows):
        yield (engine.random(rows) * 2.0**32).astype(np.uint32)


def arranged(points: Words, shape: tuple[int, int, int], normals: int) -> UInt32[np.ndarray, "steps rows words"]:
    """Its first coordinates are the random times of all steps, and what else is one number; then normals in order."""
    steps, rows, words = shape
    place = np.arange(steps * words).reshape(steps, words)
    order = np.concatenate([place[:, normals:].ravel(), place[:, :normals].ravel()])
    found = np.empty_like(points)
    found[:, order] = points
    return found.reshape(rows, steps, words).transpose(1, 0, 2)


@partial(jax.jit, static_argnums=(1, 2))
def in_time(words: UInt32[Array, "steps rows words"], normals: int, scheme: Scheme) -> UInt32[Array, "..."]:
    """The words of normals that, multiplied with Brownian motion's principal components, are those of `words`."""
    parts = 2 if scheme.random_time else 1
    root = np.sqrt(np.repeat(scheme.shares / parts, parts))
    turn = np.linalg.svd(np.tril(np.broadcast_to(root, (len(root),) * 2)))[2].T
    turn = turn.reshape((scheme.steps, parts) * 2).astype(np.float32)
    z = normal(words[..., :normals]).reshape(*words.shape[:2], parts, -1)
    turned = jnp.einsum("abcd,cndk->anbk", turn, z).reshape(*words.shape[:2], normals)
    grid = jnp.clip(jax.scipy.stats.norm.cdf(turned) * 2**23, 0, 2**23 - 1).astype(jnp.uint32) << 9
    return jnp.concatenate([grid, words[..., normals:]], axis=-1)


# --- what is measured


@dataclass(frozen=True)
class Prices:
    """Seconds a path: what the sampler does now, of which its random words."""

    path: float
    words: float

    @staticmethod
    def of(frozen: Frozen, times: int = 15) -> "Prices":
        key, drawn, run = stream(1, Purpose.certificate), [], []
        for i in range(times + 1):
            begin = time.perf_counter()
            words = jax.block_until_ready(draw_bits(key, (i,), frozen.shape))
            between = time.perf_counter()
            frozen.run(words)
            drawn.append(between - begin)
            run.append(time.perf_counter() - between)
        words = float(np.median(drawn[1:])) / frozen.shape[1]
        return Prices(words + float(np.median(run[1:])) / frozen.shape[1], words)

    def over(self, words: float) -> float:
        """How much cheaper a path is with words at that price."""
        return self.path / (self.path - self.words + words)


def antithetic(frozen: Frozen, prices: Prices) -> list[str]:
    key, sides, turned = stream(2, Purpose.certificate), ([], []), []
    for i in range(-(-PAIRS // frozen.shape[1])):
        words = draw_bits(key, (i,), frozen.shape)
        sides[0].append(frozen.run(words))
        sides[1].append(frozen.run(~words))
        k = frozen.normals
        turned.append(frozen.run(jnp.concatenate([~words[..., :k], words[..., k:]], axis=-1)).fine.total)
    a, b = (jax.tree.map(lambda *c: np.concatenate(c, axis=1), *side) for side in sides)
    rho, normals_only = (_correlation(a.fine.total, s) for s in (b.fine.total, np.concatenate(turned, axis=1)))
    here, there = (columns_of(frozen.certificate, side, frozen.y0) for side in (a, b))
    others = [_correlation(here[..., k], there[..., k]) for k in range(1, here.shape[-1]) if np.ptp(here[..., k]) > 0]
    alone, paired = Moments.of(here), Moments.of((here + there) / 2)
    z = half_width_factor(CONFIDENCE)
    parts = [frozen.certificate.bounds(m, frozen.y0, z).budget["sampling"][0]
             for m in (alone.scaled(2 * alone.count), paired)]
    gain = (parts[0] / parts[1]) ** 2
    worst = f"{max(others):.2f}" if others else ""
    paths = (z * np.std(a.fine.total) / (RTOL * abs(frozen.y0[0]))) ** 2
    correlations = f"{rho:.2f}", f"{normals_only:.2f}", worst
    gains = 1 / (1 + rho), gain, gain * prices.over(prices.words / 2)
    return [f"{paths:.0e}", type(frozen.certificate).__name__, *correlations, *map(_factor, gains)]


def _correlation(a: Float[np.ndarray, "one n"], b: Float[np.ndarray, "one n"]) -> float:
    return float(np.corrcoef(a[0], b[0])[0, 1])


def replicated(
    frozen: Frozen, replicates: int, turn: Callable[[Array], Array] | None = None
) -> tuple[list[float], float]:
    """Variance of a mean of independent paths over that of a replicate's, for FEW and MANY points; seconds a point."""
    steps, rows, words = frozen.shape
    totals, seconds = np.empty((replicates, MANY)), []
    for r, seed in enumerate(np.random.SeedSequence(3).spawn(replicates)):
        points, spent = sobol(steps * words, MANY, rows, np.random.default_rng(seed)), 0.0
        for first in range(0, MANY, rows):
            begin = time.perf_counter()
            drawn = next(points)
            spent += time.perf_counter() - begin
            given = jnp.asarray(arranged(drawn, frozen.shape, frozen.normals))
            chunk = frozen.run(given if turn is None else turn(given))
            totals[r, first : first + rows] = chunk.fine.total[0]
        seconds.append(spent / MANY)
    one = totals.var(ddof=1)
    means = {n: totals.reshape(-1, n).mean(axis=1) for n in (FEW, MANY)}
    return [float(one / n / m.var(ddof=1)) for n, m in means.items()], float(np.median(seconds))


def price_of_replicates(replicates: int) -> tuple[float, float, float]:
    """(z / t)^2, t and z."""
    z, quantile = half_width_factor(CONFIDENCE), float(t.ppf((1 + CONFIDENCE) / 2, replicates - 1))
    return (z / quantile) ** 2, quantile, z


def nets(frozen: Frozen, prices: Prices, replicates: int) -> list[str]:
    price = price_of_replicates(replicates)[0]
    steps, _, words = frozen.shape
    cells = [str(steps * words), f"{prices.words / prices.path:.0%}"]
    turn = partial(in_time, normals=frozen.normals, scheme=frozen.sampler.scheme)
    for turned in (None, turn):
        gains, seconds = replicated(frozen, replicates, turned)
        cost = prices.over(seconds)
        cells.append(" / ".join(_factor(g) for g in gains))
        cells += [] if turned is not None else [_factor(cost)]
        cells.append(" / ".join(_factor(g * cost * price) for g in gains))
    return cells


def _factor(x: float) -> str:
    return f"{x:.2f}" if x < 9.95 else f"{x:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling")
    parser.add_argument("--cases", default=",".join(zoo.equations))
    parser.add_argument("--replicates", type=int, default=16)
    parser.add_argument("--surrogates", default="none,first,trained")
    options = parser.parse_args()
    machine, rows = _runs.machine(), ([], [])
    for name in options.cases.split(","):
        for which, frozen in surrogates(name, set(options.surrogates.split(","))):
            begin, prices = time.perf_counter(), Prices.of(frozen)
            found = antithetic(frozen, prices), nets(frozen, prices, options.replicates)
            for table, cells in zip(rows, found, strict=True):
                table.append("| " + " | ".join([name, which, *cells]) + " |")
                print(table[-1], flush=True)
            print(f"{time.perf_counter() - begin:.0f} s", flush=True)
            TARGET.write_text(page(machine, options.replicates, *rows))
    return 0


def page(machine: str, replicates: int, pairs: list[str], nets: list[str]) -> str:
    price, quantile, z = price_of_replicates(replicates)
    least, most = chi2.ppf((0.025, 0.975), replicates - 1) / (replicates - 1)
    return "# Other random numbers\n\n" + INTRO.format(
        command=shlex.join(["python", "-m", "benchmarks.sampling", *sys.argv[1:]]), machine=machine,
        seconds=LIMITS["trained"][1], pairs=PAIRS, few=FEW, many=MANY, replicates=replicates, rtol=RTOL, price=price,
        quantile=quantile, z=z, least=least, most=most, antithetic="\n".join(pairs), nets="\n".join(nets),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
