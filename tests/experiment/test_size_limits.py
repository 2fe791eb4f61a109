"""Sizes and counters that cannot be are refused at once, by their name."""

import time

import pytest

from samg_jax import checks
from samg_jax.benchmarking import benchmark_cases
from samg_jax.experiment import config_files, resolve, setting_values, size_limits
from tests.fixtures import called_programs, small_experiments


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("awac", {"num_seeds": 10**9}),
        ("awac", {"agent.hidden_dims": (10**9,)}),
        ("awac", {"agent.hidden_dims": (10**6, 10**6)}),
        ("cql", {"agent.critic_hidden_dims": (10**9, 2)}),
        ("spot", {"agent.vae_hidden_dims": (10**6, 10**6)}),
        ("awac", {"offline.batch_size": 10**9}),
        ("awac_samg", {"online.batch_size": 10**9}),
        ("awac_samg", {"online.buffer_size": 2 * 10**9, "online.steps": 2 * 10**9}),
        ("awac_samg", {"guidance.cvae.hidden_dim": 10**6}),
        ("awac_samg", {"guidance.cvae.encoder_layers": 10**9}),
        ("awac_samg", {"guidance.cvae.batch_size": 10**9}),
        ("awac", {"evaluation.episodes": 10**9}),
        ("cql", {"agent.num_samples": 10**8}),
    ],
)
def test_sizes_over_the_memory_are_refused_before_they_are_built(name, changes):
    config = small_experiments.CONFIGS[name]("hopper-demo")
    config.update_from_flattened_dict(changes)
    field = next(iter(changes))
    began = time.monotonic()
    with pytest.raises(checks.UserError, match=r"GB of memory; this machine") as error:
        resolve.experiment(config)
    assert f"config.{field}" in str(error.value)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"num_seeds": 10**20}, "Lower config.num_seeds."),
        ({"num_seeds": 10**9}, "Lower config.num_seeds."),
        ({"seed": 10**20}, "Lower config.seed."),
        ({"seed": 2**32 - 1, "num_seeds": 2}, "Lower config.seed."),
        ({"seed": -1}, "Set config.seed=0 or more."),
        ({"devices": -1}, "Set config.devices=0 or more."),
        ({"online.steps": -5}, "Set config.online.steps=0 or more."),
        ({"num_seeds": 0}, "Set config.num_seeds=1 or more."),
        (
            {"agent.hidden_dims": (10**9,)},
            "Lower config.agent.hidden_dims, or config.num_seeds.",
        ),
    ],
)
def test_the_advice_names_the_field_and_the_bound_that_are_wrong(changes, advice):
    config = small_experiments.CONFIGS["awac"]("hopper-demo")
    config.update_from_flattened_dict(changes)
    with pytest.raises(checks.UserError) as error:
        resolve.experiment(config)
    assert str(error.value).endswith(advice)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("awac", {"offline.updates": 10**18}),
        ("awac", {"online.steps": 2**31}),
        ("awac", {"online.steps": 2**30, "online.updates_per_step": 3}),
        ("awac", {"offline.eval_every": 2**40}),
        ("awac_samg", {"guidance.cvae.steps": 2**31}),
        ("awac_samg", {"guidance.cutoff_steps": 10**12}),
    ],
)
def test_counters_beyond_32_bits_are_refused(name, changes):
    config = small_experiments.CONFIGS[name]("hopper-demo")
    config.online.buffer_size = 100
    config.update_from_flattened_dict(changes)
    with pytest.raises(checks.UserError, match=r"below 2\*\*31"):
        resolve.experiment(config)


@pytest.mark.parametrize("name", small_experiments.CONFIGS)
def test_the_bound_is_below_what_the_published_sizes_take(name):
    fields = setting_values.flatten(
        small_experiments.CONFIGS[name]("antmaze-large-play").to_dict()
    )
    fields |= {"num_seeds": 1}
    assert sum(size_limits.least_bytes(fields, 29, 8).values()) < 4e9


def test_a_container_allows_less_than_the_machine(tmp_path, monkeypatch):
    whole = size_limits.machine_memory()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(
        size_limits, "_cgroup_limits", lambda: [tmp_path / "none", limit]
    )
    limit.write_text("max\n")
    assert size_limits.machine_memory() >= whole
    limit.write_text("1000000\n")
    assert size_limits.machine_memory() == 1e6
    with pytest.raises(checks.UserError, match="GB of memory"):
        size_limits.check(
            setting_values.flatten(
                small_experiments.CONFIGS["awac"]("hopper-demo").to_dict()
            )
        )


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"steps": 10**9}, r"--steps=1000000000: its rows take"),
        ({"steps": 2**31}, r"--steps is 2147483648; it must be below"),
        ({"train_steps": 10**12}, r"--train_steps is .* below 2\*\*31"),
        ({"hidden_dims": ["1000000", "1000000"]}, r"--hidden_dims=1000000,1000000"),
    ],
)
def test_sizes_of_a_collection_are_refused(values, match, tmp_path):
    with (
        called_programs.running(
            "collect", env="Hopper-v4", out=str(tmp_path / "x.hdf5"), **values
        ) as program,
        pytest.raises(checks.UserError, match=match),
    ):
        program.collect("command")


@pytest.mark.parametrize(
    "values",
    [{"seeds": 3_000_000}, {"batch_size": 1_500_000_000}, {"rows": 2_000_000_000}],
)
def test_sizes_of_a_benchmark_are_refused(values):
    case = benchmark_cases.Case("awac", **values)
    with pytest.raises(checks.UserError, match="GB of memory"):
        benchmark_cases.check([case], config_files.folder(None))
