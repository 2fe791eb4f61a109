import numpy as np
import pytest

from samg_jax import api, checks
from tests.fixtures import small_experiments


def test_a_config_has_its_fields_and_refuses_others():
    config = api.get_config("awac_samg", "hopper-demo", num_seeds=3)
    assert (config.algorithm, config.dataset.name) == ("awac", "hopper-demo")
    assert config.num_seeds == 3
    with pytest.raises(checks.UserError, match=r"Did you mean config\.num_seeds"):
        api.get_config("awac_samg", "hopper-demo", num_seed=3)
    with pytest.raises(checks.UserError, match=r"num_seeds is set to 'many'"):
        api.get_config("awac_samg", "hopper-demo", num_seeds="many")
    with pytest.raises(checks.UserError, match=r"Did you mean .*awac_samg"):
        api.get_config("awac_smag", "hopper-demo")


def test_training_from_python_ends_with_the_scores(dataset, tmp_path):
    config = small_experiments.config("awac", dataset)
    result = api.train(config, str(tmp_path / "run"))
    online = [row for row in result.scores if row.phase == "online"]
    assert {row.seed for row in online} == set(range(config.num_seeds))
    assert online[-1].env_step == config.online.steps
    last = np.mean([row.normalized_score for row in online[-config.num_seeds :]])
    assert f"{last:.1f}" in str(result)
    assert (result.workdir / "metrics.csv").exists()
