"""`uncurse bench`: each case in a fresh process, timed from its start, and a table that can be pasted."""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..report import _numbers
from ..report._text import verdict
from ._parser import parameters, parse, version_of
from ._target import BadInputError

if TYPE_CHECKING:
    from ..problems import Reference

STRONG = ("hjb --strength 10", "hjb --strength 20", "hjb --strength 50")
"""The default table goes beyond the zoo's defaults: at strength 1 even dropping f is nearly right."""

COLUMNS = ("case", "value", "interval", "guarantee", "reference", "inside", "result", "total s", "setup s", "train s",
           "certify s", "MB")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What one process did: its JSON object (None if it gave none), its last words and its peak memory in bytes."""

    case: str
    answer: dict[str, Any] | None
    words: str
    memory: int | None


def run_bench(options: argparse.Namespace) -> int:
    """Run the table. Exit status 0 if every tolerance was met."""
    if options.write and Path(options.write).suffix not in (".md", ".json"):
        raise BadInputError(f"--write {options.write}: expected a name that ends in .md or .json")
    if options.write and not Path(options.write).absolute().parent.is_dir():
        raise BadInputError(f"--write {options.write}: there is no folder {str(Path(options.write).parent)!r}")
    cases = options.cases or _default_cases()
    references = [_reference(case) for case in cases]       # also refuses a bad case before any work is spent
    runs = []
    for case in cases:
        print(f"uncurse bench: {case}", file=sys.stderr, flush=True)
        runs.append(_run(case, _settings(options)))
    rows = [_cells(run, reference) for run, reference in zip(runs, references, strict=True)]
    table = f"{_machine()}\n\n{_markdown(rows)}"
    print(table)
    if options.write:
        _write(Path(options.write), table, runs)
    for run in runs:
        if run.answer is None:
            print(f"uncurse bench: {run.case} gave no answer: {run.words}", file=sys.stderr)
    return 0 if all(run.answer is not None and run.answer["result"] == "tolerance_met" for run in runs) else 1


def _default_cases() -> list[str]:
    from .. import zoo

    return [*zoo.cases, *STRONG]


def _settings(options: argparse.Namespace) -> list[str]:
    named = {"rtol": options.rtol, "atol": options.atol, "confidence": options.confidence, "seed": options.seed,
             "method": options.method, "time-limit": options.time_limit}  # fmt: skip
    return [f"--{name}={value}" for name, value in named.items() if value is not None]


def _reference(case: str) -> "Reference | None":
    options, target = parse(["solve", *shlex.split(case)])
    assert target is not None       # `solve` without a name does not get past the parser
    return target.build(**parameters(options)).problem.reference if options.at is None else None


def _run(case: str, settings: Sequence[str]) -> Run:
    """One case in a process of its own. A case's own options come last, and so win."""
    name, *own = shlex.split(case)
    command = [sys.executable, "-m", "uncurse", "solve", name, *settings, *own, "--json", "--quiet"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(command, stdout=out, stderr=words)
        memory = _wait(process)
        out.seek(0)
        words.seek(0)
        text, said = out.read(), words.read().strip().splitlines()
    answer = json.loads(text) if process.returncode in (0, 1) and text.strip() else None
    return Run(case, answer, said[-1] if said else f"exit status {process.returncode}", memory)


def _wait(process: subprocess.Popen) -> int | None:
    """Wait, and say the peak memory of that process alone: getrusage(RUSAGE_CHILDREN) would give the largest so far."""
    if sys.platform == "win32":
        process.wait()
        return None
    _, ended, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cells(run: Run, reference: "Reference | None") -> list[str]:
    memory = "" if run.memory is None else f"{run.memory / 1e6:.0f}"
    if run.answer is None:
        return [run.case, "no answer", *[""] * (len(COLUMNS) - 3), memory]
    numbers = [run.answer[name] for name in ("value", "low", "high")]
    if isinstance(numbers[0], list):
        numbers = [x[0] for x in numbers]
    value, low, high = (bound if x is None else x for x, bound in zip(numbers, (float("nan"), -INF, INF), strict=True))
    shown = _numbers.interval(value, low, high)
    known = "" if reference is None else _numbers.significant(reference.value, min(max(reference.digits, 4), 12))
    inside = "" if reference is None else verdict(low, high, reference)
    seconds = [f"{run.answer['seconds'][part]:.1f}" for part in ("total", "setup", "train", "certify")]
    words = [run.answer[key].replace("_", " ") for key in ("guarantee", "result")]
    return [run.case, shown[0], f"[{shown[1]}, {shown[2]}]", words[0], known, inside, words[1], *seconds, memory]


INF = float("inf")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in (COLUMNS, *rows)) for k in range(len(COLUMNS))]
    rule = ["-" * width for width in widths]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (COLUMNS, rule, *rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine() -> str:
    made_of = f"Python {platform.python_version()}, jax {version_of('jax')}, uncurse {version_of('uncurse')}"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {made_of}. "
        "Seconds count from the start of the process; memory is the peak resident set."
    )


def _write(path: Path, table: str, runs: Sequence[Run]) -> None:
    if path.suffix == ".md":
        path.write_text(table + "\n")
        return
    rows = [{"case": run.case, "memory_bytes": run.memory, "answer": run.answer} for run in runs]
    path.write_text(json.dumps({"machine": _machine(), "runs": rows}, indent=1, allow_nan=False) + "\n")
