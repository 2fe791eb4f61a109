"""Reading files with D4RL's keys, and finding them."""

import hashlib
import importlib.util
import pathlib

import h5py
import numpy as np
import pytest

from samg_jax import checks
from samg_jax.data import d4rl, downloads

ROWS, O, A = 12, 5, 3  # noqa: E741


def arrays(rows=ROWS):
    rng = np.random.default_rng(0)
    flags = np.zeros(rows, bool)
    return {
        "observations": rng.normal(size=(rows, O)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, A)).astype(np.float32),
        "rewards": rng.normal(size=rows).astype(np.float32),
        "terminals": flags | (np.arange(rows) == 4),
        "timeouts": flags | (np.arange(rows) == 8),
    }


@pytest.fixture
def write(tmp_path):
    """Writes arrays, some replaced or (with None) left out; returns the path."""

    def write(attributes=(), rows=ROWS, **changes):
        path = tmp_path / "data.hdf5"
        with h5py.File(path, "w") as file:
            for key, value in {**arrays(rows), **changes}.items():
                if value is not None:
                    file[key.replace("__", "/")] = value
            file.attrs.update(dict(attributes))
        return path

    return write


def test_rows_are_read_as_float32_and_flags(write):
    raw = d4rl.load(write())
    for key, value in arrays().items():
        actual = getattr(raw, key)
        assert actual.dtype == value.dtype
        np.testing.assert_array_equal(actual, value)


def test_float64_columns_and_float_flags_are_read_like_the_plain_file(write):
    plain = arrays()
    raw = d4rl.load(
        write(
            observations=plain["observations"].astype(np.float64),
            actions=plain["actions"].astype(np.float64),
            rewards=plain["rewards"].astype(np.float64)[:, None],
            terminals=plain["terminals"].astype(np.float32)[:, None],
        )
    )
    for key, value in plain.items():
        actual = getattr(raw, key)
        assert actual.dtype == value.dtype
        np.testing.assert_array_equal(actual, value)


def test_missing_timeouts_are_none(write):
    assert d4rl.load(write(timeouts=None)).timeouts is None


def test_attributes_and_scalar_metadata_are_plain_values(write):
    path = write(
        attributes={"collector": "samg_jax", "seed": np.int64(3), "scale": [1.0, 2.0]},
        metadata__algorithm=b"SAC",
        metadata__iteration=np.int32(7),
        metadata__policy__fc0__weight=np.zeros((4, 4)),
        infos__qpos=np.zeros((ROWS, 2)),
    )
    assert d4rl.load(path).attributes == {
        "collector": "samg_jax",
        "seed": 3,
        "scale": [1.0, 2.0],
        "metadata/algorithm": "SAC",
        "metadata/iteration": 7,
    }


def test_missing_file_is_refused(tmp_path):
    for path in (tmp_path / "none.hdf5", tmp_path):
        with pytest.raises(ValueError, match="No dataset file at"):
            d4rl.load(path)


@pytest.mark.parametrize("content", [b"", b"no hdf5", None])
def test_broken_file_is_refused(write, content):
    path = write(rows=400)
    if content is None:
        content = path.read_bytes()[:-1000]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated or no HDF5 file"):
        d4rl.load(path)


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals"])
def test_missing_array_is_refused(write, key):
    with pytest.raises(ValueError, match=f"no array '{key}'"):
        d4rl.load(write(**{key: None}))


def test_group_instead_of_array_is_refused(write):
    with pytest.raises(ValueError, match="no array 'rewards'"):
        d4rl.load(write(rewards=None, rewards__values=np.zeros(ROWS)))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("observations", (ROWS,)),
        ("observations", (ROWS, O, 1)),
        ("actions", (ROWS, 0)),
        ("rewards", (ROWS, 2)),
        ("rewards", ()),
        ("terminals", (ROWS, 1, 1)),
    ],
)
def test_wrong_shape_is_refused(write, key, shape):
    with pytest.raises(ValueError, match=rf"'{key}'.*allowed is \[T"):
        d4rl.load(write(**{key: np.zeros(shape)}))


@pytest.mark.parametrize("key", list(arrays()))
def test_different_lengths_are_refused(write, key):
    with pytest.raises(ValueError, match=rf"different numbers of rows.*'{key}': 11"):
        d4rl.load(write(**{key: arrays()[key][1:]}))


