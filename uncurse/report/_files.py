"""Solutions on disk: one line of JSON that anyone can read, then the arrays of the field. No pickle."""

import dataclasses
import io
import json
import math
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._text import reference_of

if TYPE_CHECKING:
    from .._solution import Solution
    from ..problems import Problem

FORMAT = 1
MAGIC = b'{"uncurse-solution":'
COPIED = ("value", "low", "high", "confidence", "at", "budget", "stats")
ARRAY, NUMBER = "$array", "$number"


class UnavailableField:
    """Stands in for a field that a file could not give back; says why when it is used."""

    def __init__(self, why: str):
        self._why = why

    def __call__(self, t: Any, x: Any) -> Any:
        raise RuntimeError(self._why)

    def grad(self, t: Any, x: Any) -> Any:
        raise RuntimeError(self._why)

    def __repr__(self) -> str:
        return f"<field not available: {self._why}>"


def save(solution: "Solution", path: Any) -> None:
    """Write everything but the problem's functions to `path`, whole or not at all.

    Raises:
        TypeError: the record or the statistics hold what is neither a number, text, list, dictionary nor array.
        OSError: the folder is missing or cannot be written to.
    """
    import equinox as eqx

    path = Path(path)
    payload = io.BytesIO()
    has_field = solution.field is not None and not isinstance(solution.field, UnavailableField)
    if has_field:
        eqx.tree_serialise_leaves(payload, solution.field)
    leaves = payload.getvalue()
    header = {
        "uncurse-solution": FORMAT,
        "solution": _header(solution),
        "field": {"bytes": len(leaves), "crc32": zlib.crc32(leaves)} if has_field else None,
    }
    line = json.dumps(header, allow_nan=False).encode() + b"\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to save {path.name!r} in")
    try:
        with partial.open("xb") as file:
            file.write(line)
            file.write(leaves)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Any, problem: "Problem | None" = None) -> "Solution":
    """Read what `save` wrote.

    Args:
        path: the file.
        problem: the equation that was solved; needed to bring the field back, unless it came from the zoo.

    Returns:
        The solution, number for number. Where the field cannot be rebuilt, using it raises an error that says why.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of ours, a newer format, damaged, or one that does not fit `problem`.
    """
    path = Path(path)
    header, leaves = _read(path)
    stored = {name: _decoded(item) for name, item in header["solution"].items()}
    if header["field"] is None:
        field, known = None, problem
    else:
        known, why = (problem, "") if problem is not None else _from_zoo(stored["record"])
        field = UnavailableField(why) if known is None else _field(path, leaves, known, stored["record"])
    return _solution(path, stored, known, field)


def _header(solution: "Solution") -> dict[str, Any]:
    """Every field of the solution but the functions, in plain JSON."""
    reference = reference_of(solution)
    record = dict(solution.record)
    if reference is not None:
        record["reference"] = dataclasses.asdict(dataclasses.replace(reference, at=None))
    if solution.problem is not None:
        record |= {"problem": solution.problem.name, "dim": solution.problem.dim}
    whole = {
        **{name: getattr(solution, name) for name in COPIED},
        "guarantee": str(solution.guarantee),
        "result": solution.result.name,
        "assumptions": list(solution.assumptions),
        "baseline": {name: getattr(solution.baseline, name) for name in ("value", "low", "high")},
        "timing": dataclasses.asdict(solution.timing),
        "history": [{name: getattr(s, name) for name in ("seconds", "low", "high", "stage")} for s in solution.history],
        "record": record,
    }
    return {name: _encoded(item, name) for name, item in whole.items()}


def _encoded(item: Any, where: str) -> Any:
    """`item` in strict JSON: arrays and numbers that JSON lacks become small tagged dictionaries."""
    import jax

    if isinstance(item, np.generic):
        item = item.item()
    if item is None or isinstance(item, bool | int | str):
        return item
    if isinstance(item, float):
        return item if math.isfinite(item) else {NUMBER: str(item)}
    if isinstance(item, dict):
        wrong = [key for key in item if not isinstance(key, str) or key in (ARRAY, NUMBER)]
        if wrong:
            raise TypeError(f"{where} cannot be saved: keys must be text; got {wrong[0]!r}")
        return {key: _encoded(x, f"{where}[{key!r}]") for key, x in item.items()}
    if isinstance(item, list | tuple):
        return [_encoded(x, f"{where}[{i}]") for i, x in enumerate(item)]
    array = np.asarray(item) if isinstance(item, np.ndarray | jax.Array) else None
    if array is None or array.dtype.kind not in "biuf":
        raise TypeError(f"{where} cannot be saved: it is {item!r} of type {type(item).__name__}")
    flat = [_encoded(x, where) for x in array.ravel().tolist()]
    return {ARRAY: flat, "shape": list(array.shape), "dtype": array.dtype.name}


