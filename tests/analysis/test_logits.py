"""Pictures and logits for analysis are those of an evaluation."""

import numpy as np
import pytest
import torch
from PIL import Image

from normkd_explore.analysis import pictures
from normkd_explore.data import FileSplit, load_dataset, make_batches


@pytest.fixture
def streamed(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            folder = tmp_path / "d" / split / name
            folder.mkdir(parents=True)
            for number, (width, height) in enumerate([(150, 100), (97, 130), (120, 120)]):
                coarse = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
                Image.fromarray(coarse).resize((width, height)).save(folder / f"{number}.png")
    return load_dataset("imagefolder", tmp_path / "d", protocol="paper", image_size=100)


def test_pictures_of_files_are_those_that_an_evaluation_shows(streamed):
    assert isinstance(streamed.test, FileSplit)
    index_N = torch.tensor([4, 0, 1])
    found = streamed.normalize(pictures(streamed.test, index_N))
    (batch,) = make_batches(streamed, "test", 6, augment=False, workers=0).epoch(0)
    assert torch.equal(found, batch.images_BCHW[index_N])
