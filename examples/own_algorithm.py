r"""Your own algorithm: AWAC whose weights have a fixed mean in every batch.

    python -m samg_jax.train --config=examples/quick.py:hopper-demo \
        --config.guidance.module=examples.own_algorithm \
        --config.algorithm=normalized_awac

The authors of AWAC normalize the weights over the batch; CORL and this package's AWAC
do not. Everything else is AWAC's, including the support of SAMG.
"""

import dataclasses
import sys

from samg_jax import algorithms, settings
from samg_jax.algorithms import awac


@dataclasses.dataclass(frozen=True)
class Config(awac.Config):
    """AWAC's hyperparameters, and one more.

    Attributes:
        mean_weight: The mean of the actor's weights in every batch.
    """

    mean_weight: float = settings.number(1.0, 0, open=True, sweepable=True)


@dataclasses.dataclass(frozen=True)
class NormalizedAWAC(awac.AWAC):
    """AWAC with normalized weights; see `types.Algorithm` for its methods."""

    def actor_loss(self, params, batch, weights):
        weights = weights / weights.mean() * self.config.mean_weight
        return super().actor_loss(params, batch, weights)


def make(config: Config, action_size: int) -> NormalizedAWAC:
    """The algorithm for actions of that size."""
    return NormalizedAWAC(**vars(awac.make(config, action_size)))


algorithms.register("normalized_awac", sys.modules[__name__])
