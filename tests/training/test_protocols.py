"""The fine-tuning protocols, every base by each of them from one checkpoint.

AWAC's are run by the tests of forking and of variants; here are the other bases.
"""

import numpy as np
import pytest

from samg_jax.training import experiment
from tests import runs

WEIGHTS = {"no_data": "none", "samg_even": "even", "samg_random": "random"}


@pytest.fixture(scope="module")
def source(dataset, tmp_path_factory):
    """Returns a function base -> workdir of its offline phase, made once each."""
    made = {}

    def get(base):
        if base not in made:
            folder = tmp_path_factory.mktemp(base) / "run"
            changes = {"online__steps": 0, "guidance__weight": "none"}
            made[base] = runs.run(f"{base}_samg", dataset, folder, **changes)
        return made[base]

    return get


@pytest.mark.parametrize("protocol", WEIGHTS)
@pytest.mark.parametrize("base", ["iql", "cql", "cal_ql"])
def test_a_base_fine_tunes_by_a_protocol(base, protocol, source, dataset, tmp_path):
    changes = {
        "guidance__weight": WEIGHTS[protocol],
        "offline__restore": str(source(base)),
        "online__steps": 30,
    }
    config = runs.config(f"{base}_samg", dataset, **changes)
    assert experiment.variant(config) == protocol
    runs.run(f"{base}_samg", dataset, tmp_path, **changes)
    offline, online = runs.saved(source(base), "offline"), runs.saved(tmp_path)
    assert online["['agent']['step']"] - offline["['agent']['step']"] == 5
    weights = online["['buffer']['weights']"]
    if protocol == "samg_random":
        assert len(np.unique(weights)) > 20
        assert 0 <= weights.min() <= weights.max() <= 1
    else:
        assert set(weights.ravel()) == {0.5 if protocol == "samg_even" else 0.0}
    starts = [row for row in runs.evaluations(tmp_path) if row.env_step == 0]
    last = [row for row in runs.evaluations(source(base)) if row.offline_step == 60]
    assert [row.return_mean for row in starts] == [row.return_mean for row in last]
