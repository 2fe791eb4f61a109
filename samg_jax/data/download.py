"""Downloads D4RL's files ahead of training, for machines without a network.

    python -m samg_jax.data.download hopper-medium antmaze-umaze

The files go to `D4RL_DATASET_DIR`, by default ~/.d4rl/datasets, where training looks
for them. The SHA-256 of a file that is there already is checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samg_jax import checks
from samg_jax.data import d4rl


def main(arguments: Sequence[str] | None = None) -> None:
    """Downloads the datasets that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="python -m samg_jax.data.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="hopper-medium, ...")
    names = parser.parse_args(arguments).names
    with checks.program("Interrupted. The same command goes on with the next file."):
        for name in [d4rl.canonical_name(name) for name in names]:
            path = d4rl.resolve(name)
            print(d4rl.difference(name, path) or f"{name}: {path}")


if __name__ == "__main__":
    main()
