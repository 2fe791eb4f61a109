"""Minari builds an environment to learn its spaces; here, not as a stranger wishes.

If a dataset's metadata lack a space, the library calls what they name as the entry
point, with the arguments that they hold. That is allowed if it is what the installed
packages register under the same id, and otherwise only with `--trust`.
"""

from __future__ import annotations

import json

import gymnasium

from samg_jax import trust


def check(dataset_id: str) -> None:
    """Refuses a dataset whose metadata would run what nobody here has registered."""
    from minari.storage import datasets_root_dir  # Optional, and slow to import.

    try:
        path = datasets_root_dir.get_dataset_path(dataset_id)
    except OSError:
        return  # The library cannot open it either.
    # In a version of the library that keeps them elsewhere there is no such file.
    for file in (path / "data" / "metadata.json", path / "metadata.json"):
        try:
            metadata = json.loads(file.read_text())
            spec = json.loads(metadata.get("env_spec") or "null")
        except (OSError, ValueError, AttributeError, TypeError):
            continue  # The library says what is wrong with it.
        builds = not {"observation_space", "action_space"} <= set(metadata)
        if builds and spec is not None and not _is_registered(spec):
            trust.require(
                f"The Minari dataset {dataset_id!r} wants to call "
                f"{spec.get('entry_point')!r} with {spec.get('kwargs')}"
            )


def _is_registered(spec: dict) -> bool:
    known = gymnasium.registry.get(spec.get("id"))
    return (
        known is not None
        and isinstance(known.entry_point, str)
        and known.entry_point == spec.get("entry_point")
        and known.kwargs == (spec.get("kwargs") or {})
        and not spec.get("additional_wrappers")
    )
