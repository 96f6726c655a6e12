"""How often intervals hold the truth, over many seeds: `make coverage`, or coverage.py [SEEDS [NAME ...]]

Certificates first, then whole calls of `solve`. A certificate is read at 95 % and at 99 % from the same paths; whole
calls take turns. The exit status is 1 if anything lies outside its limits.
"""

import math
import os
import platform
import sys
import time
from collections import Counter
from dataclasses import dataclass
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


def main(seeds: int, chosen: set[str]) -> int:
    known: dict = {}        # what is proved of a problem does not depend on the seed: not proved anew for each
    analyse = _loop.analyse

    def remembered(problem, at):
        if problem not in known:
            known[problem] = analyse(problem, at)
        return known[problem]

    _loop.analyse = remembered
    sections = {"Certificates": EXPERIMENTS | HOSTILE, "Whole calls of solve": WHOLE, "Decisions": DECISIONS}
    rows: dict[str, list[Row]] = {title: [] for title in sections}
    begin = time.perf_counter()
    for title, cases in sections.items():
        for name, make in cases.items():
            if chosen and name not in chosen:
                continue
            start, case = time.perf_counter(), make()
            if isinstance(case, Experiment):
                row = of_certificate(name, case, seeds)
            else:
                row = of_solve(name, case, max(2 * round(seeds / case.every / 2), 4))
            rows[title].append(row)
            print(row.line(), f" {time.perf_counter() - start:.0f} s", flush=True)
            if not chosen:
                write(rows, seeds, time.perf_counter() - begin)     # each time: it takes long, and may be cut short
    faults = [row for some in rows.values() for row in some if row.faults()]
    print(f"{len(faults)} outside their limits: {', '.join(row.name for row in faults) or 'none'}")
    return 1 if faults else 0


def write(rows: dict[str, list[Row]], seeds: int, seconds: float) -> None:
    command = "make coverage" if seeds == 1000 else f"python benchmarks/coverage.py {seeds}"
    least = ", ".join(f"{int(binom.ppf(FALSE_ALARM, seeds, level))} at {level:.0%}" for level in (0.95, 0.99))
    lines = [
        "# Coverage of the intervals",
        "",
        f"`{command}`: {seconds / 60:.0f} minutes on {os.cpu_count()} cores ({platform.machine()}, Python "
        f"{platform.python_version()}, JAX {jax.__version__}); seeds from {FIRST}. Binomial limits at {FALSE_ALARM:g}:",
        f"of {seeds} honest intervals {least} hold the truth, or more; a row with fewer seeds has its own limits.",
        "",
        "`at 95 %`, `at 99 %`: intervals that held the truth. `half-width`: the mean, without intervals that are the",
        "whole line, which `unbounded` counts; at 95 % for certificates, at both levels in turn for whole calls. `over",
        "error`: that over the mean of |value - truth|; a normal mean has 2.5 at 95 %. `noise only`: what the sampling",
        "part alone would hold at 95 %. Of several points the worst is shown.",
        "",
        "A certificate is given a fixed surrogate, most of them wrong on purpose. Whole calls have default settings,",
        "but for a method of `smoothing` in strength-20 and the rare events; even seeds at 99 %, odd ones at 95 %,",
        "fewer where one takes long. An `unbiased` value is also compared with the truth over all seeds, to four",
        "standard errors.",
    ]
    for title, some in rows.items():
        lines += ["", f"## {title}", "", *HEADER, *(row.line() for row in some)]
    target = HERE / "results" / "coverage.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, set(sys.argv[2:])))
