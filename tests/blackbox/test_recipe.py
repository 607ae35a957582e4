"""The recipes of black-box distillation."""

from normkd_explore.blackbox import blackbox_lesson, blackbox_preset


def test_the_lesson_is_cut_for_glyphs_alone():
    small = blackbox_lesson(blackbox_preset("glyphs/resnet20-resnet8"))
    assert small.queries == 4800 and small.data_options["train_size"] == 2400
    other = blackbox_preset("cifar100/resnet32x4-resnet8x4")
    assert blackbox_lesson(other) == other and other.generator_epochs == 200
