r"""An algorithm of your own: AWAC whose weights have the mean 1 in every batch.

    python -m samg_jax.train --config=examples/quick.py:hopper-demo \
        --config.guidance.module=examples.own_algorithm \
        --config.algorithm=normalized_awac

The authors of AWAC normalize the weights over the batch; CORL and this package's AWAC
do not. All else is AWAC's, SAMG included: `guide` stands where it stood.
"""

import dataclasses
import sys

from samg_jax import algorithms
from samg_jax.algorithms import awac

Config = awac.Config


@dataclasses.dataclass(frozen=True)
class NormalizedAWAC(awac.AWAC):
    """AWAC with normalized weights; `types.Algorithm` is all that it may change."""

    def actor_loss(self, params, batch, weights):
        return super().actor_loss(params, batch, weights / weights.mean())


def make(config: Config, action_size: int) -> NormalizedAWAC:
    """The algorithm for actions of that size."""
    return NormalizedAWAC(**vars(awac.make(config, action_size)))


algorithms.register("normalized_awac", sys.modules[__name__])
