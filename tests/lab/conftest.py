import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread_each():
    """Tests run side by side: networks as small as theirs only wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
