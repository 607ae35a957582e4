"""Fixtures of the tests that read image files."""

from __future__ import annotations

import pytest

from normkd_explore.data.glyphs.drawn import draw_photos
from normkd_explore.data.images import gpu_jpeg, streaming
from normkd_explore.data.images.gpu_jpeg import Decoder
from tests.helpers.photos import CPU


@pytest.fixture
def pretend_gpu(monkeypatch):
    """A decoder on the processor in place of the GPU's."""
    on_processor = gpu_jpeg.decode_jpeg
    monkeypatch.setattr(gpu_jpeg, "decode_jpeg", lambda files, device: on_processor(files, CPU))
    monkeypatch.setattr(streaming, "choose_decoder", lambda names, device: Decoder(True, "a test"))


@pytest.fixture
def photos(tmp_path):
    return draw_photos(tmp_path, train=3, val=2, size=(150, 120))
