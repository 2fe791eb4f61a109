"""What `launch/remedies.py` times takes the updates that ship, but for rounding."""

import contextlib
import pathlib
import sys

import numpy as np
import pytest

from samg_jax.benchmarking import cases, programs, synthetic
from samg_jax.training import parts as parts_lib
from tests import small

ROOT = pathlib.Path(__file__).parent.parent
sys.path.append(str(ROOT / "launch"))
import remedy_cases  # noqa: E402
import remedy_patches  # noqa: E402

OF_AWAC = ("Adam by leaf", "late draws", "mapped seeds", "merged calls", "unrolled")
OF_CQL = ("axis", "one call", "states once", "all rows")
OF_CRITICS = ("separate critics", "wide first layer")
# Of each kind one; the script compares all itself, whenever it is run.
QUICK = ("late draws", "mapped seeds", "states once")


@pytest.fixture(scope="module")
def critics_after(tmp_path_factory):
    """Returns a function that takes ten updates of two seeds, under patches."""
    folder, known = tmp_path_factory.mktemp("data"), {}

    def take(algorithm, *patches):
        if (algorithm, patches) in known:
            return known[algorithm, patches]
        settings = small.NETWORKS[algorithm]
        case = cases.Case(
            algorithm, seeds=2, batch_size=16, rows=1_500, settings=settings
        )
        task = parts_lib.resolve_task(cases.load(case, ROOT / "configs"))
        path = synthetic.file(folder, task, case.rows)
        config = cases.load(case, ROOT / "configs", path)
        with contextlib.ExitStack() as stack:
            for name in patches:
                stack.enter_context(remedy_patches.PATCHES[name]())
            prepared = programs.prepare(case, config, programs.load(config))
            program = programs.Program(prepared, 10)
        before = np.asarray(layer(program))
        program.call()
        after = np.asarray(layer(program))
        text = program.compiled.as_text()
        known[algorithm, patches] = after, np.abs(after - before).max(), text
        return known[algorithm, patches]

    return take


def layer(program):
    """Returns the kernels between the critics' hidden layers, `[S, E, H, H]`."""
    critic = program.state.agent.critic.params["params"]
    return critic["MLP_0"]["Dense_1"]["kernel"]


@pytest.mark.parametrize(
    ("algorithm", "patch"),
    [
        pytest.param(
            algorithm, patch, marks=[] if patch in QUICK else [pytest.mark.slow]
        )
        for algorithm, patches in (("awac", OF_AWAC + OF_CRITICS), ("cql", OF_CQL))
        for patch in patches
    ],
)
def test_a_remedy_takes_the_updates_that_ship(algorithm, patch, critics_after):
    expected, moved, shipped = critics_after(algorithm)
    found, _, text = critics_after(algorithm, patch)
    assert moved > 1e-3
    assert np.abs(found - expected).max() < 1e-2 * moved
    assert text != shipped  # It is another program.


def test_every_patch_is_measured_and_every_case_has_three_remedies():
    used = set()
    for algorithm, seeds, remedies in remedy_cases.CASES.values():
        assert algorithm in cases.ALGORITHMS
        assert remedies[0] == remedy_cases.SHIPPED
        assert len({remedy.name for remedy in remedies}) == len(remedies) > 3
        assert all(seeds % remedy.shares == 0 for remedy in remedies)
        used |= {patch for remedy in remedies for patch in remedy.patches}
    assert used == set(remedy_patches.PATCHES) == {*OF_AWAC, *OF_CQL, *OF_CRITICS}
