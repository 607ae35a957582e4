"""MEKD's losses against numpy in float64, and the facts that hold for them whatever the numbers are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from normkd_explore.blackbox import (
    Deprivatisation,
    Discriminator,
    Emulation,
    Generator,
    ImageAlignment,
    adversarial_loss,
    blackbox_preset,
    discriminator_loss,
    information_loss,
    to_pixels,
)
from normkd_explore.blackbox.recipe import SOFT
from normkd_explore.methods import Settings
from normkd_explore.training.objective import Objective


def drawn(*shape, seed=0, scale=2.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --- step one ------------------------------------------------------------------------------------------------


def test_the_adversarial_losses_are_binary_cross_entropies():
    real, made = drawn(9, seed=1), drawn(9, seed=2)
    d_real, d_made = sigmoid(real.numpy()), sigmoid(made.numpy())
    assert discriminator_loss(real, made).item() == pytest.approx(-np.log(d_real).mean() - np.log(1 - d_made).mean())
    assert adversarial_loss(made).item() == pytest.approx(-np.log(d_made).mean())
    assert torch.isfinite(discriminator_loss(torch.tensor([-1e4]), torch.tensor([1e4])))


def test_the_information_term_of_the_paper():
    made, p = drawn(12, seed=3), torch.softmax(drawn(12, 7, seed=4), dim=1)
    wanted = np.mean([-p[i].numpy().max() * np.log(sigmoid(made[i].item())) for i in range(12)])
    assert information_loss(made, p).item() == pytest.approx(wanted, rel=1e-12)
    hard = p.argmax(dim=1)
    assert information_loss(made, hard).item() == pytest.approx(adversarial_loss(made).item(), rel=1e-12)


def test_the_information_term_of_the_code_is_a_product_of_two_means():
    made, p = drawn(12, seed=3), torch.softmax(drawn(12, 7, seed=4), dim=1)
    index, log = p.numpy().argmax(axis=1), np.log(sigmoid(made.numpy()) + 1e-5)
    outer = -np.mean([[i * row for i in index] for row in log])
    for answers in (p, p.argmax(dim=1)):
        found = information_loss(made, answers, "index").item()
        assert found == pytest.approx(outer, rel=1e-12)
        assert found == pytest.approx(index.mean() * -log.mean(), rel=1e-12)
    assert information_loss(made, torch.zeros(12, dtype=torch.int64), "index").item() == 0, "class 0 weighs nothing"


@given(seed=st.integers(0, 500), order=st.permutations(range(5)))
@settings(max_examples=25, deadline=None)
def test_how_classes_are_numbered_matters_to_the_code_alone(seed, order):
    made, p = drawn(6, seed=seed), torch.softmax(drawn(6, 5, seed=seed + 1), dim=1)
    renumbered = p[:, list(order)]
    assert information_loss(made, p).item() == pytest.approx(information_loss(made, renumbered).item(), rel=1e-12)
    shifted = torch.roll(F.one_hot(p.argmax(1), 5), 1, dims=1).argmax(1)
    if (p.argmax(1) < 4).all():
        more = information_loss(made, shifted, "index") - information_loss(made, p, "index")
        assert more.item() == pytest.approx(information_loss(made, torch.ones(6, dtype=torch.int64), "index").item())


def test_gradients_reach_the_scores_and_no_further():
    made = drawn(5).requires_grad_()
    p = torch.softmax(drawn(5, 4, seed=1), dim=1)
    (gradient,) = torch.autograd.grad(information_loss(made, p), made)
    wanted = -p.max(dim=1).values * (1 - torch.sigmoid(made)) / 5
    assert torch.allclose(gradient, wanted)


@pytest.mark.parametrize("answers", [torch.zeros(3, 4), torch.zeros(4, 2, 2), torch.zeros(4, 1, dtype=torch.int64)])
def test_answers_of_another_shape_are_refused(answers):
    with pytest.raises(ValueError, match=r"answers: found shape .* for \(4,\) scores"):
        information_loss(torch.zeros(4), answers)


def test_networks_have_the_published_sizes():
    g, d = Generator(10), Discriminator()
    assert g.first.weight.shape == (128 * 64, 10) and g(torch.zeros(2, 10)).shape == (2, 3, 32, 32)
    shapes = [tuple(m.weight.shape) for m in (*g.modules(), *d.modules()) if isinstance(m, torch.nn.Conv2d)]
    assert shapes[:3] == [(128, 128, 3, 3), (64, 128, 3, 3), (3, 64, 3, 3)]
    assert [shape[0] for shape in shapes[3:]] == [16, 32, 64, 128] and d(torch.zeros(2, 3, 32, 32)).shape == (2,)
    norms = [m.eps for m in (*g.modules(), *d.modules()) if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms == [1e-5, 0.8, 0.8, 0.8, 0.8, 0.8]
    assert Generator(7, 16, 8)(torch.zeros(1, 7)).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="image_size: found 30, wanted a multiple of 4"):
        Generator(10, 30)


def test_pixels_are_eight_bits_of_what_lies_between_minus_one_and_one():
    images = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1)
    assert to_pixels(images).tolist() == [[[[0, 128, 255]]]]
    assert to_pixels(torch.full((1, 3, 2, 2), 7.0)).max() == 255


def test_a_step_moves_both_networks_and_depends_on_its_number_alone():
    def trained(numbers):
        torch.manual_seed(0)
        training = Deprivatisation(Generator(5, 8, 4), Discriminator(8), None, seed=3)
        for number in numbers:
            torch.manual_seed(len(numbers))  # what was drawn before must not matter
            training.step(torch.linspace(-1, 1, 4 * 3 * 64).view(4, 3, 8, 8), number)
        return training

    first, again, other = trained([0, 1]), trained([0, 1]), trained([0, 2])
    for one, two in ((first, again), (first, other)):
        same = [
            torch.equal(a, b)
            for name in ("generator", "discriminator")
            for a, b in zip(getattr(one, name).parameters(), getattr(two, name).parameters(), strict=True)
        ]
        assert all(same) if two is again else not all(same)
    assert first.read()["discriminator"] > 0 and first.read() == dict.fromkeys(
        ("discriminator", "generator", "information"), 0.0
    )


# --- step two ------------------------------------------------------------------------------------------------


def small_generator(classes=6):
    torch.manual_seed(1)
    generator = Generator(classes, 8, 4)
    for _ in range(5):
        generator(torch.randn(32, classes))  # running means of its own
    for norm in (m for m in generator.modules() if isinstance(m, torch.nn.Conv2d)):
        torch.nn.init.normal_(norm.weight, 0, 0.3)
    return generator


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_alignment_is_a_mean_over_batch_colours_and_pixels(distance):
    generator = small_generator()
    s, t = drawn(3, 6, seed=1).float(), drawn(3, 6, seed=2).float()
    found = ImageAlignment(generator, 5.0, distance)(s, t)
    with torch.no_grad():
        pictures = [generator.eval()(z / 5.0).numpy().astype(np.float64) for z in (s, t)]
    apart = [abs(a - b) if distance == "l1" else (a - b) ** 2 for a, b in zip(*map(np.ravel, pictures), strict=True)]
    assert len(apart) == 3 * 3 * 8 * 8
    assert found.item() == pytest.approx(np.mean(apart), rel=1e-5)


def test_equal_logits_make_equal_pictures_and_the_gradient_reaches_the_student_alone():
    generator = small_generator()
    alignment = ImageAlignment(generator)
    s, t = drawn(3, 6).float().requires_grad_(), drawn(3, 6, seed=1).float().requires_grad_()
    assert alignment(s, s.detach()).item() == 0
    alignment(s, t).backward()
    assert s.grad.abs().sum() > 0 and t.grad is None
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_the_generator_stays_as_it_is_whatever_mode_the_objective_is_put_in():
    alignment = ImageAlignment(small_generator())
    before = {name: value.clone() for name, value in alignment.state_dict().items()}
    alignment.train()
    alignment(drawn(8, 6).float(), drawn(8, 6, seed=1).float())
    assert all(torch.equal(value, before[name]) for name, value in alignment.state_dict().items())


def test_alignment_has_the_gradient_of_finite_differences():
    generator = small_generator().double()
    alignment = ImageAlignment(generator, 3.0, "l2")
    alignment.generator.double()
    s, t = drawn(2, 6).requires_grad_(), drawn(2, 6, seed=1)

    def exact(z):
        return (generator(z / 3.0) - generator(t / 3.0)).square().mean()

    assert torch.autograd.gradcheck(exact, (s,))


def test_the_default_is_the_codes_tau_times_kl():
    """kd_weight 1/tau times KD's tau² KL is the released code's tau · batchmean KL."""
    recipe = blackbox_preset("glyphs/resnet20-resnet8")
    assert recipe.settings == SOFT and recipe.image_weight == 1 and recipe.image_temperature == 5
    s, t, target = drawn(4, 6), drawn(4, 6, seed=1), torch.zeros(4, dtype=torch.int64)
    p, q = (np.exp(z.numpy() / 5) / np.exp(z.numpy() / 5).sum(1, keepdims=True) for z in (t, s))
    wanted = 5 * (p * np.log(p / q)).sum(1).mean()
    assert Objective("kd", recipe.settings, 1)(s, t, target, 1).total.item() == pytest.approx(wanted, rel=1e-9)


def test_emulation_adds_the_weighted_alignment_and_nothing_else():
    objective = Objective("normkd", Settings({"t_norm": 2.0}, 0.1, 0.9), 3)
    alignment = ImageAlignment(small_generator(), 5.0)
    s, t, target = drawn(4, 6).float(), drawn(4, 6, seed=1).float(), torch.tensor([0, 1, 2, 3])
    plain, whole = objective(s, t, target, 1), Emulation(objective, alignment, 2.5)(s, t, target, 1)
    assert whole.total.item() == pytest.approx((plain.total + 2.5 * alignment(s, t)).item(), rel=1e-6)
    assert (whole.ce, whole.kd) == (plain.ce, plain.kd)
    assert Emulation(objective, alignment, 1.0).kd_weight(1) == objective.kd_weight(1)


def test_a_method_with_another_loss_keeps_its_settings_and_loses_the_labels():
    recipe = blackbox_preset("glyphs/resnet20-resnet8", "normkd")
    assert recipe.settings.ce_weight == 0 and recipe.settings.kd_weight == 0.9
    hard = blackbox_preset("glyphs/resnet20-resnet8", answers="hard")
    assert hard.method == "ce" and hard.teacher == "resnet20" and not hard.asks_in_step_one
    local = blackbox_preset("glyphs/resnet20-resnet8", pictures="local")
    assert local.image_weight == 0 and local.budget() == recipe.budget() == hard.budget()
