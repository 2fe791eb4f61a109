"""Registering an algorithm of one's own; the README's tests train the examples."""

import types

import pytest

from samg_jax import algorithms, checks


def test_a_name_is_registered_once_and_with_what_it_needs():
    with pytest.raises(checks.UserError, match=r"'awac' is already that of samg_jax"):
        algorithms.register("awac", types.ModuleType("mine"))
    with pytest.raises(checks.UserError, match="mine has no Config and no make"):
        algorithms.register("mine", types.ModuleType("mine"))
