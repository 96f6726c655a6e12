"""`uncurse solve`: from options to an answer on standard output, and `--json` for machines."""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._clock import since_start
from ._machine import first_process, one_voice
from ._parser import parameters
from ._target import BadInputError, Stated, Target, points

if TYPE_CHECKING:
    from .._solution import Solution

PICTURES = (".png", ".pdf", ".svg")


def run_solve(options: argparse.Namespace, target: Target) -> int:
    """Solve, print, draw, save. Returns the exit status."""
    _check_outputs(options)
    # Whatever a user's file prints must not land beside the JSON object.
    with one_voice(options), contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        solution = solve(target.build(**parameters(options)), options, options.at)
    if not first_process():
        return status(solution)
    if options.json:
        print(json.dumps(as_json(solution), allow_nan=False), flush=True)
        print(solution, file=sys.stderr)
    else:
        print(solution, flush=True)
    if options.plot:
        solution.plot(options.plot)
    if options.save:
        solution.save(options.save)
    return status(solution)


def solve(stated: Stated, options: argparse.Namespace, at: str | None = None, since: float = 0.0) -> "Solution":
    """`uc.solve` with the options of the command line. Time counts from `since`, in seconds of the process."""
    import uncurse as uc

    problem, where = stated.problem, points(at, stated)
    if at is not None and problem.reference is not None and stated.at is not None:
        problem = dataclasses.replace(problem, reference=None)      # it is known at the zoo's point only
    ready = since_start()
    try:
        solution = uc.solve(
            problem, where, rtol=options.rtol, atol=options.atol, confidence=options.confidence, method=options.method,
            seed=options.seed, time_limit=options.time_limit, progress=not options.quiet, throw=False,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        if not _refused_by_us(error):
            raise
        raise BadInputError(str(error)) from error
    timing = dataclasses.replace(solution.timing, total=since_start() - since, imports=ready - since)
    later = timing.imports - solution.timing.imports        # one clock for the history and the total
    history = tuple(dataclasses.replace(s, seconds=s.seconds + later) for s in solution.history)
    record = ({"zoo": stated.zoo} if stated.zoo else {}) | solution.record
    return dataclasses.replace(solution, timing=timing, history=history, record=record)


def status(solution: "Solution") -> int:
    return 0 if solution.result.name == "tolerance_met" else 1


def as_json(solution: "Solution") -> dict[str, Any]:
    """The object that `--json` prints. What is unknown or unbounded is null."""
    spent = solution.timing
    reference = None if solution.problem is None else solution.problem.reference
    return {
        "value": _plain(solution.value),
        "low": _plain(solution.low),
        "high": _plain(solution.high),
        "confidence": float(solution.confidence),
        "guarantee": str(solution.guarantee),
        "budget": {name: _plain(part) for name, part in solution.budget.items()},
        "result": solution.result.name,
        "reference": None if reference is None else _plain(reference.value),
        "seconds": {
            "total": round(spent.total, 4),
            "setup": round(max(spent.total - spent.train - spent.certify, 0.0), 4),
            "train": round(spent.train, 4),
            "certify": round(spent.certify, 4),
        },
    }


def _plain(item: Any) -> Any:
    """Floats and lists of floats, null for what is not finite: strict JSON has no NaN."""
    import numpy as np

    listed = np.asarray(item, dtype=float).tolist()
    if isinstance(listed, list):
        return [_plain(x) for x in listed]
    return listed if math.isfinite(listed) else None


def _refused_by_us(error: BaseException) -> bool:
    """Whether the library itself refused an argument. What others raise is a defect, and deserves its traceback."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step is not None and Path(__file__).parents[1] in Path(step.tb_frame.f_code.co_filename).parents


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse files that cannot be written before any work is spent."""
    for name in ("plot", "save"):
        path = getattr(options, name)
        if path and not Path(path).absolute().parent.is_dir():
            raise BadInputError(f"--{name} {path}: there is no folder {str(Path(path).parent)!r}")
        if path and Path(path).is_dir():
            raise BadInputError(f"--{name} {path}: this is a folder, not a file")
    if options.plot and Path(options.plot).suffix.lower() not in PICTURES:
        raise BadInputError(f"--plot {options.plot}: expected a name that ends in {', '.join(PICTURES)}")
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        raise BadInputError("--plot needs matplotlib: pip install 'uncurse[plot]'")
