import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.linen import linear

from samg_jax import algorithms, compilation
from samg_jax.experiment import datasets, resolve
from samg_jax.runs import evaluation
from samg_jax.training import offline_phase, online_phase
from tests.fixtures import small_runs, toy_problems

# Of a product's line in the program, by the name of the precision.
MARKS = {
    "float32": r"precision = \[HIGHEST, HIGHEST\]",
    "tensorfloat32": r"precision = \[HIGH, HIGH\]",
    "bfloat16": r"lhs_precision_type = bf16, rhs_precision_type = bf16, accumul"
    r"ation_type = f32",
}
# Largest relative error of rounding a number to it.
ROUNDING = {"float32": 2.0**-24, "tensorfloat32": 2.0**-11, "bfloat16": 2.0**-8}


def test_programs_are_kept_in_the_folder_of_the_config(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        compilation.use_cache("")
        assert jax.config.jax_compilation_cache_dir is None
        compilation.use_cache(str(tmp_path / "cache"))
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache")
        # What the user has set, by the environment for example, is left alone.
        compilation.use_cache(str(tmp_path / "other"))
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="module")
def programs(dataset):
    """Functions that return the program of each phase, not yet compiled."""
    settings = small_runs.config("awac_samg", dataset)
    experiment = resolve.experiment(settings)
    data, preprocessing, _ = datasets.load(experiment, str)
    state = offline_phase.init(experiment, preprocessing)
    rows = np.arange(100)
    first = np.zeros((2, experiment.task.observation_size), np.float32)
    fine_tuning = online_phase.init(experiment, settings.online, state, first)
    env_step = online_phase.EnvStep(first[:, 0], first, first[:, 0], first)
    return {
        "offline": lambda: offline_phase.make_updates(experiment, 16).lower(
            state, data, 0, length=2
        ),
        "cvae": lambda: offline_phase.make_model_updates(experiment).lower(
            state, (data, rows), 0, length=2
        ),
        "online": lambda: online_phase.make_step(experiment, settings.online).lower(
            fine_tuning, env_step, None, 1
        ),
    }


@pytest.mark.parametrize("name", compilation.PRECISIONS)
@pytest.mark.parametrize("phase", ["offline", "cvae", "online"])
def test_every_product_of_a_program_has_the_precision(phase, name, programs):
    with compilation.matmul_precision(name):
        text = programs[phase]().as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) > 5
    for line in products:
        assert re.search(MARKS[name], line), line


@pytest.mark.parametrize("name", compilation.PRECISIONS)
def test_a_product_deviates_by_no_more_than_rounding_its_factors(name):
    # Whatever the device does with the request: a processor computes in float32.
    a, b = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    with compilation.matmul_precision(name):
        found = np.asarray(jax.jit(jnp.matmul)(a, b), np.float64)
    sizes = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    error = 2.1 * ROUNDING[name] + 64 * ROUNDING["float32"]
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert (np.abs(found - exact) <= error * sizes).all()


@pytest.mark.parametrize("name", ["tensorfloat32", "bfloat16"])
def test_an_update_with_rounded_factors_deviates_little(name, monkeypatch):
    # As no processor rounds them, the factors are rounded here, forwards and back.
    bits = {"tensorfloat32": 10, "bfloat16": 7}[name]
    rounded = functools.partial(
        jax.lax.reduce_precision, exponent_bits=8, mantissa_bits=bits
    )
    product = jax.lax.dot_general
    algorithm = algorithms.make("awac", {"hidden_dims": (16, 16)}, toy_problems.A)
    state, batch = toy_problems.state(algorithm), toy_problems.batch()
    _, exact = jax.jit(algorithm.update)(state, batch, jax.random.key(0))

    def dot_general(lhs, rhs, *args, **kwargs):
        return product(rounded(lhs), rounded(rhs), *args, **kwargs)

    monkeypatch.setattr(linear.lax, "dot_general", dot_general)
    _, found = jax.jit(algorithm.update)(state, batch, jax.random.key(0))
    deviation = max(
        abs(found[key] - exact[key]) / max(abs(exact[key]), 1.0) for key in exact
    )
    # Six layers, each of whose factors is rounded once.
    assert 0 < deviation < 12 * ROUNDING[name]


def test_the_precision_is_that_of_the_config_while_the_run_lasts(
    dataset, tmp_path, monkeypatch
):
    seen = []
    make = evaluation.make_evaluator

    def recording(*args):
        seen.append(jax.config.jax_default_matmul_precision)
        return make(*args)

    monkeypatch.setattr(evaluation, "make_evaluator", recording)
    before = jax.config.jax_default_matmul_precision
    changes = {"offline__updates": 0, "online__steps": 0}
    changes["matmul_precision"] = "bfloat16"
    small_runs.run("awac", dataset, tmp_path, **changes)
    assert seen == [compilation.PRECISIONS["bfloat16"]]
    assert jax.config.jax_default_matmul_precision == before
    assert '"matmul_precision": "bfloat16"' in (tmp_path / "config.json").read_text()


def test_another_precision_is_refused_with_those_that_are_allowed(dataset, tmp_path):
    with pytest.raises(ValueError, match="matmul_precision is 'float16'") as error:
        small_runs.run("awac", dataset, tmp_path / "run", matmul_precision="float16")
    assert "bfloat16, float32, tensorfloat32" in str(error.value)
    assert not (tmp_path / "run").exists()
