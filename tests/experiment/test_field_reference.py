"""The reference of the fields is complete, and says what the checks of a config do."""

import math
import os
import pathlib
import subprocess
import sys

import ml_collections
import pytest

from configs import base
from configs.suites import base as suites_base
from samg_jax import algorithms, checks, compilation, settings
from samg_jax.envs import d4rl_physics
from samg_jax.experiment import (
    config_checks,
    field_reference,
    field_table,
    resolve,
    setting_values,
    spec,
    suite_files,
    suite_spec,
)
from samg_jax.guidance import nearest, normals, presets, weights
from samg_jax.suites import job_list
from tests.fixtures import small_experiments

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = {name: get_config() for name, get_config in small_experiments.CONFIGS.items()}


def names_of(config: ml_collections.ConfigDict) -> set[str]:
    return set(setting_values.flatten(config.to_dict()))


def refusal(name: str, value) -> str:
    """What a config is refused with if the field has that value; else nothing."""
    config = small_experiments.CONFIGS[field_table.table()[name].configs[-1]]()
    try:
        with config.ignore_type(), config.unlocked():
            config.update_from_flattened_dict({name: value})
        resolve.experiment(config)
    except checks.UserError as error:
        return str(error)
    return ""


def test_every_field_of_every_config_is_explained():
    assert sorted(CONFIGS) == field_table.config_names()
    for config, values in CONFIGS.items():
        for name in names_of(values):
            row = field_table.table()[name]
            assert config in row.configs, name
            for text, _ in row.meanings:
                assert text.endswith("."), name
                assert len(text) > 15, name


def test_no_row_is_for_a_field_that_no_config_has():
    there = set().union(*map(names_of, CONFIGS.values()))
    assert set(field_table.table()) == there
    assert set(field_table.BY_NAME) <= there


def test_every_field_of_a_suite_is_explained():
    suite = suites_base.get_config()
    there = names_of(suite) | {"by_algorithm", "by_variant"}  # Empty groups.
    rows = field_table.suite_table()
    assert {name.removeprefix("suite.") for name in rows} == there
    assert all(row.meanings[0][0] for row in rows.values())


def known(name: str) -> settings.Setting:
    """What is declared of a field, with the first config that has it."""
    config = CONFIGS[field_table.table()[name].configs[-1]]
    group, _, last = name.rpartition(".")
    return settings.settings(field_table.declaration(group, config.algorithm))[last]


BOUNDED = [name for name in field_table.table() if known(name).bounded]
CHOSEN = [name for name in field_table.table() if known(name).choices]


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_those_that_the_checks_enforce(name):
    bounds = known(name)
    kind = int if bounds.whole else float
    outside = [kind(bounds.low - 1)]
    if not math.isinf(bounds.high):
        outside.append(bounds.high + 1.0)
    if bounds.open:
        outside.append(kind(bounds.low))
    else:
        assert f"config.{name} is" not in refusal(name, kind(bounds.low))
    for value in outside:
        assert f"config.{name}" in refusal(name, value), value


@pytest.mark.parametrize("name", CHOSEN)
def test_choices_are_those_that_the_checks_allow(name):
    last = name.split(".")[-1]
    assert last in refusal(name, "no_such_choice")
    for value in known(name).choices:
        assert f"{last} is {value!r}, which is unknown" not in refusal(name, value)


def test_no_field_lacks_its_meaning_or_its_allowed_values():
    rows = {**field_table.table(), **field_table.suite_table()}
    assert {"env_id", "guidance.module", "suite.sweep"} <= set(rows)
    for name, row in rows.items():
        assert all(text for text, _ in row.meanings), name
        assert row.allowed, name
    for line in (
        f"{field_reference.markdown()}\n{field_reference.suite_markdown()}".splitlines()
    ):
        if line.startswith("| "):
            assert "|  |" not in line, line


def test_families_and_counts_of_suites_are_those_of_the_checks():
    families = field_table.table()["dataset.family"].allowed
    names = [*base.FAMILIES, "other"]
    assert families == ", ".join(f"`{name}`" for name in names)
    assert base.family_of("minari:door/human-v2") == "other"
    for name, known in settings.settings(suite_spec.Suite).items():
        if not known.whole:
            continue
        least = int(known.low)
        shown = field_table.suite_table()[f"suite.{name}"].allowed
        assert shown.startswith(f"integer, {least} or more")
        with pytest.raises(checks.UserError, match=f"of at least {least}"):
            suite_files.load("smoke", ROOT / "configs", [f"{name}={least - 1}"])
    variants = field_table.suite_table()["suite.variants"].allowed
    assert all(f"`{name}`" in variants for name in (job_list.VANILLA, *job_list.GUIDED))


