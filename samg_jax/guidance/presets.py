"""Named settings of the weight: the paper's, and the best that was measured here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samg_jax import checks

# Dotted fields of `config.guidance` that a preset decides; a preset leaves none out.
# The threshold is not among them: 0.5 leaves half of the offline data active or more
# with either, since the median of both kinds of probability is near 0.5 there. Nor are
# the cut and the width of the networks, which may be small where time is short.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "kind": "tail",
        "fit": "per_dimension",
        "use_std": False,
        "cvae.latent_size": None,  # Twice the action size.
        "cvae.beta": 0.5,
        "cvae.decoder_input": "latent",
        "cvae.reconstruct": "next_state",
        "cvae.scale_targets": False,
        "cvae.action_weight": 1.0,
    },
    "best": {
        "kind": "nearest",
        "fit": "per_dimension",
        "use_std": False,
        "cvae.latent_size": 24,
        "cvae.beta": 0.05,
        "cvae.decoder_input": "latent",
        "cvae.reconstruct": "next_state_action",
        "cvae.scale_targets": True,
        # Else the few dimensions of an action count little beside those of the state.
        "cvae.action_weight": 9.0,
    },
}
NAME = "config.guidance.weight_preset"


def fields(name: str) -> dict[str, Any]:
    """Returns the dotted fields of a preset; raises UserError for an unknown name."""
    checks.choice(NAME, name, PRESETS)
    return dict(PRESETS[name])


def fill(guidance: Any) -> None:
    """Gives, in place, the preset's value to each of its fields that is None.

    What a user has set is left alone, so a flag wins over the preset.

    Args:
        guidance: `config.guidance`, unlocked; one without presets is left as it is.
    """
    name = guidance.get("weight_preset")
    if name is None:
        return
    for field, value in fields(name).items():
        *parents, leaf = field.split(".")
        level = guidance
        for parent in parents:
            level = level[parent]
        if level[leaf] is None:
            level[leaf] = value


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted fields as nested dictionaries."""
    tree: dict[str, Any] = {}
    for field, value in flat.items():
        *parents, leaf = field.split(".")
        level = tree
        for parent in parents:
            level = level.setdefault(parent, {})
        level[leaf] = value
    return tree
