import pytest
from matplotlib import pyplot


@pytest.fixture
def figures():
    """What a test draws, in order; closed when it ends, whatever closes it before."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyplot, "close", drawn.append)
        yield drawn
    for figure in drawn:
        pyplot.close(figure)
