"""What must be settled before JAX starts, and so before a user's file is run: a cache of programs, other processes."""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._target import BadInputError


def set_up(options: argparse.Namespace) -> None:
    """Obey `--cache` and `--process`."""
    if getattr(options, "cache", False):
        _keep_programs()
    if getattr(options, "process", None):
        _join(options.process)


def _keep_programs() -> None:
    """Keep compiled programs on disk for the next run: all of them, since most of ours take less than a second."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(caches) / "uncurse"))
    if "JAX_LOGGING_LEVEL" not in os.environ:
        jax.config.update("jax_logging_level", "ERROR")     # XLA warns of each program that it reads back
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _join(word: str) -> None:
    """Meet the other processes. The first of them listens."""
    import jax

    if word == "auto":
        settings: tuple = ()
    else:
        parts = re.fullmatch(r"(\d+)/(\d+)@(.+:\d+)", word)
        if parts is None or not int(parts[1]) < int(parts[2]):
            raise BadInputError(f"--process {word}: expected I/N@HOST:PORT with I from 0 to N - 1, or auto")
        settings = parts[3], int(parts[2]), int(parts[1])
    try:
        jax.distributed.initialize(*settings)
    except (RuntimeError, ValueError) as error:
        raise BadInputError(f"--process {word}: {error}") from error


def first_process() -> bool:
    import jax

    return jax.process_index() == 0


@contextmanager
def one_voice(options: argparse.Namespace) -> Iterator[None]:
    """Gloo connects processes on CPUs, and says so on standard output: let it say so on standard error."""
    if not options.process:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
