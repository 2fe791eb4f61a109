"""What a shell hands to a program: variables, folders, output."""

import os
import pathlib
import pwd
import signal
import subprocess
import sys

import jax
import pytest

import samg_jax
from samg_jax import checks, compilation, drivers, jax_settings, startup

ROOT = pathlib.Path(samg_jax.__file__).parents[1]
AWAC = f"--config={ROOT / 'configs' / 'awac.py'}:hopper-demo"


def train(*arguments, cwd=ROOT, env=None, shell=""):
    """Runs `python -m samg_jax.train --dry_run`, alone or as a line of a shell.

    Args:
        *arguments: of the program, besides the config.
        cwd: where.
        env: variables to change, or to remove with `None`.
        shell: line in which `{}` stands for the command.
    """
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    variables = {name: text for name, text in variables.items() if text is not None}
    command = [sys.executable, "-m", "samg_jax.train", AWAC, "--dry_run", *arguments]
    return subprocess.run(
        shell.format(" ".join(command)) if shell else command,
        shell=bool(shell),
        executable="/bin/bash" if shell else None,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=variables,
        check=False,
    )


def one_line(finished):
    """The one line with which a program refuses something."""
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--xla_nonsense=1", "--xla_nonsense=1"),
        ("--xla_backend_optimization_level=many", "xla_backend_optimization_level"),
        ("nonsense", "nonsense"),
    ],
)
def test_xla_flags_that_would_abort_are_refused(flags, named, monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    with pytest.raises(checks.UserError, match="environment variable XLA_FLAGS") as end:
        startup.check_xla_flags()
    assert named in str(end.value)
    assert not list(tmp_path.iterdir())


def test_xla_flags_that_work_are_tried_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "new"))
    startup.check_xla_flags()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("tried again"))
    startup.check_xla_flags()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_debug_nans", True),
        ("jax_debug_infs", True),
        ("jax_default_prng_impl", "rbg"),
        ("jax_transfer_guard", "disallow"),
        ("jax_transfer_guard_device_to_host", "disallow_explicit"),
        ("jax_raise_persistent_cache_errors", True),
    ],
)
def test_settings_of_jax_that_change_results_are_refused(setting, value):
    before = getattr(jax.config, setting)
    try:
        jax.config.update(setting, value)
        with pytest.raises(checks.UserError, match=f"{setting.upper()} is {value}"):
            compilation.matmul_precision("float32")
    finally:
        jax.config.update(setting, before)
    compilation.start()


@pytest.mark.parametrize(
    ("env", "texts"),
    [
        ({"JAX_ENABLE_X64": "1"}, ["JAX_ENABLE_X64 is True", "float32"]),
        ({"JAX_DEBUG_NANS": "maybe"}, ["JAX refuses", "JAX_DEBUG_NANS=maybe"]),
        ({"JAX_PLATFORMS": "nonsense"}, ["JAX_PLATFORMS is 'nonsense'", "cpu"]),
        ({"JAX_PLATFORMS": "cuda"}, ["JAX_PLATFORMS is 'cuda'", "extra `cuda`"]),
        ({"JAX_PLATFORM_NAME": "gpu"}, ["JAX_PLATFORM_NAME is 'gpu'", "extra `cuda`"]),
    ],
    ids=lambda value: next(iter(value), None),
)
def test_variables_of_jax_are_refused_by_name(env, texts):
    if set(env.values()) <= {"cuda", "gpu"} and jax.default_backend() != "cpu":
        pytest.skip("this machine has one")
    line = one_line(train(env=env))
    for text in texts:
        assert text in line
    assert ".." not in line.replace("...", "")