@pytest.mark.parametrize("rows", [0, 1])
def test_file_without_a_transition_is_refused(write, rows):
    with pytest.raises(ValueError, match=f"has {rows} rows"):
        d4rl.load(write(rows=rows))


@pytest.mark.parametrize("key", list(arrays()))
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_non_finite_value_is_refused_with_its_row(write, key, value):
    broken = arrays()[key].astype(np.float64)
    broken[6], broken[9] = value, value
    with pytest.raises(ValueError, match=f"'{key}'.*2 rows.*first row 6"):
        d4rl.load(write(**{key: broken}))


def test_text_is_refused(write):
    with pytest.raises(ValueError, match="numbers are needed"):
        d4rl.load(write(rewards=np.array([b"x"] * ROWS)))


def test_flag_that_is_no_flag_is_refused(write):
    flags = np.zeros(ROWS)
    flags[3] = 0.5
    with pytest.raises(ValueError, match=r"'terminals'.*is 0\.5 in row 3"):
        d4rl.load(write(terminals=flags))


def test_actions_out_of_range_are_refused(write):
    actions = arrays()["actions"]
    actions[5, 1] = -1.00009
    d4rl.load(write(actions=actions))
    actions[7, 2] = -1.5
    with pytest.raises(ValueError, match=r"1 rows, first row 7 .*-1\.5.*Rescale"):
        d4rl.load(write(actions=actions))


def test_names_are_accepted_with_and_without_version():
    assert len(d4rl.FILES) == 15
    for name in d4rl.FILES:
        assert name.endswith("-v2")
        assert d4rl.canonical_name(name) == name
        assert d4rl.canonical_name(name.removesuffix("-v2")) == name
    assert d4rl.canonical_name("hopper-demo") == "hopper-demo"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("hoper-medium", "hopper-medium"),
        ("hopper-medium-v0", "hopper-medium-v2"),
        ("antmaze-umaze-divers", "antmaze-umaze-diverse"),
        ("hopper-demo-v2", "hopper-demo"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}'"):
        d4rl.canonical_name(name)


@pytest.mark.parametrize("name", ["/data/mine", "runs/demo.csv"])
def test_a_path_of_no_hdf5_file_is_told_from_an_unknown_name(name):
    with pytest.raises(checks.UserError, match=r"must end in \.hdf5 or \.h5") as info:
        d4rl.canonical_name(name)
    assert "Unknown dataset" not in str(info.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hopper-random", "hopper_random-v2"),
        ("walker2d-expert-v2", "walker2d_expert-v2"),
        ("halfcheetah-full-replay", "halfcheetah_full_replay-v2"),
    ],
)
def test_a_level_without_a_name_is_refused_with_the_address_of_its_file(name, file):
    with pytest.raises(
        ValueError, match=f"{name!r} is .*gym_mujoco_v2/{file}.hdf5, .*"
    ):
        d4rl.canonical_name(name)


def test_table_is_well_formed():
    for file in d4rl.FILES.values():
        assert file.size > 5e7
        assert len(file.sha256) == 64
        int(file.sha256, 16)
    assert len({file.sha256 for file in d4rl.FILES.values()}) == 15
    assert 3.4e9 < sum(file.size for file in d4rl.FILES.values()) < 3.5e9


def test_no_digit_of_the_table_has_changed():
    # Of the published list of names, files, sizes and checksums, a line each.
    lines = [
        f"{name} {pathlib.PurePosixPath(file.path).name} {file.size} {file.sha256}\n"
        for name, file in d4rl.FILES.items()
    ]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == (
        "081526e2609cbdcb8695062b8ede2785abe7445ec7aa29592304af2163f91ae5"
    )


def test_urls_are_those_of_the_installed_d4rl():
    spec = importlib.util.find_spec("d4rl")
    if spec is None:
        pytest.skip("d4rl is not installed")
    path = pathlib.Path(spec.submodule_search_locations[0]) / "infos.py"
    spec = importlib.util.spec_from_file_location("d4rl_infos", path)
    infos = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(infos)
    for name, file in d4rl.FILES.items():
        assert file.url == infos.DATASET_URLS[name]


def test_explicit_path_wins_over_any_name(write):
    path = write()
    assert d4rl.resolve("no-such-name", path) == path
    assert d4rl.resolve("hopper-medium", str(path)) == path
    with pytest.raises(ValueError, match="No dataset file at"):
        d4rl.resolve("hopper-medium", path.with_name("other.hdf5"))


