r"""Your own weight: trusts the frozen critic where actions are small.

python -m samg_jax.train --config=examples/quick.py:hopper-demo \
        --config.guidance.module=examples.own_weight --config.guidance.weight=gentle
"""

import jax.numpy as jnp

from samg_jax.guidance import weights


def gentle(config, guidance, observations, actions, next_observations, key):
    """p(s, a), `[B]`, of `[B, O]` raw observations and `[B, A]` actions."""
    del config, guidance, observations, next_observations, key
    return jnp.exp(-jnp.mean(jnp.square(actions), axis=-1))


weights.register("gentle", gentle)
