"""How often intervals hold the truth, over many seeds: `make coverage`, or coverage.py [SEEDS [NAME ...]]

Certificates, and whole calls of `solve`. A certificate is read at 95 % and at 99 % from the same paths; whole calls
take turns. Cases share the cores, one process each. Rows go to benchmarks/results/coverage.json, where a case that was
not asked for keeps its row, and as a table to coverage.md. The exit status is 1 if anything lies outside its limits.
"""

import json
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE)]

import jax  # noqa: E402
import numpy as np  # noqa: E402
from _experiments import EXPERIMENTS, Experiment, count  # noqa: E402
from _hostile import HOSTILE  # noqa: E402
from _whole import DECISIONS, WHOLE, Whole  # noqa: E402
from scipy.stats import binom  # noqa: E402

import uncurse as uc  # noqa: E402
from uncurse import Guarantee, _loop  # noqa: E402

FALSE_ALARM = 1e-4      # of each limit
FIRST = 10_000          # not the seeds of the tests
STORE = HERE / "results" / "coverage.json"
SECTIONS = {"Certificates": EXPERIMENTS | HOSTILE, "Whole calls of solve": WHOLE, "Decisions": DECISIONS}


@dataclass(frozen=True)
class Row:
    """One line of the table. held: (intervals that hold the truth, intervals) at 95 % and at 99 %, the worst point."""

    name: str
    dim: int
    process: str
    guarantee: str
    truth: float
    held: tuple[tuple[int, int], tuple[int, int]]
    width: float            # mean half-width of intervals that are not the whole line
    error: float            # mean |value - truth|
    bias: float             # mean of value - truth
    scatter: float          # of value
    unbounded: int
    noise_only: str         # coverage at 95 % of the sampling part alone
    seeds: int

    def faults(self) -> list[str]:
        found = []
        for (held, of), level in zip(self.held, (0.95, 0.99), strict=True):
            if held < binom.ppf(FALSE_ALARM, of, level):
                found.append(f"too short at {level:.0%}")
        if self.name.startswith("rare"):
            return found    # most of its intervals are refused, and the values with them
        limit = 4 * self.scatter / math.sqrt(self.seeds) + 1e-6 * abs(self.truth)
        if self.guarantee == Guarantee.unbiased and abs(self.bias) > limit:
            found.append("biased")
        if self.unbounded > 0.02 * self.seeds:
            found.append("too often unbounded")
        return found

    def line(self) -> str:
        shares = " | ".join(f"{held / of:.1%} ({held}/{of})" for held, of in self.held)
        ratio = self.width / self.error if self.error > 0 else math.inf
        what = f"{self.name} | {self.dim} | {self.process} | {self.guarantee} | {self.truth:.6g} | {shares}"
        rest = f"{self.bias:.1e} | {self.noise_only} | {self.unbounded} | {', '.join(self.faults()) or 'ok'}"
        return f"| {what} | {self.width:.2g} | {ratio:.3g} | {rest} |"


HEADER = [
    "| problem | d | process | guarantee | truth | at 95 % | at 99 % | half-width | over error | bias | noise only "
    "| unbounded | |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
]


def of_certificate(name: str, e: Experiment, seeds: int) -> Row:
    found = count(e, seeds, FIRST)
    return Row(
        name, e.problem.dim, type(e.problem.process).__name__, str(e.guarantee), e.truth,
        ((found.held, seeds), (found.held99, seeds)), found.half_width, found.error, found.signed_bias, found.scatter,
        found.unbounded, f"{found.noise_only / seeds:.1%}", seeds,
    )


def of_solve(name: str, case: Whole, seeds: int) -> Row:
    """The guarantee is the one that most runs ended with."""
    truth = np.atleast_1d(np.asarray(case.truth, dtype=np.float64))
    held, widths, errors = {0.95: [], 0.99: []}, [], []
    guarantees: Counter[str] = Counter()
    for i in range(seeds):
        level = (0.99, 0.95)[i % 2]
        s = uc.solve(case.problem, case.at, seed=FIRST + i, confidence=level, progress=False, throw=False,
                     **case.tolerance, **case.options)  # fmt: skip
        guarantees[str(s.guarantee)] += 1
        low, high, value = (np.atleast_1d(a) for a in (s.low, s.high, s.value))
        held[level].append((low <= truth) & (truth <= high))
        widths.append(np.maximum(high - value, value - low))
        errors.append(value - truth)
    wide, off = np.array(widths), np.array(errors)
    bounded = np.isfinite(wide).all(axis=1)
    worst = int(np.argmin(sum(np.sum(h, axis=0) for h in held.values())))
    counts = tuple((int(np.sum(held[level], axis=0)[worst]), len(held[level])) for level in (0.95, 0.99))
    off = off[np.isfinite(off).all(axis=1)]
    return Row(
        name, case.problem.dim, case.process, guarantees.most_common(1)[0][0],
        float(truth[worst]), counts, float(wide[bounded, worst].mean()) if bounded.any() else math.inf,
        float(np.abs(off[:, worst]).mean()),
        float(off[:, worst].mean()), float(off[:, worst].std()), int(np.sum(~bounded)), "", seeds,
    )  # fmt: skip


