"""The fine-tuning protocols, every base by each of them from one checkpoint.

AWAC's are run by the tests of forking and of variants; here are the other bases.
"""

import numpy as np
import pytest

from samg_jax.experiment import resolve
from samg_jax.runs import lifecycle
from tests.fixtures import small_runs

WEIGHTS = {"no_data": "none", "samg_even": "even", "samg_random": "random"}
# What an update is guided by does not depend on the base, nor how a base is guided on
# the protocol: every base is trained with guidance, and every protocol by some base.
TRAINED = [
    *(("iql", protocol) for protocol in WEIGHTS),
    *(("cql", protocol) for protocol in ("no_data", "samg_random")),
    ("cal_ql", "samg_even"),
]


@pytest.fixture(scope="module")
def source(dataset, tmp_path_factory):
    """Returns a function base -> workdir of its offline phase, made once each.

    IQL is guided by its C-VAE to the end.
    """
    made = {}

    def get(base):
        if base not in made:
            folder = tmp_path_factory.mktemp(base) / "run"
            changes = {"online__steps": 0, "guidance__weight": "none"}
            changes = {} if base == "iql" else changes
            made[base] = small_runs.run(f"{base}_samg", dataset, folder, **changes)
        return made[base]

    return get


@pytest.fixture(scope="module")
def forked(source, dataset, tmp_path_factory):
    """Returns a function of a base and changes -> workdir of a fork, made once each."""
    made = {}

    def get(base, **changes):
        place = base, *sorted(changes.items())
        if place not in made:
            folder = tmp_path_factory.mktemp(base) / "run"
            changes |= {"offline__restore": str(source(base)), "online__steps": 60}
            made[place] = small_runs.run(f"{base}_samg", dataset, folder, **changes)
        return made[place]

    return get


@pytest.mark.parametrize("protocol", WEIGHTS)
@pytest.mark.parametrize("base", ["iql", "cql", "cal_ql"])
def test_a_protocol_of_a_base_is_one_field(base, protocol, dataset):
    config = small_runs.config(
        f"{base}_samg", dataset, guidance__weight=WEIGHTS[protocol]
    )
    resolve.experiment(config)
    assert lifecycle.variant(config.to_dict()) == protocol


def test_a_guided_run_trains_offline_and_online(source):
    rows = small_runs.evaluations(source("iql"))
    assert {row.phase for row in rows} == {"offline", "online"}
    assert not any(row.failed for row in rows)
    assert small_runs.saved(source("iql"))[small_runs.WEIGHTS].any()


@pytest.mark.parametrize(("base", "protocol"), TRAINED)
def test_a_base_fine_tunes_by_a_protocol(base, protocol, source, forked):
    workdir = forked(base, guidance__weight=WEIGHTS[protocol])
    offline, online = (
        small_runs.saved(source(base), "offline"),
        small_runs.saved(workdir),
    )
    assert online["['agent']['step']"] - offline["['agent']['step']"] == 35
    weights = online["['buffer']['weights']"]
    if protocol == "samg_random":
        assert len(np.unique(weights)) > 20
        assert 0 <= weights.min() <= weights.max() <= 1
    else:
        assert set(weights.ravel()) == {0.5 if protocol == "samg_even" else 0.0}
    starts = [row for row in small_runs.evaluations(workdir) if row.env_step == 0]
    last = [
        row
        for row in small_runs.evaluations(source(base))
        if row.phase == "offline" and row.offline_step == 60
    ]
    assert [row.return_mean for row in starts] == [row.return_mean for row in last]


def test_a_strength_of_zero_is_no_guidance(forked):
    none, random = ({"guidance__weight": weight} for weight in ("none", "random"))
    changes = none, {**random, "guidance__strength": 0.0}, random
    bare, zero, guided = (small_runs.saved(forked("iql", **one)) for one in changes)
    assert zero.pop(
        small_runs.WEIGHTS
    ).any()  # The buffer stores p before the strength.
    assert not bare.pop(small_runs.WEIGHTS).any()
    small_runs.assert_close_arrays({name: zero[name] for name in bare}, bare)
    # With a strength something else is learned.
    critic = "['agent']['critic']['params']['params']['MLP_0']['Dense_0']['bias']"
    rounding, learned = (
        np.abs(state[critic] - bare[critic]).max() for state in (zero, guided)
    )
    assert learned > 5 * max(rounding, 1e-7)
