"""Fields that a run does not read are named, or refused where a neighbor decides."""

import pytest

from samg_jax import checks
from samg_jax.experiment import command_line, resolve, suite_files, unread_fields
from samg_jax.suites import job_list, suite_program
from tests.fixtures import tiny_suite


def check(name, *fields):
    """What is said of fields that were set, such as `online.steps=0`."""
    arguments = [f"--config.{field}" for field in fields]
    found, _ = command_line.read([f"--config=configs/{name}.py", *arguments])
    record = resolve.experiment(found.config).record
    return unread_fields.check(record, found.given)


@pytest.mark.parametrize(
    ("name", "fields", "match"),
    [
        ("awac", ["dataset.reward_scale=0.1"], "reward_transform is 'none'"),
        ("iql", ["dataset.reward_bias=-1"], "reward_transform is 'none'"),
        ("awac", ["online.offline_share=0.3"], "online.data is 'append'"),
        ("awac_samg", ["guidance.delta=2"], "kind is 'tail'"),
        ("awac_samg", ["guidance.temperature=0.1"], "guidance.cut is 'hard'"),
        ("awac_samg", ["guidance.references=9000"], "kind is 'tail'"),
        (
            "awac_samg",
            ["guidance.threshold_quantile=0.2", "guidance.threshold=0.1"],
            "the threshold is a quantile",
        ),
        ("awac_samg", ["guidance.cvae.action_weight=2"], "reconstruct is"),
        ("iql", ["agent.exploration_noise=0.1"], "deterministic is False"),
    ],
)
def test_what_one_neighbor_switches_off_is_refused(name, fields, match):
    with pytest.raises(checks.UserError, match=match):
        check(name, *fields)


@pytest.mark.parametrize(
    "fields",
    [
        ["dataset.reward_transform=affine", "dataset.reward_scale=0.1"],
        ["guidance.kind=window", "guidance.delta=2"],
        ["guidance.cut=soft", "guidance.temperature=0.1"],
        ["guidance.weight_preset=best", "guidance.references=9000"],
        [
            "guidance.cvae.reconstruct=next_state_action",
            "guidance.cvae.action_weight=2",
        ],
        ["guidance.weight=constant", "guidance.constant=0.3"],
        ["offline.updates=5", "online.steps=1e4", "evaluation.threads=1"],
    ],
)
def test_what_is_read_is_not_mentioned(fields):
    assert check("awac_samg", *fields) == ""


def test_one_warning_names_all_that_is_not_read():
    fields = ["guidance.weight=none", "guidance.cvae.steps=9", "guidance.kind=joint"]
    said = check("awac_samg", *fields, "online.offline_share=0.5")
    assert "config.guidance.cvae.steps (config.guidance.weight is 'none')" in said
    assert "config.guidance.kind" in said
    # Refused with another value; with its own it changes nothing.
    assert "config.online.offline_share (config.online.data is 'buffer')" in said
    assert "guidance.weight (" not in said


@pytest.mark.parametrize(
    ("name", "fields", "named"),
    [
        ("cql", ["online.steps=0", "online.data=mix"], "online.data"),
        ("cql", ["agent.cql_weight=0", "agent.lagrange_gap=1"], "agent.lagrange_gap"),
        ("awac", ["offline.restore=x", "offline.updates=5"], "offline.updates"),
        ("awac_samg", ["guidance.penalty=online"], "guidance.penalty"),
        ("awac_samg", ["guidance.weight=even", "guidance.cut=soft"], "guidance.cut"),
        ("bc", ["dataset.reward_transform=range"], "dataset.reward_transform"),
        ("spot", ["agent.vae_steps=0", "agent.vae_learning_rate=1"], "vae_learning"),
    ],
)
def test_what_phases_algorithms_and_weights_decide_is_warned_of(name, fields, named):
    assert named in check(name, *fields)


def test_the_schedule_of_a_forked_iql_reads_the_offline_updates():
    assert check("iql", "offline.restore=x", "offline.updates=5") == ""
    fields = ["agent.actor_schedule=constant", "offline.updates=5"]
    assert "offline.updates" in check("iql", "offline.restore=x", *fields)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (["dataset.reward_scale=0"], "makes all rewards equal"),
        (["dataset.reward_scale=1e-40"], "is 0 in float32"),
        (["agent.learning_rate=1e-60"], "agent.learning_rate .* 0 in float32"),
        (["dataset.reward_scale=nan"], "must be a finite number"),
        (["dataset.reward_bias=inf"], "must be a finite number"),
    ],
)
def test_rewards_that_would_be_nothing_are_refused(fields, match):
    with pytest.raises(checks.UserError, match=match):
        check("awac", "dataset.reward_transform=affine", *fields)


def suite(*settings):
    loaded = suite_files.load(
        "smoke", tiny_suite.CONFIGS, ["algorithms=awac", *settings]
    )
    return loaded, job_list.expand(loaded, tiny_suite.CONFIGS)


def test_a_suite_names_what_none_of_its_jobs_reads():
    # Vanilla jobs have no guidance, and the others need no C-VAE but one.
    assert suite_program.idle(*suite()) == []
    (said,) = suite_program.idle(*suite("config.guidance.embedding.steps=5"))
    assert "config.guidance.embedding.steps (config.guidance.weight is 'cvae'" in said


def test_what_is_set_by_hand_wins_over_all_rows_of_a_suite():
    settings = ["config.offline.updates=7", "config.offline.updates=8e1"]
    loaded = suite_files.load("local_reduced", tiny_suite.CONFIGS, [*settings])
    recipe = job_list.Recipe(tiny_suite.CONFIGS, "cql", "hopper-medium", (0, 1))
    assert job_list.build(loaded, recipe, guided=False).offline.updates == 80
    dims = ["config.agent.actor_hidden_dims=(8, 8)"] * 2
    loaded = suite_files.load("local_reduced", tiny_suite.CONFIGS, dims)
    config = job_list.build(loaded, recipe, guided=False)
    assert config.agent.actor_hidden_dims == (8, 8)