def row_of(name: str, seeds: int) -> tuple[Row, float]:
    """One case, and the seconds that it took."""
    start, case = time.perf_counter(), {k: make for cases in SECTIONS.values() for k, make in cases.items()}[name]()
    if isinstance(case, Experiment):
        row = of_certificate(name, case, seeds)
    else:
        row = of_solve(name, case, max(2 * round(seeds / case.every / 2), 4))
    return row, time.perf_counter() - start


def remember() -> None:
    """What is proved of a problem does not depend on the seed: it is not proved anew for each."""
    known: dict = {}
    analyse = _loop.analyse

    def remembered(problem, at):
        if problem not in known:
            known[problem] = analyse(problem, at)
        return known[problem]

    _loop.analyse = remembered


def main(seeds: int, chosen: set[str]) -> int:
    names = [name for cases in SECTIONS.values() for name in cases]
    if chosen - set(names):
        sys.exit(f"unknown: {', '.join(sorted(chosen - set(names)))}; there are {', '.join(names)}")
    found = json.loads(STORE.read_text()) if STORE.exists() else {}
    wanted = sorted(chosen or names, key=lambda n: -found.get(n, {}).get("took", math.inf))      # the longest first
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout
    versions = f"Python {platform.python_version()}, JAX {jax.__version__}"
    rows = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, remember) as pool:
        for done in as_completed([pool.submit(row_of, name, seeds) for name in wanted]):
            row, took = done.result()
            rows.append(row)
            print(row.line(), f" {took:.0f} s", flush=True)
            found[row.name] = asdict(row) | {"took": took, "commit": commit.strip(), "versions": versions}
            write([found[name] for name in names if name in found])     # each time: it takes long, may be cut short
    faults = [row.name for row in rows if row.faults()]
    print(f"{len(faults)} outside their limits: {', '.join(faults) or 'none'}")
    return 1 if faults else 0


def write(found: list[dict]) -> None:
    """The store, with a line a row, and the table."""
    STORE.parent.mkdir(exist_ok=True)
    STORE.write_text("{\n" + ",\n".join(f"{json.dumps(r['name'])}: {json.dumps(r)}" for r in found) + "\n}\n")
    rows = {r["name"]: Row(**{k: v for k, v in r.items() if k in Row.__dataclass_fields__}) for r in found}
    seeds = max(row.seeds for row in rows.values())
    least = ", ".join(f"{int(binom.ppf(FALSE_ALARM, seeds, level))} at {level:.0%}" for level in (0.95, 0.99))
    made = ", ".join(sorted({f"{r['commit']} ({r['versions']})" for r in found}))
    hours = sum(r["took"] for r in found) / 3600
    lines = [
        "# Coverage of the intervals",
        "",
        f"`make coverage`, or `python benchmarks/coverage.py {seeds} NAME ...`: {hours:.1f} hours, summed over cores;",
        f"rows made at {made}. Seeds from {FIRST}. Binomial limits at {FALSE_ALARM:g}: of {seeds} honest intervals",
        f"{least} hold the truth, or more; a row with fewer seeds has its own limits.",
        "",
        "`at 95 %`, `at 99 %`: intervals that held the truth. `half-width`: the mean, without intervals that are the",
        "whole line, which `unbounded` counts; at 95 % for certificates, at both levels in turn for whole calls. `over",
        "error`: that over the mean of |value - truth|; a normal mean has 2.5 at 95 %. `noise only`: what the sampling",
        "part alone would hold at 95 %. Of several points the worst is shown.",
        "",
        "A certificate is given a fixed surrogate, most of them wrong on purpose. Whole calls have default settings,",
        "but for a method of `smoothing` in strength-20 and the rare events; even seeds at 99 %, odd ones at 95 %,",
        "fewer where one takes long. An `unbiased` value is also compared with the truth over all seeds, to four",
        "standard errors, but not for the rare events, most of whose intervals are refused.",
    ]
    for title, cases in SECTIONS.items():
        lines += ["", f"## {title}", "", *HEADER, *(rows[name].line() for name in cases if name in rows)]
    STORE.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, set(sys.argv[2:])))
