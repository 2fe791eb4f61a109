"""Every config file: its values, its lock, and one update with it."""

import json
import math

import jax
import numpy as np
import pytest

from configs import base
from samg_jax.training import parts as parts_lib
from samg_jax.training import validation
from tests import small, toy

LOCOMOTION = [
    f"{agent}-{level}"
    for agent in ("halfcheetah", "hopper", "walker2d")
    for level in ("medium", "medium-replay", "medium-expert")
]
NAMES = [*LOCOMOTION, *(f"{name}-v2" for name in LOCOMOTION), "hopper-demo"]
SIZES = {"halfcheetah": (17, 6), "hopper": (11, 3), "walker2d": (17, 6)}

# CORL's tables, typed in again; every dataset has the same but for `REWARDS`.
AWAC = {
    "learning_rate": 3e-4,
    "hidden_dims": (256, 256, 256),
    "discount": 0.99,
    "tau": 0.005,
    "inverse_temperature": 1 / 0.3333,
    "max_weight": 100.0,
}
CQL = {
    "actor_learning_rate": 3e-5,
    "critic_learning_rate": 3e-4,
    "actor_hidden_dims": (256, 256, 256),
    "critic_hidden_dims": (256, 256, 256),
    "initialization": "offline",
    "discount": 0.99,
    "tau": 0.005,
    "cql_weight": 10.0,
    "cql_weight_online": None,
    "num_samples": 10,
    "softmax_temperature": 1.0,
    "gap_clip_min": -math.inf,
    "gap_clip_max": math.inf,
    "lagrange_gap": None,
    "max_target_backup": False,
    "backup_entropy": False,
}
AGENTS = {"awac": AWAC, "awac_samg": AWAC, "cql": CQL, "cql_samg": CQL}
REWARDS = {("cql", "hopper-medium"): "range"}

ONLINE_DATA = {
    "online.data": ("append", "buffer"),
    "online.buffer_size": (10_000_000, 50_000),
    "online.warmup_steps": (0, 1_000),
}


def fields(config):
    return validation.flatten(config.to_dict())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("experiment", small.CONFIGS)
