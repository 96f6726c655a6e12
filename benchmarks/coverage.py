"""How often intervals hold the truth, over many seeds: `make coverage`, or python benchmarks/coverage.py [SEEDS]."""

import math
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from _experiments import EXPERIMENTS, LEVEL, count  # noqa: E402
from scipy.stats import binom  # noqa: E402

FALSE_ALARM = 1e-4
FIRST = 10_000      # not the seeds of the tests


def main(seeds: int) -> int:
    lowest, highest = (int(binom.ppf(p, seeds, LEVEL)) for p in (FALSE_ALARM, 1 - FALSE_ALARM))
    command = "make coverage" if seeds == 1000 else f"python benchmarks/coverage.py {seeds}"
    lines = [
        "# Coverage of the intervals",
        "",
        f"`{command}`: {seeds} seeds each, at a nominal {LEVEL:.0%}. Binomial limits at {FALSE_ALARM:g}: an honest",
        f"interval holds the truth in {lowest} seeds or more; one that is statistical only, in {highest} or fewer.",
        "`noise only` is what the sampling part of the interval alone would hold.",
        "",
        "| problem | guarantee | truth | mean half-width | mean bias | noise only | coverage | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    failed = 0
    for name, make in EXPERIMENTS.items():
        begin, experiment = time.perf_counter(), make()
        found = count(experiment, seeds, FIRST)
        good = found.held >= lowest and (experiment.guarantee != "unbiased" or found.held <= highest)
        good = good and math.isfinite(found.half_width)     # one path that is not finite is a defect
        failed += not good
        lines.append(
            f"| {name} | {experiment.guarantee} | {experiment.truth:.6g} | {found.half_width:.2g} | {found.bias:.2g} "
            f"| {found.noise_only / seeds:.1%} | {found.coverage:.1%} | {'' if good else 'outside'} |"
        )
        print(lines[-1], f" {time.perf_counter() - begin:.1f} s", flush=True)
    target = HERE / "results" / "coverage.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n")
    print(f"written to {target}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
