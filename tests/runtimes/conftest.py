from pathlib import Path

import pytest
from small import write_pictures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))
