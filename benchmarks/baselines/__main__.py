"""One baseline on one case in this process: python -m benchmarks.baselines METHOD CASE --budget B [--cap SECONDS].

Prints one JSON object. Seconds count from the start of the process. Status 0 if there is a value.
"""

import argparse
import json
import math
import sys
from pathlib import Path

from uncurse import zoo
from uncurse._cli._clock import since_start

from . import METHODS


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {Path(__file__).parent.name}")
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("case", choices=zoo.equations)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--cap", type=float, default=60.0, help="seconds since the start of the process")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    case = zoo.get(options.case, **({} if options.dim is None else {"dim": options.dim}))
    module = METHODS[options.method]
    found = module.solve(
        case.problem, case.at, options.budget, seed=options.seed, deadline=lambda: since_start() > options.cap
    )
    valid = math.isfinite(found.value)
    spread = found.spread if found.spread is not None and math.isfinite(found.spread) else None
    print(json.dumps({
        "value": found.value if valid else None, "spread": spread, "budget": options.budget, "unit": module.UNIT,
        "done": found.done, "seconds": round(since_start(), 4),
    }, allow_nan=False))  # fmt: skip
    return 0 if valid else 1


if __name__ == "__main__":
    sys.exit(main())