def test_defaults_are_those_of_the_config_files():
    rows = field_table.table()
    assert rows["agent.cql_weight"].defaults == (
        ("`10`; `5` on AntMaze", ("cal_ql", "cal_ql_samg", "cql", "cql_samg")),
    )
    assert dict(rows["online.steps"].defaults)["`0`"] == ("bc", "td3_bc")
    assert "`nearest` (best)" in rows["guidance.kind"].defaults[0][0]
    assert rows["guidance.strength"].sweepable
    assert not rows["guidance.penalty"].sweepable


@pytest.mark.parametrize(
    "name", ["guidance.penalty", "config.online.data", "--config.agent.tau"]
)
def test_explain_says_meaning_default_and_bounds(name):
    text = field_reference.explain(name)
    row = field_table.table()[name.removeprefix("--").removeprefix("config.")]
    assert text.startswith(f"config.{row.name}\n")
    assert "default: " in text
    assert "allowed: " in text
    assert f"--config.{row.name}=VALUE" in text
    assert ("--sweep=" in text) == row.sweepable
    assert (ROOT / "docs" / "pages" / f"{row.page}.md").is_file()


def test_explain_knows_groups_and_all():
    assert "guidance.cvae.beta" in field_reference.explain("guidance.cvae")
    assert "online.steps" not in field_reference.explain("guidance.cvae")
    lines = field_reference.explain("all").splitlines()
    assert {*field_table.table(), *field_table.suite_table()} <= set(lines)


@pytest.mark.parametrize(
    ("given", "proposed"),
    [
        ("guidance.penalti", "config.guidance.penalty"),
        ("agent.expectil", "config.agent.expectile"),
        ("suite.num_seed", "config.suite.num_seeds"),
        ("gidance", "config.guidance"),
    ],
)
def test_explain_proposes_the_nearest_name(given, proposed):
    with pytest.raises(checks.UserError, match=f"Did you mean {proposed}"):
        field_reference.explain(given)


def test_markdown_has_a_row_for_every_field():
    text = field_reference.markdown()
    for name in field_table.table():
        assert f"`{name}` |" in text, name
    assert "dataset. | `5` |" in field_reference.suite_markdown()


def test_explain_imports_nothing_heavy():
    program = (
        "import sys; from samg_jax.experiment import field_reference; "
        "field_reference.explain('all');print([name for name in ('jax', 'numpy', "
        "'mujoco') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        # With MUJOCO_GL, MuJoCo is imported at once, to refuse what it does not know.
        env={name: os.environ[name] for name in os.environ if name != "MUJOCO_GL"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_choices_that_are_declared_are_all_that_there_are():
    declared = settings.settings(weights.GuidanceConfig)
    assert declared["kind"].choices == tuple(normals.KINDS)
    assert declared["fit"].choices == tuple(normals.FITS)
    assert declared["weight_preset"].choices == tuple(presets.PRESETS)
    assert {f"`{name}`" for name in weights.BUILT_IN} <= set(
        declared["weight"].allowed.split(", ")
    )
    known = settings.settings(spec.Run)
    assert known["matmul_precision"].choices == tuple(compilation.PRECISIONS)
    assert known["physics"].choices == tuple(d4rl_physics.PHYSICS)
    assert settings.settings(spec.Logging)["wandb"].choices == config_checks.WANDB_MODES
    assert declared["references"].low == nearest.LEAST


def test_a_declaration_read_from_source_is_the_one_that_is_imported():
    for name in algorithms.MODULES.values():
        imported = settings.settings(name.Config)
        settings.declared.cache_clear()
        loaded = sys.modules.pop(name.__name__)
        try:
            read = settings.settings(settings.declared(name.__name__))
        finally:
            sys.modules[name.__name__] = loaded
            settings.declared.cache_clear()
        assert list(read) == list(imported)
        for one, other in zip(read.values(), imported.values(), strict=True):
            assert str(one) == str(other)
