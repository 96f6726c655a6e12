"""Fresh processes, timed from their start, and what they printed."""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from uncurse import __version__

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def machine() -> str:
    """What numbers were measured on; the load says whether the machine was quiet."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    made_of = f"Python {platform.python_version()}, jax {version('jax')}, uncurse {__version__}"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {made_of}{load}"


def run(words: list[str], timeout: float) -> dict[str, Any]:
    """`python -m WORDS` and the one JSON object that it prints.

    Returns:
        that object, with `command`, `machine`, `wall`, in seconds, and `printed`, the words on standard error. A
        process that ran past `timeout` or printed nothing leaves only these.
    """
    found: dict[str, Any] = {"command": shlex.join(["python", "-m", *words]), "machine": machine()}
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words], capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False
        )
    except subprocess.TimeoutExpired:
        return found | {"printed": f"killed after {timeout:g} s", "wall": time.perf_counter() - begin}
    found["wall"] = time.perf_counter() - begin
    found["printed"] = done.stderr.strip()
    if done.returncode in (0, 1) and done.stdout.strip():
        found |= json.loads(done.stdout)
    return found


def write(path: Path, command: str, runs: list[dict[str, Any]]) -> None:
    """One JSON object, with a line for each run."""
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(run, allow_nan=False) for run in runs)
    path.write_text(f'{{"command": {json.dumps(command)}, "runs": [\n{lines}\n]}}\n')


def read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None
