"""The paper's C-VAE for each dataset, in one table (SAMG, 2024).

What the paper says of them: a simplified decoder, of one hidden layer, for hopper and
walker2d; annealing of the KL term for hopper; all else is the same everywhere. It does
not say how long it annealed: here the term is off for the first tenth of the 100,000
steps, and rises over the next two tenths.
"""

from __future__ import annotations

from typing import NamedTuple


class Settings(NamedTuple):
    """What differs between datasets; fields of `cvae.Config`."""

    decoder_layers: int = 2
    kl_warmup_start: int = 0
    kl_warmup_steps: int = 0


PLAIN = Settings()
SIMPLIFIED = Settings(decoder_layers=1)
ANNEALED = Settings(decoder_layers=1, kl_warmup_start=10_000, kl_warmup_steps=20_000)

DATASETS = {
    "halfcheetah-medium": PLAIN,
    "halfcheetah-medium-replay": PLAIN,
    "halfcheetah-medium-expert": PLAIN,
    "hopper-medium": ANNEALED,
    "hopper-medium-replay": ANNEALED,
    "hopper-medium-expert": ANNEALED,
    "walker2d-medium": SIMPLIFIED,
    "walker2d-medium-replay": SIMPLIFIED,
    "walker2d-medium-expert": SIMPLIFIED,
    "antmaze-umaze": PLAIN,
    "antmaze-umaze-diverse": PLAIN,
    "antmaze-medium-play": PLAIN,
    "antmaze-medium-diverse": PLAIN,
    "antmaze-large-play": PLAIN,
    "antmaze-large-diverse": PLAIN,
}
# Other data of the same robots, such as a file of your own or the demo.
ROBOTS = {"Hopper": ANNEALED, "Walker2d": SIMPLIFIED}


def published(dataset: str | None, env_id: str) -> dict[str, int]:
    """Returns the fields of `cvae.Config` that the table has for a dataset.

    Args:
        dataset: its name, with or without version; None for a file of your own.
        env_id: decides for what is not in the table.
    """
    robot = ROBOTS.get(env_id.split("-")[0], PLAIN)
    return DATASETS.get((dataset or "").removesuffix("-v2"), robot)._asdict()
