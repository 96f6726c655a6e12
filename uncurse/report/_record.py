"""Provenance: what made a number, so that it can be made again."""

import os
import platform
from typing import Any

import jax

from .._version import __version__
from ..problems import ParabolicPDE
from ..surrogates import AbstractSurrogate


def record_of(problem: ParabolicPDE, seed: int, surrogate: AbstractSurrogate) -> dict[str, Any]:
    """Seed, versions, machine, and what is needed to rebuild the surrogate's skeleton."""
    record: dict[str, Any] = {
        "uncurse": __version__, "jax": jax.__version__, "python": platform.python_version(), "seed": seed,
        "backend": jax.default_backend(), "devices": jax.device_count(),
        "processes": jax.process_count(), "cores": len(os.sched_getaffinity(0)),
        "problem": problem.name, "dim": problem.dim, "process": type(problem.process).__name__,
        "horizon": problem.horizon, "surrogate": surrogate.recipe(),
    }
    if problem.zoo is not None:
        record["zoo"] = problem.zoo
    return record
