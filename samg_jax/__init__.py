"""SAMG and its baselines: offline-to-online reinforcement learning in JAX."""

import os

# XLA calls LAPACK from its own threads; where OpenBLAS starts threads in each of them,
# they wait for one another for minutes on a small machine. Must be set before JAX is
# imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from samg_jax import startup

if startup.is_program():
    os.environ["MPLBACKEND"] = "Agg"  # Programs draw files only, whatever is set.
    startup.open_missing()  # A program reads its flags before it imports libraries.
    startup.end_at_signals()
else:
    startup.import_mujoco()

__version__ = "0.1.0"
