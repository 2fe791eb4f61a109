"""The paper's C-VAE settings for each dataset, in one table (SAMG, 2024).

The paper reports a simplified decoder with one hidden layer for hopper and walker2d,
annealing of the KL term for hopper, and equal settings elsewhere. It does not report
the length of the annealing: here the term is off for the first tenth of the 100,000
steps, and rises over the next two tenths.
"""

from __future__ import annotations

from typing import NamedTuple


class Settings(NamedTuple):
    """The fields of `cvae.Config` that differ between datasets."""

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
# Other data of these robots, such as your own file or the demo.
ROBOTS = {"Hopper": ANNEALED, "Walker2d": SIMPLIFIED}


def published(dataset: str | None, env_id: str) -> dict[str, int]:
    """The table's fields of `cvae.Config` for a dataset.

    Args:
        dataset: The dataset's name, with or without version; None for your own file.
        env_id: The environment, which decides for datasets outside the table.
    """
    robot = ROBOTS.get(env_id.split("-")[0], PLAIN)
    return DATASETS.get((dataset or "").removesuffix("-v2"), robot)._asdict()