def test_hyperparameters_are_the_published_ones(experiment, name):
    config = small.CONFIGS[experiment](name)
    task, algorithm = name.removesuffix("-v2"), experiment.removesuffix("_samg")
    assert config.algorithm == algorithm
    assert config.agent.to_dict() == AGENTS[experiment]
    assert config.dataset.to_dict() == {
        "name": task if task == "hopper-demo" else f"{task}-v2",
        "path": None,
        "normalize_observations": True,
        "reward_transform": REWARDS.get((algorithm, task), "none"),
        "reward_scale": 1.0,
        "reward_bias": 0.0,
    }
    assert (config.offline.updates, config.offline.batch_size) == (1_000_000, 256)
    assert (config.online.batch_size, config.online.updates_per_step) == (256, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("experiment", small.CONFIGS)
def test_config_is_valid_and_builds(experiment, name):
    config = small.CONFIGS[experiment](name)
    validation.check(config)
    parts = parts_lib.resolve(config)
    sizes = SIZES[name.split("-")[0]]
    assert (parts.task.observation_size, parts.task.action_size) == sizes
    assert parts.physics == "d4rl"
    assert parts.task.ref_max is not None
    assert (parts.cvae is not None) == experiment.endswith("_samg")


@pytest.mark.parametrize("agent", SIZES)
@pytest.mark.parametrize("algorithm", ["awac", "cql"])
def test_one_update_with_the_published_hyperparameters(algorithm, agent):
    # SAMG's agents are equal to these, and so are those of the other levels.
    parts = parts_lib.resolve(small.CONFIGS[algorithm](f"{agent}-medium-expert"))
    rng = np.random.default_rng(0)
    batch = toy.random_batch(rng, 5, *SIZES[agent])

    @jax.jit
    def one_update(key, batch):
        state = parts.algorithm.init(key, batch.observations)
        return state, parts.algorithm.update(state, batch, key)

    before, (after, metrics) = one_update(jax.random.key(0), batch)
    assert after.step == 1
    assert all(
        np.isfinite(value)
        for value in jax.tree.leaves((after, metrics))
        for value in [np.asarray(value).sum()]
    )
    for model in ("actor", "critic"):
        old, new = getattr(before, model).params, getattr(after, model).params
        changed = [
            np.any(a != b)
            for a, b in zip(*map(jax.tree.leaves, (old, new)), strict=True)
        ]
        assert all(changed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["awac", "cql"])
def test_samg_changes_the_online_data_and_adds_the_guidance_only(algorithm, name):
    vanilla = fields(small.CONFIGS[algorithm](name))
    samg = fields(small.CONFIGS[f"{algorithm}_samg"](name))
    differing = {
        field: (vanilla.get(field), samg[field])
        for field in samg
        if not field.startswith("guidance.") and vanilla.get(field) != samg[field]
    }
    assert differing == ONLINE_DATA
    assert set(vanilla) <= set(samg)
    assert {field for field in vanilla if field.startswith("guidance.")} == {
        "guidance.weight"
    }
    assert (vanilla["guidance.weight"], samg["guidance.weight"]) == ("none", "cvae")


@pytest.mark.parametrize(
    ("name", "decoder_layers", "warmup"),
    [
        ("halfcheetah-medium", 2, (0, 0)),
        ("walker2d-medium", 1, (0, 0)),
        ("hopper-medium-v2", 1, (10_000, 20_000)),
        ("hopper-demo", 1, (10_000, 20_000)),
    ],
)
def test_guidance_is_the_papers(name, decoder_layers, warmup):
    guidance = small.CONFIGS["awac_samg"](name).guidance
    assert guidance.threshold == 0.5
    assert guidance.strength == 1.0
    assert guidance.cutoff_steps is None
    assert guidance.threshold_quantile is None
    assert (guidance.kind, guidance.cut) == ("tail", "hard")
    cvae = guidance.cvae
    assert (cvae.encoder_layers, cvae.decoder_layers) == (2, decoder_layers)
    assert (cvae.kl_warmup_start, cvae.kl_warmup_steps) == warmup
    assert (cvae.beta, cvae.learning_rate, cvae.hidden_dim) == (0.5, 1e-3, 400)
    assert (cvae.decoder_input, cvae.reconstruct) == ("latent", "next_state")


@pytest.mark.parametrize("experiment", small.CONFIGS)
def test_misspelt_field_is_refused_and_the_nearest_proposed(experiment):
    config = small.CONFIGS[experiment]("hopper-medium")
    with pytest.raises(AttributeError, match='Did you mean "num_seeds"'):
        config.num_seed = 3
    with pytest.raises(AttributeError, match='Did you mean "discount"'):
        config.agent.discuont = 0.9
    with pytest.raises(KeyError, match='Did you mean "batch_size"'):
        config.update({"online": {"batchsize": 3}})


@pytest.mark.parametrize("experiment", small.CONFIGS)
def test_value_of_another_type_is_refused(experiment):
    config = small.CONFIGS[experiment]("hopper-medium")
    with pytest.raises(TypeError):
        config.num_seeds = "eight"


@pytest.mark.parametrize("experiment", small.CONFIGS)
def test_unknown_dataset_is_refused_and_the_nearest_proposed(experiment):
    with pytest.raises(ValueError, match="Did you mean 'hopper-medium'") as info:
        small.CONFIGS[experiment]("hoper-medium")
    for text in ("'hoper-medium'", "walker2d-medium-expert", "--config.dataset.path="):
        assert text in str(info.value)


@pytest.mark.parametrize("experiment", small.CONFIGS)
def test_config_can_be_written_as_json(experiment):
    config = small.CONFIGS[experiment]("hopper-medium")
    before = validation.flatten(json.loads(json.dumps(config.to_dict())))
    assert before == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fields(config).items()
    }


def test_every_known_dataset_has_a_family():
    assert {name for names in base.FAMILIES.values() for name in names} == {
        *LOCOMOTION,
        "hopper-demo",
    }
    for name in NAMES:
        family = "demo" if name == "hopper-demo" else "locomotion"
        assert base.family_of(name) == family
