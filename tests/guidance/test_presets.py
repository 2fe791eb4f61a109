"""Presets of the weight: what they decide, and what wins over them."""

import dataclasses
import json

import ml_collections
import pytest

from samg_jax.experiment import resolve
from samg_jax.guidance import presets, weights
from samg_jax.runs import lifecycle
from tests.fixtures import small_experiments


def resolved(name="awac_samg", **overrides):
    config = small_experiments.CONFIGS[name]("hopper-demo")
    with config.ignore_type():
        config.update_from_flattened_dict(
            {key.replace("__", "."): value for key, value in overrides.items()}
        )
    return ml_collections.ConfigDict(resolve.experiment(config).record)


def field(config, name):
    level = config.guidance
    for part in name.split("."):
        level = level[part]
    return level


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_decides_exactly_its_fields(name):
    config = resolved(guidance__weight_preset=name)
    paper = resolved()
    for key, value in presets.PRESETS[name].items():
        assert field(config, key) == value
    before = paper.guidance.to_dict() | paper.guidance.cvae.to_dict()
    after = config.guidance.to_dict() | config.guidance.cvae.to_dict()
    changed = {key for key in before if before[key] != after[key]}
    decided = {key.split(".")[-1] for key in presets.PRESETS[name]}
    assert changed - {"cvae", "weight_preset"} <= decided


def test_all_presets_decide_the_same_fields_and_are_not_the_same():
    first, *others = presets.PRESETS.values()
    assert all(set(other) == set(first) for other in others)
    assert all(other != first for other in others)


def test_the_paper_is_the_default_and_equals_the_defaults_of_the_settings():
    config = resolved()
    assert config.guidance.weight_preset == "paper"
    settings = resolve.guidance_config(config.guidance.to_dict())
    defaults = weights.GuidanceConfig()
    for name in ("kind", "fit", "use_std"):
        assert getattr(settings, name) == getattr(defaults, name)
    names = "beta", "reconstruct", "scale_targets", "action_weight", "decoder_input"
    for name in names:
        assert getattr(settings.cvae, name) == getattr(defaults.cvae, name)


def test_a_flag_wins_over_the_preset():
    config = resolved(
        guidance__weight_preset="best",
        guidance__kind="window",
        guidance__cvae__beta=0.7,
        guidance__cvae__scale_targets=False,
    )
    assert config.guidance.kind == "window"
    assert config.guidance.cvae.beta == 0.7
    assert config.guidance.cvae.scale_targets is False
    best = presets.PRESETS["best"]
    assert config.guidance.cvae.reconstruct == best["cvae.reconstruct"]


def test_what_a_preset_decided_is_written_down(dataset, tmp_path):
    config = small_experiments.config(
        "awac_samg", dataset, {"guidance.weight_preset": "best"}
    )
    experiment = lifecycle.prepare(config, tmp_path)
    lifecycle.write_config(experiment.record, tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["guidance"]["weight_preset"] == "best"
    assert written["guidance"]["kind"] == presets.PRESETS["best"]["kind"]
    assert written["guidance"]["cvae"]["beta"] == presets.PRESETS["best"]["cvae.beta"]


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'bestt'.*Did you mean 'best'"):
        resolved(guidance__weight_preset="bestt")


def test_vanilla_configs_have_no_preset():
    assert "weight_preset" not in resolved("awac").guidance
    assert resolve.guidance_config(
        resolved("awac").guidance.to_dict()
    ) == dataclasses.replace(weights.GuidanceConfig(), weight="none")
