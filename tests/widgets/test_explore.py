"""explore() takes what people have: models of every kind of forward, and torch data sets of every kind of sample."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import FakeData

from normkd_explore.analysis.samples import some_samples
from normkd_explore.data import load_dataset
from normkd_explore.models.origin import Origin, remember_origin
from normkd_explore.widgets.explore import explore
from tests.helpers.toy import toy_dataset

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Network(nn.Module):
    def __init__(self, wrap=lambda logits: logits, channels=3, classes=5):
        super().__init__()
        self.fc = nn.Linear(channels * 4, classes)
        self.wrap = wrap

    def forward(self, images):
        return self.wrap(self.fc(nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)))


def networks(**options):
    torch.manual_seed(1)
    return Network(**options).eval(), Network(**options).eval()


@torch.no_grad()
def expected(model, inputs):
    return model.double()(inputs.double()).numpy()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: (logits, torch.zeros(3)),
        lambda logits: [torch.zeros(len(logits), 4, 2, 2), logits],
        lambda logits: {"logits": logits, "loss": None},
        lambda logits: SimpleNamespace(logits=logits),
    ],
)
def test_models_may_return_tuples_mappings_and_objects(wrap):
    plain, wrapped = networks(), networks(wrap=wrap)
    one, other = (explore(*models, toy_dataset(), count=9) for models in (plain, wrapped))
    np.testing.assert_array_equal(one.logits_t_NC, other.logits_t_NC)
    np.testing.assert_array_equal(one.logits_s_NC, other.logits_s_NC)


def test_a_model_without_logits_is_told_what_to_return():
    with pytest.raises(TypeError, match="the network returned str, wanted logits"):
        explore(*networks(wrap=lambda logits: "cat"), toy_dataset())


def test_what_is_no_module_is_named():
    with pytest.raises(TypeError, match=r"model_s: found function, wanted a torch\.nn\.Module; wrap a function in one"):
        explore(networks()[0], fake, toy_dataset())


def fake(steps):
    return FakeData(20, (3, 10, 10), 5, transforms.Compose(steps) if steps else None)


NORMALISED = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]


@pytest.mark.parametrize("kind", ["data set", "subset", "loader", "list"])
def test_torchvision_data_sets_show_models_their_own_tensors(kind):
    data = fake(NORMALISED)
    given = {
        "data set": data,
        "subset": Subset(data, range(20)),
        "loader": DataLoader(data, batch_size=4),
        "list": [data[n] for n in range(20)],
    }[kind]
    models = networks()
    found = explore(*models, given, count=20)
    tensors = torch.stack([data[n][0] for n in range(20)])
    np.testing.assert_allclose(found.logits_t_NC, expected(models[0], tensors), atol=1e-5)
    assert found.labels == [int(data[n][1]) for n in range(20)]
    assert found.class_names == list("01234")
    if kind != "list":  # which does not say how it was normalised
        pixels = np.stack([np.asarray(fake(None)[n][0]) for n in np.linspace(0, 19, 7).astype(int).tolist()])
        np.testing.assert_array_equal(some_samples(given, 7).pictures_NHWC, pixels)


def test_tensors_without_normalize_are_shown_as_they_are():
    data, models = fake([transforms.ToTensor()]), networks()
    found = explore(*models, data, count=20)
    tensors = torch.stack([data[n][0] for n in range(20)])
    np.testing.assert_allclose(found.logits_s_NC, expected(models[1], tensors), atol=1e-6)


def test_pictures_need_to_be_told_their_normalisation():
    data, models = fake(None), networks()
    with pytest.raises(ValueError, match=r"mean, std: the data set gives pictures.*Pass mean=.*ToTensor and Normalize"):
        explore(*models, data)
    found = explore(*models, data, count=20, mean=MEAN, std=STD)
    tensors = torch.stack([fake(NORMALISED)[n][0] for n in range(20)])
    np.testing.assert_allclose(found.logits_t_NC, expected(models[0], tensors), atol=1e-5)


@pytest.mark.parametrize("steps", [None, [transforms.ToTensor(), transforms.Normalize((0, 0, 0), (9, 9, 9))]])
def test_models_that_know_their_normalisation_are_shown_that(steps):
    models = networks()
    for model in models:
        remember_origin(model, Origin(mean=MEAN, std=STD))
    found = explore(*models, fake(steps), count=20)
    tensors = torch.stack([fake(NORMALISED)[n][0] for n in range(20)])
    np.testing.assert_allclose(found.logits_t_NC, expected(models[0], tensors), atol=1e-5)


def test_grey_tensors_and_oblong_ones_work_too():
    for shape, channels in (((12, 1, 8, 8), 1), ((12, 3, 8, 14), 3)):
        images, labels = torch.randn(shape), torch.arange(12) % 5
        models = networks(channels=channels)
        found = explore(*models, TensorDataset(images, labels), count=12)
        np.testing.assert_allclose(found.logits_t_NC, expected(models[0], images), atol=1e-5)
        shown = some_samples(TensorDataset(images, labels), 12).pictures_NHWC
        assert shown.shape == (12, *shape[2:], channels)
        assert (shown.min(), shown.max()) == (0, 255)


def test_class_names_come_from_the_data_set_or_are_given():
    data = fake(NORMALISED)
    data.classes = list("vwxyz")
    assert explore(*networks(), Subset(data, [3, 4, 5])).class_names == list("vwxyz")
    assert explore(*networks(), data, class_names="abcde").class_names == list("abcde")
    with pytest.raises(ValueError, match=r"one logit for each class|class_names has"):
        explore(*networks(), data, class_names="abc")


def test_what_has_no_positions_is_told_what_to_pass():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(TypeError, match=r"dataset: found Stream, wanted .*list\(itertools.islice"):
        explore(*networks(), Stream())
    with pytest.raises(ValueError, match=r"dataset\[0\]: found int, wanted \(image, label\)"):
        explore(*networks(), [1, 2])
    with pytest.raises(ValueError, match="found images of shapes"):
        explore(*networks(), [(torch.zeros(3, 8, 8), 0), (torch.zeros(3, 9, 9), 1)])


def test_16_bit_pictures_are_scaled_by_their_range():
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).round()
    wide = Image.fromarray(ramp.astype(np.uint16))
    found = some_samples([(wide, n) for n in range(5)], 5, mean=MEAN, std=STD)
    assert np.abs(found.pictures_NHWC[0, ..., 0].numpy() - ramp / 65535 * 255).max() <= 0.51
    with pytest.raises(ValueError, match=r"dataset\[0\]: .*mode F"):
        explore(*networks(), [(Image.fromarray(ramp.astype(np.float32)), 0)], mean=MEAN, std=STD)


def test_this_packages_data_sets_work_as_before():
    glyphs = load_dataset("glyphs", train_size=200, val_size=100, test_size=100)
    found = explore(*networks(classes=100), glyphs, count=100)
    assert found.class_names == list(glyphs.class_names)
    assert found.labels == glyphs.test.labels_N.tolist()


def test_the_pair_is_found_in_the_whole_of_a_torch_data_set_too():
    data, models = fake(NORMALISED), networks()
    std_N = expected(models[0], torch.stack([data[n][0] for n in range(20)])).std(axis=1, ddof=1)
    found = explore(*models, data, count=4)
    shown_std = found.logits_t_NC.std(axis=1, ddof=1)
    right = [n for n in range(20) if expected(models[0], data[n][0][None]).argmax() == int(data[n][1])]
    among = std_N[right] if len(right) >= 2 else std_N
    np.testing.assert_allclose(shown_std[found.state["sample"]], among.max(), rtol=1e-5)
    np.testing.assert_allclose(shown_std[found.state["pinned"]], among.min(), rtol=1e-5)
    assert len(found.labels) == 4 and found.medians["samples"] == 20
    alone = explore(*models, Subset(data, [5]), count=1)
    assert alone.state["pinned"] is None
