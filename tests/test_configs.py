"""Every config file: its values, its lock, and one update with it."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from configs import base
from samg_jax.experiment import resolve, setting_values
from samg_jax.guidance import cvae_settings, guided_target
from samg_jax.types import unguided
from tests.fixtures import small_experiments, toy_problems

LOCOMOTION = [
    f"{agent}-{level}"
    for agent in ("halfcheetah", "hopper", "walker2d")
    for level in ("medium", "medium-replay", "medium-expert")
]
ANTMAZE = [
    "antmaze-umaze",
    "antmaze-umaze-diverse",
    "antmaze-medium-play",
    "antmaze-medium-diverse",
    "antmaze-large-play",
    "antmaze-large-diverse",
]
D4RL = [*LOCOMOTION, *ANTMAZE]
NAMES = [*D4RL, "walker2d-medium-expert-v2", "antmaze-umaze-v2", "hopper-demo"]
SIZES = {
    "halfcheetah": (17, 6),
    "hopper": (11, 3),
    "walker2d": (17, 6),
    "antmaze": (29, 8),
}

# CORL's tables, typed in again: the defaults, then what differs by dataset.
AWAC = {
    "learning_rate": 3e-4,
    "hidden_dims": (256, 256, 256),
    "discount": 0.99,
    "tau": 0.005,
    "inverse_temperature": 1 / 0.3333,
    "inverse_temperature_online": None,
    "max_weight": 100.0,
}
CQL = {
    "actor_learning_rate": 3e-5,
    "critic_learning_rate": 3e-4,
    "actor_hidden_dims": (256, 256, 256),
    "critic_hidden_dims": (256, 256, 256),
    "second_critic_hidden_dims": None,
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
    "calibrated": False,
    "calibrated_online": False,
}
IQL = {
    "learning_rate": 3e-4,
    "hidden_dims": (256, 256),
    "discount": 0.99,
    "tau": 0.005,
    "expectile": 0.7,
    "inverse_temperature": 3.0,
    "max_weight": 100.0,
    "deterministic": False,
    "exploration_noise": 0.03,
    "actor_schedule": "cosine",
}
BC = {"learning_rate": 3e-4, "hidden_dims": (256, 256)}
TD3_BC = {
    "learning_rate": 3e-4,
    "hidden_dims": (256, 256),
    "discount": 0.99,
    "tau": 0.005,
    "value_weight": 2.5,
    "policy_noise": 0.2,
    "noise_limit": 0.5,
    "policy_delay": 2,
    "exploration_noise": 0.1,
}
SPOT = {
    "actor_learning_rate": 1e-4,
    "critic_learning_rate": 3e-4,
    "hidden_dims": (256, 256),
    "actor_head_bound": 1e-3,
    "critic_head_bound": 3e-3,
    "discount": 0.99,
    "discount_online": 0.995,
    "tau": 0.005,
    "support_floor": 0.2,
    "policy_noise": 0.2,
    "noise_limit": 0.5,
    "policy_delay": 2,
    "exploration_noise": 0.1,
    "vae_steps": 100_000,
    "vae_learning_rate": 1e-3,
    "vae_hidden_dims": (750, 750),
    "vae_beta": 0.5,
}
CQL_ANTMAZE = {
    "actor_learning_rate": 1e-4,
    "critic_hidden_dims": (256, 256, 256, 256, 256),
    "initialization": "finetune",
    "cql_weight": 5.0,
    "lagrange_gap": 0.8,
    "max_target_backup": True,
    "gap_clip_min": -200.0,
}
IQL_HOPPER = {"tau": 0.001, "deterministic": True}
# SPOT's weights: CORL's on AntMaze, the authors' elsewhere.
SUPPORT = {
    "antmaze-umaze": 0.25,
    "antmaze-umaze-diverse": 0.25,
    "antmaze-medium-play": 0.05,
    "antmaze-medium-diverse": 0.025,
    "antmaze-large-play": 0.025,
    "antmaze-large-diverse": 0.025,
    "halfcheetah-medium": 0.05,
    "halfcheetah-medium-replay": 0.05,
    "halfcheetah-medium-expert": 1.0,
    "hopper-medium": 0.1,
    "hopper-medium-replay": 0.1,
    "hopper-medium-expert": 0.2,
    "walker2d-medium": 0.2,
    "walker2d-medium-replay": 0.2,
    "walker2d-medium-expert": 0.5,
    "hopper-demo": 0.1,
}


def agent(config_name, task):
    """Returns the published hyperparameters of an experiment on a task."""
    algorithm, antmaze = config_name.removesuffix("_samg"), task.startswith("antmaze")
    if algorithm == "awac":
        return {**AWAC, **({"inverse_temperature": 1 / 0.1} if antmaze else {})}
    if algorithm in ("cql", "cal_ql"):
        hyperparameters = {**CQL, **(CQL_ANTMAZE if antmaze else {})}
        if algorithm == "cal_ql":
            hyperparameters |= {"initialization": "finetune", "calibrated": True}
        if antmaze and config_name.endswith("_samg"):
            hyperparameters["cql_weight_online"] = 2.5
        return hyperparameters
    if algorithm == "iql":
        if antmaze:
            return {**IQL, "expectile": 0.9, "inverse_temperature": 10.0}
        if task in ("hopper-medium", "hopper-medium-replay"):
            return {**IQL, **IQL_HOPPER}
        if task == "hopper-medium-expert":
            return {**IQL, "expectile": 0.5, "inverse_temperature": 6.0}
        return IQL
    if algorithm == "spot":
        hyperparameters = {**SPOT, "support_weight": SUPPORT[task]}
        if not antmaze:
            hyperparameters |= {
                "actor_learning_rate": 3e-4,
                "actor_head_bound": None,
                "critic_head_bound": None,
                "discount_online": None,
            }
        return hyperparameters
    return {"bc": BC, "td3_bc": TD3_BC}[algorithm]


def rewards(algorithm, task):
    """Returns transform, scale and bias."""
    if task.startswith("antmaze") and algorithm != "bc":
        conservative = algorithm in ("cql", "cal_ql")
        return ("affine", 10.0, -5.0) if conservative else ("affine", 1.0, -1.0)
    scaled = {
        "hopper-medium": ("cql", "cal_ql", "iql"),
        "hopper-medium-replay": ("iql",),
    }
    return ("range" if algorithm in scaled.get(task, ()) else "none", 1.0, 0.0)


def is_normalized(algorithm, task):
    return not (task.startswith("antmaze") and algorithm in ("cql", "cal_ql", "spot"))


ONLINE_DATA = {
    "online.data": ("append", "buffer"),
    "online.buffer_size": (10_000_000, 50_000),
    "online.warmup_steps": (0, 1_000),
}


def fields(config):
    return setting_values.flatten(config.to_dict())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config_name", small_experiments.CONFIGS)
def test_hyperparameters_are_the_published_ones(config_name, name):
    config = small_experiments.CONFIGS[config_name](name)
    task, algorithm = name.removesuffix("-v2"), config_name.removesuffix("_samg")
    assert config.algorithm == algorithm
    assert config.agent.to_dict() == agent(config_name, task)
    transform, scale, bias = rewards(algorithm, task)
    assert config.dataset.to_dict() == {
        "name": task if task == "hopper-demo" else f"{task}-v2",
        "family": base.family_of(task),
        "path": None,
        "normalize_observations": is_normalized(algorithm, task),
        "reward_transform": transform,
        "reward_scale": scale,
        "reward_bias": bias,
        "drop_unfinished": algorithm == "bc",
    }
    behavior = config.agent.get("vae_steps", 0)
    assert config.offline.updates - behavior == 1_000_000
    assert config.offline.batch_size == 256
    assert config.online.steps == {"iql": 1_000_000, "bc": 0, "td3_bc": 0}.get(
        algorithm, 500_000
    )
    episodes = 100 if task.startswith("antmaze") else 10
    assert config.evaluation.episodes == episodes
    assert (config.online.batch_size, config.online.updates_per_step) == (256, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config_name", small_experiments.CONFIGS)
def test_config_is_valid_and_builds(config_name, name):
    config = small_experiments.CONFIGS[config_name](name)
    resolve.experiment(config)
    experiment = resolve.experiment(config)
    sizes = SIZES[name.split("-")[0]]
    assert (experiment.task.observation_size, experiment.task.action_size) == sizes
    assert experiment.physics == "d4rl"
    assert experiment.task.ref_max is not None
    assert (experiment.model is not None) == config_name.endswith("_samg")


def shape(value):
    """What of a setting shapes a program; numbers are only values in it."""
    if isinstance(value, float):
        return "zero" if value == 0 else math.isfinite(value)
    return value


def distinct_programs():
    """Pairs of a config file and the first dataset of each program that it makes."""
    found = {}
    for experiment, get_config in small_experiments.CONFIGS.items():
        for name in NAMES:
            settings = get_config(name).agent.to_dict()
            shapes = {key: shape(value) for key, value in settings.items()}
            antmaze = name.startswith("antmaze")
            found.setdefault((experiment, antmaze, str(shapes)), (experiment, name))
    return list(found.values())


PROGRAMS = {}


def compiled(name, experiment, function):
    """Returns the function compiled; the same one for the same settings and sizes."""
    settings = dataclasses.asdict(experiment.algorithm.config)
    if name != "guided":
        settings.pop("cql_weight_online", None)  # Not read before.
    sizes = experiment.task.observation_size, experiment.task.action_size
    key = name, type(experiment.algorithm), *sizes, str(sorted(settings.items()))
    return PROGRAMS.setdefault(key, jax.jit(function))


def one_update(phase, experiment, updates=1):
    """Returns `(key, batch) -> (before, after, metrics)`."""

    def init(key, batch):
        return experiment.algorithm.init(key, batch.observations)

    def train(before, key, batch):
        algorithm = experiment.algorithm if phase == "offline" else experiment.online
        guide = unguided
        if phase == "guided":
            offline = algorithm.value_params(before)
            guide = guided_target.make_guide(offline, batch.weights)
        after = algorithm.start_online(before) if phase != "offline" else before
        for _ in range(updates):
            after, metrics = algorithm.update(after, batch, key, guide)
        return after, metrics

    def both(key, batch):
        before = compiled("init", experiment, init)(key, batch)
        return before, *compiled(phase, experiment, train)(before, key, batch)

    return both


def check_update(update, sizes, steps, trained):
    """Takes the update on random data; everything is finite, what trains has moved."""
    batch = toy_problems.random_batch(np.random.default_rng(0), 5, *sizes)
    before, after, metrics = update(jax.random.key(0), batch)
    assert after.step == steps
    for leaf in jax.tree.leaves((after, metrics)):
        assert np.isfinite(leaf).all()
    for model in trained:
        trees = [getattr(state, model).params for state in (before, after)]
        old, new = (jax.tree.leaves(tree) for tree in trees)
        assert all(np.any(a != b) for a, b in zip(old, new, strict=True))


# The values of all others are compared above; what they compile is the same.
@pytest.mark.parametrize(("config_name", "name"), distinct_programs())
def test_one_update_with_the_published_hyperparameters(config_name, name):
    experiment = resolve.experiment(small_experiments.CONFIGS[config_name](name))
    sizes = SIZES[name.split("-")[0]]
    trained = {"bc": ["actor"], "td3_bc": ["critic"], "spot": ["vae"]}
    algorithm = config_name.removesuffix("_samg")
    both = ["actor", "critic"]
    offline = one_update("offline", experiment)
    check_update(offline, sizes, 1, trained.get(algorithm, both))
    if config_name.endswith("_samg"):
        check_update(one_update("guided", experiment), sizes, 1, both)
    if config_name == "spot":  # Its policy learns at every second update.
        check_update(one_update("online", experiment, updates=2), sizes, 2, both)


def test_what_follows_from_the_rest_of_a_config_reaches_the_algorithm():
    config = small_experiments.CONFIGS["iql"]("hopper-demo")
    config.offline.updates = 777
    assert resolve.experiment(config).algorithm.config.schedule_steps == 777
    config = small_experiments.CONFIGS["spot"]("hopper-demo")
    config.online.update({"steps": 50, "warmup_steps": 10, "updates_per_step": 3})
    assert resolve.experiment(config).online.config.cooling_steps == 120
    config = small_experiments.CONFIGS["cql_samg"]("hopper-demo")
    assert resolve.experiment(config).algorithm.config.guided_penalty
    config.guidance.penalty = "online"
    assert not resolve.experiment(config).algorithm.config.guided_penalty


def test_values_that_cannot_work_together_are_refused():
    config = small_experiments.CONFIGS["spot"]("hopper-demo")
    config.offline.updates = 99_999
    with pytest.raises(ValueError, match=r"first 100000.*gives 99999"):
        resolve.experiment(config)
    config = small_experiments.CONFIGS["bc"]("hopper-demo")
    config.guidance.weight = "constant"
    with pytest.raises(ValueError, match="no value that could be guided"):
        resolve.experiment(config)
    config = small_experiments.CONFIGS["cql"]("hopper-demo")
    config.agent.calibrated_online = True
    with pytest.raises(ValueError, match="kept while fine-tuning, not begun"):
        resolve.experiment(config)
    config.agent.calibrated = True
    resolve.experiment(config)
    config = small_experiments.CONFIGS["iql"]("hopper-demo")
    config.agent.actor_schedule = "linear"
    with pytest.raises(ValueError, match=r"'linear'.*'cosine' and 'constant'"):
        resolve.from_fields(config.to_dict())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", small_experiments.BASES)
def test_samg_changes_the_online_data_and_adds_the_guidance_only(algorithm, name):
    vanilla = fields(small_experiments.CONFIGS[algorithm](name))
    samg = fields(small_experiments.CONFIGS[f"{algorithm}_samg"](name))
    differing = {
        field: (vanilla.get(field), samg[field])
        for field in samg
        if not field.startswith("guidance.") and vanilla.get(field) != samg[field]
    }
    expected = dict(ONLINE_DATA)
    if algorithm == "cal_ql":
        expected["online.data"] = ("mix", "buffer")
    if name.startswith("antmaze") and algorithm in ("cql", "cal_ql"):
        expected["agent.cql_weight_online"] = (None, 2.5)
    assert differing == expected
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
        ("antmaze-large-play", 2, (0, 0)),
    ],
)
def test_guidance_is_the_papers(name, decoder_layers, warmup):
    guidance = resolve.experiment(small_experiments.CONFIGS["awac_samg"](name)).guidance
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


def test_the_table_of_cvaes_has_every_published_dataset():
    published = {*base.FAMILIES["locomotion"], *base.FAMILIES["antmaze"]}
    assert set(cvae_settings.DATASETS) == published
    assert len(published) == 15
    for name in published:
        robot = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4"}.get(
            name.split("-")[0], "HalfCheetah-v4"
        )
        own_file = cvae_settings.published(None, robot)
        assert cvae_settings.published(f"{name}-v2", "Any-v0") == own_file


@pytest.mark.parametrize("config_name", small_experiments.CONFIGS)
def test_misspelled_field_is_refused_and_the_nearest_proposed(config_name):
    config = small_experiments.CONFIGS[config_name]("hopper-medium")
    with pytest.raises(AttributeError, match='Did you mean "num_seeds"'):
        config.num_seed = 3
    name = next(iter(config.agent))
    with pytest.raises(AttributeError, match=f'Did you mean "{name}"'):
        setattr(config.agent, name[:-1], 0.5)
    with pytest.raises(KeyError, match='Did you mean "batch_size"'):
        config.update({"online": {"batchsize": 3}})


@pytest.mark.parametrize("config_name", small_experiments.CONFIGS)
def test_value_of_another_type_is_refused(config_name):
    config = small_experiments.CONFIGS[config_name]("hopper-medium")
    with pytest.raises(TypeError):
        config.num_seeds = "eight"


@pytest.mark.parametrize("config_name", small_experiments.CONFIGS)
def test_unknown_dataset_is_refused_and_the_nearest_proposed(config_name):
    with pytest.raises(ValueError, match="Did you mean 'hopper-medium'") as info:
        small_experiments.CONFIGS[config_name]("hoper-medium")
    for text in ("'hoper-medium'", "walker2d-medium-expert", "config.dataset.path="):
        assert text in str(info.value)


@pytest.mark.parametrize("config_name", small_experiments.CONFIGS)
def test_config_can_be_written_as_json(config_name):
    config = small_experiments.CONFIGS[config_name]("hopper-medium")
    before = setting_values.flatten(json.loads(json.dumps(config.to_dict())))
    assert before == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fields(config).items()
    }


def test_every_known_dataset_has_a_family():
    assert {name for names in base.FAMILIES.values() for name in names} == {
        *D4RL,
        "hopper-demo",
    }
    for name in NAMES:
        family = {"antmaze": "antmaze", "hopper-demo": "demo"}.get(
            name if name == "hopper-demo" else name.split("-")[0], "locomotion"
        )
        assert base.family_of(name) == family


def test_the_threshold_of_cal_ql_on_antmaze_is_the_papers():
    make = small_experiments.CONFIGS["cal_ql_samg"]
    assert make("antmaze-umaze").guidance.threshold == 0.4
    assert make("hopper-medium").guidance.threshold == 0.5
    assert (
        small_experiments.CONFIGS["cql_samg"]("antmaze-umaze").guidance.threshold == 0.5
    )