@pytest.mark.parametrize(
    ("given", "said", "texts"),
    [
        (
            {"JAX_PLATFORMS": "gpu"},
            "RuntimeError: Unable to initialize backend 'rocm': no (set JAX_PLATFORMS)",
            ["JAX_PLATFORMS is 'gpu'", "finds no NVIDIA GPU"],
        ),
        ({"JAX_PLATFORMS": "tpu,cpu"}, "", ["'tpu,cpu'", "it is not installed"]),
        (
            {"JAX_NUM_CPU_DEVICES": "0"},
            "INVALID_ARGUMENT: no index (you may need to uninstall the plugin.)",
            ["JAX_NUM_CPU_DEVICES is '0'", "here: INVALID_ARGUMENT: no index. Unset"],
        ),
        (
            {"XLA_PYTHON_CLIENT_MEM_FRACTION": "lots"},
            "could not convert string to float: 'lots'",
            ["XLA_PYTHON_CLIENT_MEM_FRACTION is 'lots'", "could not convert"],
        ),
    ],
    ids=["gpu", "tpu", "count", "share of memory"],
)
@pytest.mark.parametrize(
    ("driver", "extra"), [("535.54.3", "`cuda`"), ("580.65.06", "`cuda13`")]
)
def test_devices_that_do_not_start_name_the_extra_for_the_driver(
    given, said, texts, driver, extra, monkeypatch, tmp_path
):
    file = tmp_path / "version"
    file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}\n")
    monkeypatch.setenv(drivers.VARIABLE, str(file))
    monkeypatch.setenv("PATH", str(tmp_path))
    line = startup.wrong_devices(given, said)
    for text in texts:
        assert text in line
    asked = "JAX_PLATFORMS" in given  # Else no other driver is the remedy.
    assert (f"the driver here needs the extra {extra}" in line) is asked
    assert "rocm" not in line
    assert ".." not in line


def test_every_setting_of_jax_is_supported_or_refused(monkeypatch):
    supported, required = jax_settings.SUPPORTED, set(jax_settings.REQUIRED)
    assert not supported & required
    others = sorted(set(jax.config.values) - supported - required)
    assert "jax_softmax_custom_jvp" in others
    for name in others:
        with monkeypatch.context() as patch:
            patch.setenv(name.upper(), "1")
            with pytest.raises(checks.UserError, match=f"variable {name.upper()} is"):
                jax_settings.check()
    jax_settings.check()


