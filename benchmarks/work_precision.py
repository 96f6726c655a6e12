"""Error bar against seconds, for every case of the zoo: uncurse at several tolerances, baselines at several budgets.

    python -m benchmarks.work_precision [--quick] [--cases hjb,...] [--methods uncurse,...]

Each run is a process of its own, and seconds count from its start. The file in benchmarks/results is written anew after
each run; cases and methods that were not asked for keep their runs. `benchmarks.page` draws the picture.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator
from typing import Any

from uncurse import zoo

from . import _runs
from .baselines import METHODS

TARGET = _runs.RESULTS / "work_precision.json"
UNCURSE = "uncurse"
RTOLS = (1e-2, 1e-3, 1e-4)
CAP, QUICK = 60.0, 30.0     # seconds a run
GRACE = 120.0               # beyond the cap: a run that does not stop by itself is killed
GROWTH = {"multilevel-picard": 16}
"""A level costs at least so many times the one before, and gives nothing before its end: it is not begun in vain."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.work_precision")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:g} s a run instead of {CAP:g}")
    parser.add_argument("--cases", default=",".join(zoo.equations))
    parser.add_argument("--methods", default=",".join([UNCURSE, *METHODS]))
    options = parser.parse_args()
    cases, methods = options.cases.split(","), options.methods.split(",")
    if unknown := [*(set(cases) - set(zoo.equations)), *(set(methods) - {UNCURSE, *METHODS})]:
        parser.error(f"unknown: {', '.join(unknown)}")
    command = shlex.join(["python", "-m", "benchmarks.work_precision", *sys.argv[1:]])
    before = _runs.read(TARGET)
    runs = [] if before is None else [
        run for run in before["runs"] if run["case"] not in cases or run["method"] not in methods
    ]
    for case in cases:
        for method in methods:
            for run in _study(case, method, QUICK if options.quick else CAP):
                print(_line(run), flush=True)
                runs.append(run)
                _runs.write(TARGET, command, runs)
    return 0


def _study(case: str, method: str, cap: float) -> Iterator[dict[str, Any]]:
    """One method on one case, from the smallest budget to the last that its time allows."""
    reference = zoo.get(case).reference
    first = None
    for budget in RTOLS if method == UNCURSE else METHODS[method].budgets(zoo.get(case).problem):
        what = {"case": case, "method": method, "budget": float(budget), "reference": reference}
        run = what | (_uncurse(case, budget, cap) if method == UNCURSE else _baseline(case, method, int(budget), cap))
        yield run
        if run.get("value") is None or not run["complete"]:
            return      # a larger budget would end in the same place
        first = run["seconds"] if first is None else first
        if GROWTH.get(method, 0) * (run["seconds"] - first) > cap:
            return


def _uncurse(case: str, rtol: float, cap: float) -> dict[str, Any]:
    words = ["uncurse", "solve", case, "--rtol", f"{rtol:g}", "--time-limit", f"{cap:g}", "--json", "--quiet"]
    run = _runs.run(words, cap + GRACE)
    run |= {"unit": "rtol", "complete": run.get("result") == "tolerance_met"}
    if "seconds" in run:        # `budget` is what was spent, everywhere here
        run |= {"spent": run["seconds"], "seconds": run["seconds"]["total"], "error_budget": run.pop("budget")}
    return run


def _baseline(case: str, method: str, budget: int, cap: float) -> dict[str, Any]:
    words = ["benchmarks.baselines", method, case, "--budget", str(budget), "--cap", f"{cap:g}"]
    run = _runs.run(words, cap + GRACE)
    return run | {"complete": run.get("done", 0) >= budget}


def _line(run: dict[str, Any]) -> str:
    value = run.get("value")
    if value is None:
        return f"{run['case']:25s} {run['method']:18s} {run['budget']:10g} no value"
    error = "" if run["reference"] is None else f"off by {abs(value / run['reference'] - 1):.1e}"
    return f"{run['case']:25s} {run['method']:18s} {run['budget']:10g} {value:14.8g} {run['seconds']:7.1f} s {error}"


if __name__ == "__main__":
    sys.exit(main())