def _decoded(item: Any) -> Any:
    if isinstance(item, list):
        return [_decoded(x) for x in item]
    if not isinstance(item, dict):
        return item
    if NUMBER in item:
        return float(item[NUMBER])
    if ARRAY in item:
        return np.array(_decoded(item[ARRAY]), dtype=item["dtype"]).reshape(item["shape"])
    return {key: _decoded(x) for key, x in item.items()}


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
        if start != MAGIC:
            raise ValueError(f"{path} is not a solution saved by uncurse")
        line = start + file.readline()
        leaves = file.read()
    damaged = f"{path} is damaged or incomplete"
    try:
        header = json.loads(line) if line.endswith(b"\n") else None
    except json.JSONDecodeError as error:
        raise ValueError(f"{damaged}: {error}") from error
    if header is None:
        raise ValueError(f"{damaged}: its header has no end")
    if not isinstance(header["uncurse-solution"], int) or header["uncurse-solution"] > FORMAT:
        version = header["uncurse-solution"]
        raise ValueError(f"{path} has format {version}, but this uncurse reads up to {FORMAT}: upgrade uncurse")
    if not isinstance(header.get("solution"), dict) or "field" not in header:
        raise ValueError(f"{damaged}: its header lacks a part")
    stated = header["field"] or {"bytes": 0, "crc32": zlib.crc32(b"")}
    if len(leaves) != stated["bytes"]:
        raise ValueError(f"{damaged}: {len(leaves)} bytes of arrays where {stated['bytes']} were written")
    if zlib.crc32(leaves) != stated["crc32"]:
        raise ValueError(f"{damaged}: the checksum of its arrays is wrong")
    return header, leaves


def _from_zoo(record: dict[str, Any]) -> "tuple[Problem | None, str]":
    """The problem that a zoo entry in the record names, or why there is none."""
    entry = record.get("zoo")
    if entry is None:
        return None, "the file holds the field's arrays but not the problem's functions: uc.load(path, problem=...)"
    from .. import zoo

    try:
        return zoo.get(entry["name"], **entry["parameters"]).problem, ""
    except (KeyError, TypeError, ValueError) as error:
        return None, f"the zoo case of this file could not be rebuilt ({error}): uc.load(path, problem=...)"


def _field(path: Path, leaves: bytes, problem: "Problem", record: dict[str, Any]) -> Any:
    import equinox as eqx

    from ..methods import skeleton

    dim = record.get("dim", problem.dim)
    if dim != problem.dim:
        raise ValueError(f"{path} was solved in {dim} dimensions, but problem has {problem.dim}")
    if "surrogate" not in record:
        raise ValueError(f"{path} does not say which surrogate its arrays belong to")
    stream = io.BytesIO(leaves)
    try:
        like = skeleton(problem, record["surrogate"])
        field = eqx.tree_deserialise_leaves(stream, like)
    except (RuntimeError, ValueError, KeyError, EOFError) as error:
        raise ValueError(f"the field saved in {path} does not fit this problem: {error}") from error
    if stream.read(1):
        raise ValueError(f"the field saved in {path} does not fit this problem: it has arrays to spare")
    return field


def _solution(path: Path, stored: dict[str, Any], problem: "Problem | None", field: Any) -> "Solution":
    from .._solution import Estimate, Guarantee, Result, Snapshot, Solution, Timing

    try:
        converted = {
            **{name: stored[name] for name in (*COPIED, "record")},
            "guarantee": Guarantee(stored["guarantee"]),
            "result": Result[stored["result"]],
            "assumptions": tuple(stored["assumptions"]),
            "baseline": Estimate(**stored["baseline"]),
            "timing": Timing(**stored["timing"]),
            "history": tuple(Snapshot(**entry) for entry in stored["history"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__} {error}") from error
    return Solution(**converted, problem=problem, field=field, policy=_policy(field))


def _policy(field: Any) -> Any:
    """The rule that a value function of stopping implies; it has no arrays of its own."""
    from ..surrogates import Continuation, StopRule

    return StopRule(field) if isinstance(field, Continuation) else None
