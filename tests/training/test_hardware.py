"""What is said of the devices, with and without an NVIDIA driver."""

import types

import jax
import pytest

from samg_jax.training import hardware


def device(kind, platform="gpu"):
    return types.SimpleNamespace(device_kind=kind, platform=platform)


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """A machine with a driver and a JAX for CPUs only."""
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14\n")
    monkeypatch.setenv(hardware.DRIVER_VARIABLE, str(file))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device("cpu", "cpu")])
    monkeypatch.setattr(hardware, "PLUGINS", ("no_such_plugin",))
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", None)
    yield file
    jax.config.update("jax_platforms", before)


@pytest.fixture
def smi(monkeypatch, tmp_path):
    """Writes a program `nvidia-smi` that is the only one found."""

    def write(text):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{text}\nEND\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write


def test_a_driver_without_its_jaxlib_is_warned_of_with_the_remedy(driver):
    assert hardware.describe() == (
        "1 CPU (there is an NVIDIA driver, but JAX does not use it)"
    )
    for text in ("bash launch/install.sh", '".[cuda]"', "JAX_PLATFORMS=cpu"):
        assert text in hardware.warning()
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  595.1.02\n")
    assert '".[cuda13]"' in hardware.warning()


def test_a_plugin_that_does_not_start_is_another_fault(driver, monkeypatch):
    monkeypatch.setattr(hardware, "PLUGINS", ("json",))  # Some module there is.
    assert "plugin (json) is installed, but has not started" in hardware.warning()
    assert "nvidia-smi" in hardware.warning()
    assert "pip install" not in hardware.warning()


@pytest.mark.parametrize("how", ["platforms", "hidden", "minus one"])
def test_a_cpu_that_is_asked_for_is_no_fault(driver, monkeypatch, how):
    if how == "platforms":
        jax.config.update("jax_platforms", "cpu")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "" if how == "hidden" else "-1")
    assert hardware.warning() == ""
    assert "JAX_PLATFORMS or CUDA_VISIBLE_DEVICES" in hardware.describe()


def test_without_a_driver_there_is_nothing_to_mend(driver, monkeypatch, tmp_path):
    driver.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.warning() == ""
    assert hardware.describe() == "1 CPU (no NVIDIA GPU found)"


def test_nvidia_smi_alone_is_a_driver_too(driver, smi):
    driver.unlink()
    smi("")
    assert "There is an NVIDIA driver" in hardware.warning()


@pytest.mark.parametrize(
    ("kinds", "said", "text"),
    [
        (
            ["NVIDIA GeForce RTX 4090"],
            "NVIDIA GeForce RTX 4090, 24564",
            "NVIDIA GeForce RTX 4090, 24 GB",
        ),
        (
            ["NVIDIA H100", "NVIDIA H100", "Tesla T4"],
            "NVIDIA H100, 81559\nTesla T4, 15360",
            "2 x NVIDIA H100, 80 GB; Tesla T4, 15 GB",
        ),
        (["NVIDIA H100"], "NVIDIA H100, [N/A]", "NVIDIA H100"),
    ],
)
def test_gpus_are_named_with_their_memory(monkeypatch, smi, kinds, said, text):
    monkeypatch.setattr(jax, "local_devices", lambda: [device(k) for k in kinds])
    smi(said)
    assert hardware.describe() == text


def test_gpus_are_named_without_nvidia_smi(monkeypatch, tmp_path):
    monkeypatch.setattr(jax, "local_devices", lambda: [device("Tesla T4")])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.describe() == "Tesla T4"
