"""Files of others import no module and call nothing unless they are trusted."""

import contextlib
import io
import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from samg_jax import checks, trust
from samg_jax.data import minari_trust
from samg_jax.envs import pickling, vector
from samg_jax.experiment import resolve
from samg_jax.runs import forks
from tests.fixtures import awkward_envs, small_experiments

MODULE = "a_strangers_module"


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A module that tells that it ran; returns whether it did."""
    (tmp_path / f"{MODULE}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    yield (tmp_path / "ran").exists
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"env_id": f"{MODULE}:Arm-v0"},
        {"guidance": {"module": MODULE}},
    ],
)
def test_a_saved_config_imports_only_what_the_command_named(stranger, dataset, fields):
    saved = {**small_experiments.config("awac", dataset).to_dict(), **fields}
    with pytest.raises(checks.UserError, match=f"{MODULE}.*trust=True") as info:
        resolve.saved(saved, "The checkpoint runs/theirs")
    assert "\n" not in str(info.value)
    assert not stranger()
    # Imported; it registers no environment.
    with trust.files(True), contextlib.suppress(checks.UserError):
        resolve.saved(saved, "The checkpoint runs/theirs")
    assert stranger()
    trust.config(saved, "The checkpoint runs/theirs")  # It is loaded by now.


def test_a_fork_imports_only_what_the_command_named(stranger, dataset):
    config = small_experiments.config("awac_samg", dataset)
    experiment = resolve.experiment(config)
    saved = {"config": config.to_dict()}
    assert forks.first_fit_step(experiment, saved) is None
    saved["config"]["guidance"]["module"] = MODULE
    with pytest.raises(checks.UserError, match=rf"{MODULE}.*trust=True"):
        forks.first_fit_step(experiment, saved)
    assert not stranger()


class Call:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        Call(os.system, "true"),
        Call(subprocess.Popen, ["true"]),
        Call(eval, "1 + 1"),
        Call(getattr, "text", "upper"),
        Call(np.load, "file.npy"),
        Call(np.memmap, "file.npy"),
        Call(pickle.loads, b"N."),
        Call(awkward_envs.write_dataset, "file.hdf5"),  # A function of its own module.
        Call(checks.folder, None, ""),
    ],
)
def test_a_saved_state_calls_nothing_that_the_environment_does_not_need(
    call, tmp_path, monkeypatch
):
    with awkward_envs.registered("Walk") as (env_id,):
        env = vector.make(env_id, 1, [0], "stock")
        env.reset()
        simulated = env._simulators._envs[0]
        state = pickle.loads(_plain(pickling.save(simulated, env_id)))
        state["attributes"][-1]["extra"] = call
        monkeypatch.chdir(tmp_path)
        with pytest.raises(checks.UserError, match=r"wants to call .*trust=True"):
            pickling.load(simulated, pickle.dumps(state), env_id)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("Walk", Call(pickling.bound_method, "a", "join")),
        ("Calling", Call(pickling.bound_method, {}, "update")),
        ("Calling", Call(pickling.bound_method, awkward_envs.Helper(), "__init__")),
        ("Calling", Call(getattr, ",", "join")),
        ("Calling", Call(re.sub, "a", "b", "c")),
        ("Dangerous", Call(os.system, "touch ran")),
        ("Dangerous", Call(eval, "open('ran', 'w')")),
    ],
)
def test_what_the_environment_itself_holds_is_no_way_to_call_more(
    name, call, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with awkward_envs.registered(name) as (env_id,):
        env = vector.make(env_id, 1, [0], "stock")
        env.reset()
        simulated = env._simulators._envs[0]
        own = pickling.save(simulated, env_id)
        layers, parts = pickling.building.layers(simulated), pickling._parts(simulated)
        content = {"attributes": [vars(layer) | {"x": call} for layer in layers]}
        strange = pickling._dump(content, parts)
        with pytest.raises(checks.UserError, match=r"wants to call .*trust=True"):
            pickling.load(simulated, strange, env_id)
        assert not list(tmp_path.iterdir())
        if name != "Dangerous":
            pickling.load(simulated, own, env_id)


def _plain(pickled):
    """The pickle with names of parts as text."""

    class Reader(pickle.Unpickler):
        def persistent_load(self, pid):
            return pid

    return pickle.dumps(Reader(io.BytesIO(pickled)).load())


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"id": "Pendulum-v1", "entry_point": f"{MODULE}:Arm", "kwargs": {}}, False),
        (
            {
                "id": "Theirs-v0",
                "entry_point": "gymnasium.envs.registration:load_env_creator",
                "kwargs": {"name": f"{MODULE}:Arm"},
            },
            False,
        ),
        (
            {
                "id": "Pendulum-v1",
                "entry_point": "gymnasium.envs.classic_control.pendulum:PendulumEnv",
                "kwargs": {},
            },
            True,
        ),
    ],
)
def test_a_minari_dataset_builds_only_registered_environments(
    spec, allowed, tmp_path, monkeypatch
):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    (tmp_path / "theirs/data").mkdir(parents=True)
    path = tmp_path / "theirs/data/metadata.json"
    metadata = {"action_space": "{}", "env_spec": json.dumps(spec)}
    path.write_text(json.dumps(metadata))
    if allowed:
        minari_trust.check("theirs")
    else:
        with pytest.raises(checks.UserError, match=r"wants to call .*trust=True"):
            minari_trust.check("theirs")
    # With both spaces nothing is built.
    path.write_text(json.dumps({**metadata, "observation_space": "{}"}))
    minari_trust.check("theirs")