def test_dumps_that_cannot_be_written_are_refused_by_name(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        monkeypatch.setenv("JAX_DUMP_IR_TO", str(tmp_path / place))
        with pytest.raises(checks.UserError, match="JAX_DUMP_IR_TO is"):
            jax_settings.check()
    monkeypatch.setenv("JAX_DUMP_IR_TO", str(tmp_path / "new" / "folder"))
    jax_settings.check()


# Another value than JAX's own, of every supported setting that a CPU has.
CHANGED = {
    "JAX_CAPTURED_CONSTANTS_REPORT_FRAMES": "2",
    "JAX_COMPILER_DETAILED_LOGGING_MIN_OPS": "1",
    "JAX_COMPILATION_CACHE_MAX_SIZE": "1000000",
    "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "mpi",
    "JAX_CPU_ENABLE_ASYNC_DISPATCH": "0",
    "JAX_DEBUG_LOG_MODULES": "jax._src.xla_bridge",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DUMP_IR_MODES": "jaxpr",
    "JAX_EXPLAIN_CACHE_MISSES": "1",
    "JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS": "0",
    "JAX_LOG_COMPILES": "1",
    "JAX_LOGGING_LEVEL": "DEBUG",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PLATFORM_NAME": "cpu",
    "JAX_SEND_TRACEBACK_TO_RUNTIME": "full",
    "JAX_TRACEBACK_FILTERING": "off",
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "3",
    "JAX_TRANSFER_GUARD": "log",
}


@pytest.mark.slow
def test_a_run_under_every_supported_setting_is_the_same(tmp_path):
    small = (
        "--config.agent.hidden_dims=(8,)",
        "--config.offline.updates=20",
        "--config.online.steps=20",
        "--config.evaluation.episodes=1",
        "--config.logging.tensorboard=False",
        "--config.logging.progress=False",
    )
    found = []
    for name, env in (("plain", {}), ("changed", CHANGED)):
        places = {"JAX_DUMP_IR_TO": "dumps", "JAX_COMPILATION_CACHE_DIR": "cache"}
        if env:
            env = {**env, **{key: str(tmp_path / at) for key, at in places.items()}}
        folder = tmp_path / name
        finished = train("--nodry_run", f"--workdir={folder}", *small, env=env)
        assert finished.returncode == 0, finished.stderr[-2_000:]
        tables = ("metrics.csv", "training.csv")
        found.append([(folder / table).read_bytes() for table in tables])
    assert found[0] == found[1]
    assert any((tmp_path / "dumps").iterdir())
    assert any((tmp_path / "cache").iterdir())


def test_a_program_needs_neither_a_home_nor_utf_8(tmp_path):
    (tmp_path / "configs").mkdir()  # Of a project of the user's.
    blocked = tmp_path / "file"
    blocked.touch()
    env = {
        "HOME": str(blocked),
        "PYTHONIOENCODING": "ascii",
        "LC_ALL": "C",
        "TMPDIR": str(blocked / "none"),
        "JAX_COMPILATION_CACHE_DIR": None,
        "XLA_FLAGS": None,
    }
    finished = train(cwd=tmp_path, env=env)
    assert finished.returncode == 0, finished.stderr
    assert "environment: Hopper-v4" in finished.stdout


def test_a_deleted_folder_is_told_in_one_line(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    finished = train(cwd=gone, shell=f"rmdir {gone}; {{}}")
    assert "The current folder does not exist any more" in one_line(finished)


def test_a_user_without_a_home_gets_one(monkeypatch, tmp_path, capsys):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(startup.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    startup.find_home()
    assert pathlib.Path("~/x").expanduser().parent.parent == tmp_path
    assert "set HOME to a folder" in capsys.readouterr().err
    startup.find_home()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("end", ["{} | head -1", "{} >&-", "{} | true"])
def test_a_reader_that_goes_away_ends_a_program_quietly(end):
    finished = train(shell=end)
    assert finished.stderr == ""


PLACES = ["file", "~nobody_of_this_name/x"]
if os.geteuid() != 0:  # Root writes everywhere.
    PLACES.append("read-only")


@pytest.mark.parametrize("place", PLACES)
def test_a_cache_that_cannot_be_kept_is_told_once(place, tmp_path, caplog):
    folder = place if place.startswith("~") else str(tmp_path / "file" / "below")
    if place == "read-only":
        tmp_path.chmod(0o500)
        folder = str(tmp_path)
    (tmp_path / "file").touch()
    before = jax.config.jax_compilation_cache_dir
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        compilation.use_cache(folder)
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    (record,) = caplog.records
    assert folder in record.getMessage()
    assert "--config.compilation_cache" in record.getMessage()


def test_signs_that_an_output_lacks_are_written_plainly(tmp_path):
    path = tmp_path / "out"
    code = (
        "import sys; from samg_jax import startup\n"
        "with startup.output(): print('35.8 ± 1.2 → ü')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    with path.open("w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, env=env, check=True)
    assert path.read_text() == "35.8 +- 1.2 -> ?\n"


# A job in the background inherits that Ctrl-C is ignored.
AS_IN_A_TERMINAL = (
    "import os, signal, sys; sys.argv = ['-m']\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
)


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (signal.SIGINT, 1, "Interrupted. Nothing was begun."),
        (signal.SIGTERM, 143, "Terminated. Nothing was begun."),
    ],
)
def test_a_program_that_only_starts_ends_at_once_with_one_line(number, status, words):
    # As if it came amid the import of a library, whose callbacks lose exceptions.
    code = (
        f"{AS_IN_A_TERMINAL}import samg_jax\n"
        f"try: os.kill(os.getpid(), {int(number)})\n"
        "except BaseException: pass\n"
        "print('went on')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr, result.stdout) == (
        status,
        f"{words}\n",
        "",
    )


def test_signals_are_pythons_again_once_something_is_begun():
    code = (
        f"{AS_IN_A_TERMINAL}import samg_jax\n"
        "from samg_jax import startup\n"
        "startup.begin()\n"
        "try: os.kill(os.getpid(), 2)\n"
        "except KeyboardInterrupt: print('in order')"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True) == "in order\n"
