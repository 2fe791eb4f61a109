r"""Cal-QL, offline then vanilla fine-tuning on half offline, half online data (CORL).

    python -m samg_jax.train --config=configs/cal_ql.py:antmaze-large-play

Expected time: that of `configs/cql.py`, the same networks.

Published (D4RL): antmaze-large-play 31.8 offline, 97.3 after a million online steps
(CORL); hopper-medium 88.6 after 500k (SAMG paper, vanilla column). CORL has no settings
for locomotion; see the table in `configs/base.py`. As in CORL, values are calibrated
while training offline only; the authors of Cal-QL keep calibrating, by the returns of
online episodes, as this does with --config.agent.calibrated_online=True.

CORL's scores after a million online steps need `--config.online.steps=1000000`; the
default is the SAMG paper's 500,000.
"""

import ml_collections

from samg_jax.configs import cql


def get_config(dataset: str = "hopper-demo") -> ml_collections.ConfigDict:
    """Returns the experiment for a dataset."""
    config = cql.get_config(dataset)
    config.algorithm = "cal_ql"
    config.agent.calibrated = True
    config.agent.initialization = "finetune"
    config.online.data = "mix"
    return config
