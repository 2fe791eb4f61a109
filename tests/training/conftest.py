import pytest

from tests import runs


@pytest.fixture(scope="session")
def samg_run(dataset, tmp_path_factory):
    """A SAMG run that never stopped."""
    return runs.run("awac_samg", dataset, tmp_path_factory.mktemp("samg") / "run")


@pytest.fixture(scope="session")
def awac_run(dataset, tmp_path_factory):
    """A vanilla run that never stopped."""
    return runs.run("awac", dataset, tmp_path_factory.mktemp("awac") / "run")


@pytest.fixture
def without_data(dataset):
    """Takes the dataset's file away, for the time of a test."""
    elsewhere = dataset.with_suffix(".away")
    dataset.rename(elsewhere)
    yield dataset
    elsewhere.rename(dataset)
