import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Helpers of one test folder are used by others: 'world', 'run.test_drive'.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def _nothing_that_was_measured_on_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What somebody's own 'rain check' found out changes scores: not in a test, nor in the processes it starts."""
    before = os.environ.get("RAIN_CALIBRATIONS")
    os.environ["RAIN_CALIBRATIONS"] = str(tmp_path_factory.mktemp("calibrations"))
    yield
    del os.environ["RAIN_CALIBRATIONS"]
    if before is not None:
        os.environ["RAIN_CALIBRATIONS"] = before
