"""Feature methods on the command line, with the published settings or marked as not published."""

from __future__ import annotations

from normkd_explore.methods import settings_for
from normkd_explore.training import RunFolder, material
from tests.helpers.command import normkd
from tests.helpers.toy import toy_dataset, toy_where


def test_command_line(tmp_path, monkeypatch):
    where = toy_where(tmp_path)
    monkeypatch.setattr(material, "open_dataset", lambda recipe, root: toy_dataset())
    small = ("--epochs", 1, "--batch-size", 16, "--lr", 0.01, "--device", "cpu")
    small = (*small, "--teacher-weights", where.teacher_weights)
    preset = "glyphs/resnet8-resnet8"
    told = normkd("train", preset, "--method", "fitnet", "--set", "hint=1", *small, "--out", tmp_path / "one")
    assert "hint 1" in told and "last epoch" in told
    told = normkd("compare", preset, "--methods", "kd,fitnet,crd", "--seeds", 1, *small, "--out", tmp_path / "many")
    assert all(name in told for name in ("kd", "fitnet", "crd"))
    assert RunFolder(tmp_path / "many" / "crd-seed0").recipe().settings.loss["negatives"] == 16384


def test_settings_are_the_published_ones_or_marked():
    field = {"fitnet": 100, "at": 1000, "rkd": 1, "sp": 3000, "pkt": 30000, "nst": 50, "vid": 1, "crd": 0.8}
    for method, weight in field.items():
        settings = settings_for(method, "cifar100", "wrn_40_2", "wrn_16_2")
        assert (settings.ce_weight, settings.kd_weight, settings.published) == (1, weight, True), method
    review = {pair: settings_for("reviewkd", *pair.split("/")) for pair in REVIEW}
    assert {pair: (s.kd_weight, s.warmup_epochs, s.published) for pair, s in review.items()} == REVIEW
    for method in ("sdd", "sdddkd", "sddnormkd"):
        assert not settings_for(method, "cifar100", "vgg13", "vgg8").published
    assert settings_for("at", "imagenet", "resnet34", "resnet18").published
    assert not settings_for("crd", "imagenet", "resnet34", "resnet18").published
    shown = normkd("presets", "--method", "reviewkd")
    assert "middle=512" in shown and "mdistiller" in shown


REVIEW = {
    "cifar100/resnet32x4/resnet8x4": (5.0, 20, True),
    "cifar100/wrn_40_2/wrn_40_1": (1.0, 20, False),
    "imagenet/resnet34/resnet18": (1.0, 1, False),
    "imagenet/resnet50/mobilenetv1": (8.0, 1, False),
}
