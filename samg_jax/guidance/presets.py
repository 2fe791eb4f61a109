"""Named settings of the weight: the paper's, and the best measured here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samg_jax import checks

# Fields of `config.guidance`, with dots, that a preset decides; each preset sets all of
# them. The threshold is not among them: with either preset, 0.5 leaves at least half of
# the offline data active, because the median of p_int is near 0.5. The cut and the
# network widths are not either, as a user with little time may want small networks.
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
        # Without it, an action's few dimensions count little beside the state's.
        "cvae.action_weight": 9.0,
    },
}
NAME = "config.guidance.weight_preset"


def fields(name: str) -> dict[str, Any]:
    """The dotted fields of a preset; raises UserError for an unknown name."""
    checks.choice(NAME, name, PRESETS)
    return dict(PRESETS[name])


def fill(guidance: Any) -> None:
    """Sets, in place, each field of the preset that is None.

    Fields that the user has set stay, so a flag wins over the preset.

    Args:
        guidance: The unlocked `config.guidance`; one without presets stays as it is.
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
    """Dotted fields as nested dictionaries."""
    tree: dict[str, Any] = {}
    for field, value in flat.items():
        *parents, leaf = field.split(".")
        level = tree
        for parent in parents:
            level = level.setdefault(parent, {})
        level[leaf] = value
    return tree
