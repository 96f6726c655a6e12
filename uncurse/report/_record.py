"""Provenance: what made a number, so that it can be made again."""

import os
import platform
from typing import Any

import jax

from .._version import __version__
from ..problems import ControlProblem, ParabolicPDE, Problem
from ..surrogates import AbstractPolicy, AbstractRule, AbstractSurrogate


def record_of(
    problem: Problem, seed: int, field: AbstractSurrogate | None = None,
    policy: AbstractPolicy | AbstractRule | None = None,
) -> dict[str, Any]:
    """Seed, versions, machine, and what is needed to rebuild the skeletons of the surrogate and the policy."""
    record: dict[str, Any] = {
        "uncurse": __version__, "jax": jax.__version__, "python": platform.python_version(), "seed": seed,
        "backend": jax.default_backend(), "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(), "cores": len(os.sched_getaffinity(0)),
        "problem": problem.name, "dim": problem.dim, "horizon": problem.horizon,
    }
    if not isinstance(problem, ControlProblem):
        record["process"] = type(problem.process).__name__
    if not isinstance(problem, ParabolicPDE):
        record["kind"] = "control" if isinstance(problem, ControlProblem) else "stopping"
    if field is not None:
        record["surrogate"] = field.recipe()
    if policy is not None:
        record["policy"] = policy.recipe()
    if problem.zoo is not None:
        record["zoo"] = problem.zoo
    return record
