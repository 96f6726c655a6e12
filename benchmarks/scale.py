"""The zoo in more and more dimensions, on what JAX finds: a GPU, or else the processor.

    python -m benchmarks.scale [--limit SECONDS]

Written to benchmarks/results/scale_gpu.json or scale_cpu.json for `benchmarks.page`, after every run.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import _runs

SMOOTH = "hjb", "allen-cahn", "sine-gordon", "semilinear-heat"
CASES = *SMOOTH, "default-risk", "different-rates"
ROWS = [
    *((case, 100, rtol) for case in SMOOTH for rtol in ("1e-3", "1e-5")),
    *((case, 1000, "1e-3") for case in SMOOTH),
    *((case, 10_000, "1e-3") for case in ("hjb", "allen-cahn")),
    ("hjb", 100_000, "1e-3"),
    ("hjb", 1_000_000, "1e-3"),
    ("default-risk", 100, "3e-4"),
    ("different-rates", 100, "3e-3"),
    *((case, 1000, "1e-5") for case in SMOOTH),
]
ASK = "import jax; print(jax.devices()[0].platform, jax.devices()[0].device_kind)"


def device() -> tuple[str, str]:
    """The platform and the name of what JAX computes on; asked in a process of its own, which gives it back."""
    said = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True, cwd=_runs.ROOT)
    platform, _, kind = said.stdout.strip().partition(" ")
    return platform, kind


def target(platform: str) -> Path:
    return _runs.RESULTS / f"scale_{platform}.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--limit", default="3600")
    options = parser.parse_args()
    platform, kind = device()
    command = shlex.join(["python", "-m", "benchmarks.scale", *sys.argv[1:]])
    runs: list[dict[str, Any]] = []
    for case, dim, rtol in ROWS:
        words = ["uncurse", "solve", case, "--dim", str(dim), "--rtol", rtol, "--json", "--quiet"]
        run = {"case": case, "dim": dim, "rtol": rtol, "device": kind}
        run |= _runs.run([*words, "--time-limit", options.limit], float(options.limit) + 600)
        print(f"{run['wall']:7.1f} s", case, dim, rtol, *map(run.get, ("guarantee", "low", "high")), flush=True)
        runs.append(run)
        _runs.write(target(platform), command, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
