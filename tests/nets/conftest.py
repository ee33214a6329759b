"""Settings of the network tests: one thread, the tester importable, `slow` for what need not run on each change."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
settings.register_profile("nets", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nets")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: seconds each; leave out with -m 'not slow'")
