"""Values that nobody had certified: default-risk and different-rates in 100 dimensions.

    python -m benchmarks.certified [--rtol 1e-3] [--limit SECONDS] [--seed 0] [--cases default-risk,different-rates]

Out of time, the interval is what it then is. Written to benchmarks/results/certified.json for `benchmarks.page`; a case
that was not asked for keeps its entry.
"""

import argparse
import shlex
import sys

from . import _runs

TARGET = _runs.RESULTS / "certified.json"
CASES = "default-risk,different-rates"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certified")
    parser.add_argument("--rtol", default="1e-3")
    parser.add_argument("--limit", default="1800")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--cases", default=CASES)
    options = parser.parse_args()
    cases = options.cases.split(",")
    before = _runs.read(TARGET)
    runs = [] if before is None else [run for run in before["runs"] if run["case"] not in cases]
    for case in cases:
        limits = ["--rtol", options.rtol, "--time-limit", options.limit, "--seed", options.seed]
        words = ["uncurse", "solve", case, *limits, "--json", "--quiet"]
        run = {"case": case} | _runs.run(words, float(options.limit) + 600)
        print(run["printed"], flush=True)
        runs.append(run)
        _runs.write(TARGET, shlex.join(["python", "-m", "benchmarks.certified", *sys.argv[1:]]), runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
