"""Order and views are a function of (seed, epoch): resuming is exact and processes agree."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.data import ArraySplit, Dataset, Views, make_batches

COUNT = 53


def small_dataset(count=COUNT):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 8, 8, 3), dtype=torch.uint8, generator=generator)
    split = ArraySplit(images, torch.arange(count) % 4)
    return Dataset("small", split, split, split, tuple("abcd"), (0.5,) * 3, (0.25,) * 3, Views(pad=1))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@settings(deadline=None, max_examples=25)
@given(batch_size=st.integers(1, 60), epoch=st.integers(0, 300), data=st.data())
def test_an_epoch_can_be_resumed_at_any_step(batch_size, epoch, data):
    batches = make_batches(small_dataset(), "train", batch_size, augment=True, seed=3)
    whole = list(batches.epoch(epoch))
    start = data.draw(st.integers(0, len(batches)))
    resumed = list(make_batches(small_dataset(), "train", batch_size, augment=True, seed=3).epoch(epoch, start))
    assert len(resumed) == len(whole) - start
    assert all(same(a, b) for a, b in zip(resumed, whole[start:], strict=True))


def test_an_epoch_shows_every_image_once_in_a_new_order():
    batches = make_batches(small_dataset(), "train", 8, augment=True)
    orders = [torch.cat([batch.index_B for batch in batches.epoch(epoch)]) for epoch in range(3)]
    assert all(torch.equal(order.sort().values, torch.arange(COUNT)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[1], orders[2])


def test_other_seeds_give_other_orders_even_when_seed_plus_epoch_agrees():
    def order(seed, epoch):
        return torch.cat(
            [b.index_B for b in make_batches(small_dataset(), "train", 8, augment=True, seed=seed).epoch(epoch)]
        )

    assert not torch.equal(order(0, 1), order(1, 0))
    assert not torch.equal(order(0, 0), order(1, 0))


def test_epochs_do_not_touch_or_read_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = list(make_batches(small_dataset(), "train", 8, augment=True).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = list(make_batches(small_dataset(), "train", 8, augment=True).epoch(0))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_the_global_batch(world_size):
    alone = list(make_batches(small_dataset(), "train", 12, augment=True).epoch(1))
    shares = [
        list(make_batches(small_dataset(), "train", 12, augment=True, rank=r, world_size=world_size).epoch(1))
        for r in range(world_size)
    ]
    assert {len(share) for share in shares} == {len(alone)}
    for step, whole in enumerate(alone):
        parts = [share[step] for share in shares]
        assert len({len(part.labels_B) for part in parts}) == 1
        together = torch.cat([part.index_B for part in parts]).sort().values
        used = len(whole.index_B) - len(whole.index_B) % world_size
        assert torch.equal(together, whole.index_B[:used].sort().values)
        for rank, part in enumerate(parts):
            assert torch.equal(part.images_BCHW, whole.images_BCHW[rank:used:world_size])


def test_processes_that_evaluate_leave_no_image_out():
    parts = [
        batch.index_B
        for rank in range(4)
        for batch in make_batches(small_dataset(), "val", 12, augment=False, rank=rank, world_size=4).epoch(0)
    ]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(COUNT))


def test_more_processes_than_images_of_a_step_get_empty_batches():
    """53 images and 60 processes: the last seven have none, and so it is in a last step with fewer images."""
    options = {"augment": False, "world_size": 60}
    sizes = [
        [len(batch.images_BCHW) for batch in make_batches(small_dataset(), "val", 60, rank=rank, **options).epoch(0)]
        for rank in range(60)
    ]
    assert sizes == [[1]] * 53 + [[0]] * 7
    late = make_batches(small_dataset(), "val", 12, augment=False, rank=11, world_size=12)
    assert [len(batch.images_BCHW) for batch in late.epoch(0)] == [1, 1, 1, 1, 0]


def test_training_never_leaves_a_process_without_an_image():
    """A last step with fewer images than processes is left out: all processes have the same number in every step."""
    for world_size, batch_size, steps in ((12, 24, 2), (7, 7, 7), (53, 53, 1), (27, 27, 1)):
        for rank in (0, world_size - 1):
            options = {"augment": True, "rank": rank, "world_size": world_size}
            shares = list(make_batches(small_dataset(), "train", batch_size, **options).epoch(0))
            assert [len(batch.labels_B) for batch in shares] == [batch_size // world_size] * steps


def test_lengths_and_samples():
    def batches(**options):
        return make_batches(small_dataset(), "train", 8, **{"augment": True} | options)

    assert (len(batches()), batches().num_samples) == (7, 53)
    assert (len(batches(drop_last=True)), batches(drop_last=True).num_samples) == (6, 48)
    assert (len(batches(world_size=2)), batches(world_size=2).num_samples) == (7, 52)
    assert sum(len(batch.labels_B) for batch in batches(drop_last=True).epoch(0)) == 48


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, found 0"),
        ({"batch_size": 10, "world_size": 4}, "10 cannot be shared evenly by 4; take 8"),
        ({"batch_size": 8, "rank": 2, "world_size": 2}, "found rank 2 with world_size 2"),
        ({"batch_size": 64, "drop_last": True}, "53 images cannot fill one step of 64; use a smaller batch"),
        ({"batch_size": 64, "world_size": 64}, "found 53 training images for 64 processes"),
        ({"split": "validation"}, 'split must be "train", "val" or "test", found \'validation\''),
    ],
)
def test_numbers_that_do_not_fit_are_named(options, message):
    arguments = {"split": "train", "batch_size": 8, "augment": True} | options
    with pytest.raises(ValueError, match=message):
        make_batches(small_dataset(), **arguments)


def test_a_step_outside_the_epoch_is_named():
    batches = make_batches(small_dataset(), "train", 8, augment=True)
    assert list(batches.epoch(0, start_step=7)) == []
    with pytest.raises(ValueError, match=r"start_step must be in 0 \.\. 7, found 8"):
        next(batches.epoch(0, start_step=8))


def test_the_paper_protocol_has_no_val_split_and_says_so():
    split = small_dataset().train
    dataset = Dataset("small", split, None, split, tuple("abcd"), (0.5,) * 3, (0.25,) * 3)
    with pytest.raises(ValueError, match='protocol="paper", which has no "val" split'):
        make_batches(dataset, "val", 8, augment=False)
