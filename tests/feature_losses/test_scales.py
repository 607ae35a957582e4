"""SDD: its sum over the cells, the logits of the cells, and the classifiers of all networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normkd_explore.data import Batch
from normkd_explore.feature_losses import SDD, cell_logits, find_head, introduce
from normkd_explore.losses import DKD, KD, NormKD
from normkd_explore.methods import METHODS
from normkd_explore.models import Features, create_model, list_models
from normkd_explore.training import Teacher, make_fabric
from normkd_explore.training.learner import Learner
from tests.helpers.feature_cases import CELLS, MAPS_S, TARGET, B, rand
from tests.helpers.toy import CLASSES, toy_recipe


@pytest.mark.parametrize("average", [True, False])
def test_sdd_equals_numpy(average):
    s, t = (cells.numpy() for cells in CELLS)
    softmax = lambda z: np.exp(z) / np.exp(z).sum()  # noqa: E731
    total, twice = 0.0, 0
    for b in range(B):
        right = [t[b, p].argmax() == TARGET[b].item() for p in range(5)]
        for p in range(5):
            P_t, P_s = softmax(t[b, p] / 4), softmax(s[b, p] / 4)
            weight = 2 if right[p] != right[0] else 1
            twice += weight == 2
            total += weight * 16 * (P_t * np.log(P_t / P_s)).sum() / B / (5 if average else 1)
    assert 0 < twice < 5 * B
    assert SDD(KD(4.0), average)(*CELLS, TARGET).item() == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("base", [KD(4.0), DKD(), NormKD()])
def test_sdd_with_the_whole_image_alone_is_the_base_loss(base):
    s, t = (cells[:, :1] for cells in CELLS)
    for average in (True, False):
        torch.testing.assert_close(SDD(base, average)(s, t, TARGET), base(s[:, 0], t[:, 0], TARGET))


def test_sdd_averages_where_no_cell_contradicts():
    s, t = CELLS[0], CELLS[1][:, :1].expand(-1, 5, -1)
    wanted = torch.stack([KD(4.0)(s[:, p], t[:, p]) for p in range(5)])
    torch.testing.assert_close(SDD(KD(4.0))(s, t, TARGET), wanted.mean())
    torch.testing.assert_close(SDD(KD(4.0), average=False)(s, t, TARGET), wanted.sum())


def test_logits_of_the_cells_average_to_those_of_the_image():
    torch.manual_seed(0)
    classifier = nn.Linear(3, 4).double()
    cells = cell_logits(rand(2, 3, 8, 8), classifier, (1, 2, 4))
    assert cells.shape == (2, 21, 4)
    torch.testing.assert_close(cells[:, 0], classifier(rand(2, 3, 8, 8).mean((2, 3))))
    torch.testing.assert_close(cells[:, 1:5].mean(1), cells[:, 0])
    torch.testing.assert_close(cells[:, 5:].mean(1), cells[:, 0])
    corner = classifier(rand(2, 3, 8, 8)[..., :4, 4:].mean((2, 3)))
    torch.testing.assert_close(cells[:, 2], corner)


def seen_network(name: str, seed: int = 0) -> nn.Module:
    """A network whose batch norms are not those of the start."""
    torch.manual_seed(seed)
    model = create_model(name, num_classes=CLASSES)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


@pytest.mark.parametrize("name", list_models())
def test_head_gives_the_network_its_own_logits(name):
    """The average of the last map times the classifier, in numpy: for every network of the zoo, to ten digits."""
    size = 64 if name in ("resnet18", "resnet34", "resnet50", "mobilenetv1") else 32
    model = seen_network(name)
    head = find_head(model, size)
    with torch.no_grad():
        logits, features = model.double().eval()(rand(2, 3, size, size), return_features=True)
        cells = head.cells(features, (1,))
    last = (features.stages[-1] if features.last_map is None else features.last_map).numpy()
    pooled = last.reshape(*last.shape[:2], -1).sum(2) / (last.shape[2] * last.shape[3])
    weight, bias = (tensor.detach().numpy() for tensor in (head.classifier.weight, head.classifier.bias))
    np.testing.assert_allclose(features.pooled.numpy(), pooled, rtol=1e-10, atol=1e-12 * pooled.max())
    for found in (logits, cells[:, 0]):
        np.testing.assert_allclose(found.numpy(), pooled @ weight.T + bias, rtol=1e-9, atol=1e-10 * logits.abs().max())


class Odd(nn.Module):
    """A network whose last map is none of its stages; `bend` is what its logits go through."""

    def __init__(self, bend: nn.Module, hands_out_map: bool, bias: bool = True) -> None:
        super().__init__()
        self.conv, self.classifier, self.bend = nn.Conv2d(3, 4, 1), nn.Linear(4, CLASSES, bias=bias), bend
        self.hands_out_map = hands_out_map

    def forward(self, images: torch.Tensor, return_features: bool = False):
        first = self.conv(images)
        last = first.square()
        pooled = last.mean((2, 3))
        logits = self.bend(self.classifier(pooled))
        return logits, Features((first,), None, pooled, last if self.hands_out_map else None)


def test_a_network_of_ones_own_hands_out_its_last_map():
    torch.manual_seed(0)
    for bias in (True, False):
        model = Odd(nn.Identity(), hands_out_map=True, bias=bias)
        logits, features = model(rand(2, 3, 8, 8, dtype=torch.float32), return_features=True)
        torch.testing.assert_close(find_head(model, 8).cells(features, (1, 2))[:, 0], logits)


def test_networks_without_a_linear_head_on_their_map_are_refused():
    torch.manual_seed(0)
    silent = Odd(nn.Identity(), hands_out_map=False)
    nn.init.zeros_(silent.classifier.weight)  # its logits agree with those of any map
    for model in (Odd(nn.Tanh(), hands_out_map=True), Odd(nn.Identity(), hands_out_map=False), silent):
        with pytest.raises(ValueError, match=r"Odd: its logits are not a linear layer.*Features\.last_map"):
            find_head(model, 8)


PUBLISHED = ["vgg13/MobileNetV2", "ResNet50/MobileNetV2", "resnet32x4/ShuffleV2", "wrn_40_2/ShuffleV1"]


@pytest.mark.parametrize("pair", PUBLISHED)
def test_published_pairs_train_a_step(pair):
    fabric, labels, index = make_fabric("cpu"), torch.tensor([2, 0, 4]), torch.arange(3)
    teacher = Teacher(seen_network(pair.split("/")[0], seed=1), fabric)
    images = rand(3, 3, 32, 32, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    batch = Batch(images, labels, index, torch.zeros_like(index))
    answer = teacher.logits_and_features(batch)
    direct = teacher.model(images, return_features=True)[1].last_map
    assert (answer[1].last_map is None) == (direct is None)
    for method in ("sdd", "sdddkd", "sddnormkd"):
        student = create_model(pair.split("/")[1], num_classes=CLASSES)
        learner = Learner(toy_recipe(method), student, fabric, 1, introduce(student, teacher.model, 32, labels))
        before = [parameter.detach().clone() for parameter in student.parameters()]
        learner.step(batch, answer[0], 0, 0, answer[1])
        moved = [not torch.equal(*pair) for pair in zip(before, learner.module.parameters(), strict=True)]
        assert all(moved), method
        assert all(torch.isfinite(parameter).all() for parameter in learner.module.parameters())


def test_the_teachers_last_map_is_that_of_all_its_blocks():
    """On a CPU the teacher looks at 32 images at a time, and fills the last block up."""
    teacher = Teacher(seen_network("MobileNetV2"), make_fabric("cpu"))
    images = rand(35, 3, 32, 32, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    wanted = teacher.model(images, return_features=True)[1].last_map
    _, features = teacher.logits_and_features(Batch(images, *[torch.zeros(35, dtype=torch.long)] * 3))
    torch.testing.assert_close(features.last_map, wanted, rtol=1e-3, atol=1e-4)


def test_a_grid_finer_than_the_map_is_refused_before_training():
    couple = introduce(*(create_model(name, CLASSES) for name in ("MobileNetV2", "vgg13")), 32, torch.tensor([0, 1]))
    assert (couple.student.last_map, couple.teacher.last_map) == ((1280, 2, 2), (512, 4, 4))
    for method in ("sdd", "sdddkd", "sddnormkd"):
        METHODS[method].build(grid=2).connect(couple)
        with pytest.raises(ValueError, match=r"scales: found 4, wanted at most 2.*2x2 places.*coarser grid"):
            METHODS[method].build(grid=4).connect(couple)


def test_errors_teach():
    with pytest.raises(ValueError, match=r"cells: found shapes \(3, 4\) .*cell_logits"):
        SDD(KD(4.0))(CELLS[0][:, 0], CELLS[1][:, 0], TARGET)
    with pytest.raises(ValueError, match=r"scales: found 4, wanted at most 2"):
        cell_logits(MAPS_S[2], nn.Linear(4, 3), (1, 4))
