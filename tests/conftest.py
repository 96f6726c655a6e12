"""Compilation is most of what a test waits for: LLVM optimises less here, which saves a sixth of the whole."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")      # before JAX starts; processes inherit it
