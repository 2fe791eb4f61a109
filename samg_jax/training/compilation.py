"""Settings of JAX's compiler that all programs share."""

from __future__ import annotations

import pathlib

import jax

DEFAULT_CACHE = "~/.cache/samg_jax"


def use_cache(folder: str) -> None:
    """Keeps compiled programs between runs, in `folder`; nowhere if it is empty."""
    if folder and not jax.config.jax_compilation_cache_dir:
        path = pathlib.Path(folder).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(path))