def test_demo_ships_with_the_package_and_says_what_it_is():
    path = d4rl.resolve("hopper-demo")
    assert path == pathlib.Path(d4rl.__file__).with_name("hopper-demo.hdf5")
    assert path.stat().st_size < 8e6
    raw = d4rl.load(path)
    assert raw.observations.shape == (100_000, 11)
    assert raw.actions.shape == (100_000, 3)
    said = raw.attributes
    assert said["locally_collected"]
    assert (said["level"], said["env_id"], said["physics"]) == (
        "medium",
        "Hopper-v4",
        "d4rl",
    )
    assert said["command"].startswith("python -m samg_jax.collect --env=Hopper-v4 ")
    ends = np.flatnonzero(raw.terminals | raw.timeouts)
    returns = np.add.reduceat(
        raw.rewards.astype(np.float64), np.concatenate([[0], ends[:-1] + 1])
    )
    assert returns.mean() == pytest.approx(said["return_mean"])
    assert 30 < said["normalized_score_mean"] < 45


def test_cached_file_is_used_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    path = tmp_path / "hopper_medium_replay-v2.hdf5"
    path.write_bytes(b"cached")
    lines = []
    for name in ("hopper-medium-replay", "hopper-medium-replay-v2"):
        assert d4rl.resolve(name, download=False, log=lines.append) == path
    assert "has 6 bytes" in lines[0]


def test_cache_is_in_the_home_folder_by_default(monkeypatch):
    monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)
    assert d4rl.cache_dir() == pathlib.Path.home() / ".d4rl" / "datasets"


def test_missing_file_is_fetched_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    calls, lines = [], []
    monkeypatch.setattr(
        downloads, "fetch", lambda *arguments: calls.append(arguments) or arguments[1]
    )
    file = d4rl.FILES["antmaze-umaze-v2"]
    local = tmp_path / (
        "Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed.hdf5"
    )
    assert d4rl.resolve("antmaze-umaze", log=lines.append) == local
    assert [call[:5] for call in calls] == [
        (file.url, local, file.size, file.sha256, lines.append)
    ]
    assert "Downloading antmaze-umaze-v2" in lines[0]


def test_download_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "cache"))
    with pytest.raises(downloads.DownloadError, match="switched off") as info:
        d4rl.resolve("hopper-medium", download=False)
    assert "hopper_medium-v2.hdf5" in str(info.value)
    assert not (tmp_path / "cache").exists()


def test_mirrors_are_tried_after_the_original(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    calls = []
    monkeypatch.setattr(
        downloads, "fetch", lambda *arguments: calls.append(arguments) or arguments[1]
    )
    file = d4rl.FILES["hopper-medium-v2"]
    known = (
        "https" + file.url.removeprefix("http"),
        "https://huggingface.co/datasets/imone/D4RL/resolve/main/hopper_medium-v2.hdf5",
    )
    one, other = "https://example.org/d4rl", "http://[::1]:80/x/"
    paths = [f"{base.rstrip('/')}/{file.path}" for base in (one, other)]
    for base, added in [
        ("", []),
        (one, paths[:1]),
        (one + "/", paths[:1]),
        (f"{one}, {other}", paths),
        (f" {other}\t{one} ", paths[::-1]),
    ]:
        monkeypatch.setenv("D4RL_MIRROR", base)
        d4rl.resolve("hopper-medium", log=str)
        assert (calls[-1][0], calls[-1][5:]) == (file.url, (*added, *known))
    count = len(calls)
    for base in (
        "example.org",
        "ftp://example.org/",
        "/data",
        "https:// x",
        f"{one},x",
    ):
        monkeypatch.setenv("D4RL_MIRROR", base)
        with pytest.raises(checks.UserError, match="D4RL_MIRROR is"):
            d4rl.resolve("hopper-medium", log=str)
    assert len(calls) == count


def test_a_file_where_the_cache_should_be_is_refused_and_the_reverse(
    tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "file"))
    with pytest.raises(checks.UserError, match="D4RL_DATASET_DIR"):
        d4rl.resolve("hopper-medium", log=str)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    (tmp_path / "hopper_medium-v2.hdf5").mkdir()
    with pytest.raises(checks.UserError, match="it is no file"):
        d4rl.resolve("hopper-medium", log=str)
    monkeypatch.setenv("D4RL_DATASET_DIR", "~nobody-here/x")
    with pytest.raises(checks.UserError, match="D4RL_DATASET_DIR"):
        d4rl.resolve("hopper-medium", log=str)
