"""JAX's own settings: which ones a run accepts, and which it refuses by name.

JAX has about a hundred, each with an environment variable `JAX_...` and a name for
`jax.config.update`. `SUPPORTED` ones change only speed, messages, JAX's files or the
devices; a test runs with all of them at once. `REQUIRED` ones must have one of the
listed values. Variables of all other settings are refused, because this package has
never been tested with them.
"""

from __future__ import annotations

import os

import jax

from samg_jax import checks

_SAME_NUMBERS = "results and checkpoints are those of JAX's own default"
_COPIES = "arrays are copied between host and devices all the time"
_GUARD = (None, "allow", "log", "log_explicit")
# JAX's setting -> the value that this package is written for, or a tuple of the allowed
# values, and the reason.
REQUIRED = {
    "jax_enable_x64": (False, "everything is computed in float32"),
    "jax_debug_nans": (False, "a seed that becomes NaN is frozen and the others go on"),
    "jax_debug_infs": (False, "a seed that overflows is frozen and the others go on"),
    "jax_disable_jit": (False, "uncompiled updates would take hours"),
    "jax_no_execution": (False, "nothing would be computed"),
    "jax_no_tracing": (False, "nothing could be compiled"),
    "jax_debug_key_reuse": (False, "JAX then refuses how keys are used here"),
    "jax_numpy_dtype_promotion": ("standard", "formulas mix numbers and arrays"),
    "jax_numpy_rank_promotion": ("allow", "formulas broadcast"),
    "jax_default_prng_impl": ("threefry2x32", _SAME_NUMBERS),
    "jax_threefry_partitionable": (True, _SAME_NUMBERS),
    "jax_random_seed_offset": (0, _SAME_NUMBERS),
    "jax_transfer_guard": (_GUARD, _COPIES),
    "jax_transfer_guard_host_to_device": (_GUARD, _COPIES),
    "jax_transfer_guard_device_to_host": (_GUARD, _COPIES),
    "jax_transfer_guard_device_to_device": (_GUARD, _COPIES),
    "jax_thread_guard": (False, "checkpoints are written by threads of their own"),
    "jax_array_garbage_collection_guard": (
        (None, "allow", "log"),
        "JAX would abort the process at an array in a reference cycle",
    ),
    "jax_raise_persistent_cache_errors": (
        False,
        "a damaged file of the compilation cache must not end a run",
    ),
    "jax_check_tracer_leaks": (False, "every program would be recompiled each time"),
}
_MESSAGES = """
    jax_captured_constants_report_frames jax_captured_constants_warn_bytes
    jax_check_proxy_envs jax_compiler_detailed_logging_min_ops jax_debug_log_modules
    jax_distributed_debug jax_explain_cache_misses
    jax_include_full_tracebacks_in_locations
    jax_log_checkpoint_residuals jax_log_compiles
    jax_logging_level jax_pallas_verbose_errors jax_pprint_use_color
    jax_send_traceback_to_runtime jax_source_url_schema jax_traceback_filtering
    jax_traceback_in_locations_limit jax_tracer_error_num_traceback_frames
"""
_FILES = """
    jax_compilation_cache_dir
    jax_compilation_cache_include_metadata_in_key jax_compilation_cache_max_size
    jax_dump_ir_modes jax_dump_ir_to jax_enable_compilation_cache
    jax_include_debug_info_in_dumps jax_persistent_cache_enable_xla_caches
    jax_persistent_cache_min_compile_time_secs jax_persistent_cache_min_entry_size_bytes
"""
_DEVICES = """
    jax_cpu_collectives_implementation jax_cpu_enable_async_dispatch
    jax_cuda_visible_devices jax_num_cpu_devices jax_oneapi_visible_devices
    jax_pjrt_client_create_options jax_platform_name jax_platforms
    jax_rocm_visible_devices
"""
# `config.matmul_precision` replaces this setting.
SUPPORTED = frozenset(
    f"{_MESSAGES} {_FILES} {_DEVICES} jax_default_matmul_precision".split()
)
# Variables that decide which devices JAX uses, and how much memory it reserves.
_DEVICE_VARIABLES = (
    *(name.upper() for name in _DEVICES.split()),
    "CUDA_VISIBLE_DEVICES",
    "XLA_PYTHON_CLIENT_ALLOCATOR",
    "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_CLIENT_MEM_FRACTION",
)


def check() -> None:
    """Refuses settings of JAX that would change what this package computes."""
    given = jax.config.values  # No version of JAX has all of them.
    for name, (wanted, reason) in REQUIRED.items():
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        found = given.get(name, allowed[0])
        if found not in allowed:
            words = ", ".join(str(one) for one in allowed if one is not None)
            raise checks.UserError(
                f"{name.upper()} is {found}, but {reason}. It must be "
                f"{'one of ' if ', ' in words else ''}{words}. Unset the environment "
                f"variable {name.upper()}, or remove the call of "
                f"jax.config.update({name!r}, ...)."
            )
    for name in sorted(set(given) - set(REQUIRED) - SUPPORTED):
        text = os.environ.get(name.upper())
        if text is not None:
            raise checks.UserError(
                f"The environment variable {name.upper()} is {text!r}, a setting of "
                "JAX that this package has not been tried with. Unset it."
            )
    folder = os.environ.get("JAX_DUMP_IR_TO")
    if folder and not folder.startswith("gs://"):
        _check_dumps(folder)


def _check_dumps(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise checks.UserError(
            f"The environment variable JAX_DUMP_IR_TO is {folder!r}, where JAX cannot "
            f"write ({error.strerror}). Unset it, or name another folder."
        ) from error


def device_variables() -> dict[str, str]:
    """The variables that are set and affect which devices JAX starts, and how."""
    given = {name: os.environ.get(name) for name in _DEVICE_VARIABLES}
    return {name: text for name, text in given.items() if text}
