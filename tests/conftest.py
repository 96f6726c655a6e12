"""Compilation is most of what a test waits for. LLVM optimises less here, and programs are kept for the session, which
took 8 % off the whole suite, one run each."""

import atexit
import os
import shutil
import tempfile

# All of it before JAX starts. Workers and other processes inherit what the first one sets.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="uncurse-tests-")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
