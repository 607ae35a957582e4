"""A network whose weights are to be saved and read."""

import pytest
import torch

from normkd_explore.models import create_model


@pytest.fixture
def model():
    torch.manual_seed(11)
    network = create_model("resnet8", 7)
    network.train()(torch.randn(4, 3, 32, 32))
    return network
