"""Federations in process: exact resume wherever they stop, what may and may not matter, and what the folder says."""

import copy
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from normkd_explore.data import ArraySplit
from normkd_explore.federated import FederatedFolder, Federation, federate, federated_preset, predict, run_rounds
from normkd_explore.federated.client import places
from normkd_explore.methods import METHODS
from normkd_explore.training import Interrupted, NonFiniteError, Where, make_fabric
from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint
from tests.helpers.toy import toy_dataset

HERE = Where(device="cpu")
ATTACKED = {"malicious": 1, "attack": "random"}


def toy(method="normkd", **changes):
    """Four clients, 40 private and 16 public images of five colours, two rounds."""
    sizes = {"clients": 4, "public": 16, "rounds": 2, "batch_size": 8, "first_epochs": 1, "aggregate": "expguard"}
    return federated_preset("glyphs/resnet8-resnet8", method, **{**sizes, **changes})


def quiet(moment, federation):
    """A watcher that shows nothing."""


def run(recipe, out, **options):
    return federate(recipe, out, HERE, watch=quiet, dataset=toy_dataset(), **options)


def finished(recipe, dataset=None):
    """The federation after its last round, in memory."""
    federation = Federation(recipe, dataset or toy_dataset(), make_fabric("cpu"))
    run_rounds(federation)
    return federation


def weights(federation):
    return [client.local.module.state_dict() for client in federation.clients]


def same(first, second):
    return all(
        torch.equal(tensor, theirs[name])
        for mine, theirs in zip(first, second, strict=True)
        for name, tensor in mine.items()
    )


def on_disk(out):
    return [load_file(out / "clients" / f"{k}.safetensors") for k in range(4)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An attacked run that was never stopped, with its clean twin."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, run(toy(**ATTACKED), out)


# --- resume --------------------------------------------------------------------------------------------------


def steps_of(recipe):
    federation = Federation(recipe, toy_dataset(), make_fabric("cpu"))
    return federation.local_steps, federation.steps_of(0)


LOCAL, STEPS = steps_of(toy())


def stop_at(round_, step):
    """A watcher that presses Ctrl-C once in the attacked federation."""

    def watch(moment, federation):
        if federation.attack and (moment.epoch, moment.step) == (round_, step):
            os.kill(os.getpid(), signal.SIGINT)

    return watch


@pytest.mark.parametrize(
    ("round_", "step"),
    [(0, 1), (0, LOCAL - 1), (0, LOCAL), (0, LOCAL + 1), (0, STEPS), (1, 1), (1, LOCAL), (1, STEPS - 1)],
)
def test_resume_is_exact_wherever_a_round_stops(whole, tmp_path, round_, step):
    out = tmp_path / "run"
    options = {"dataset": toy_dataset(), "clean": whole[0] / "clean"}
    with pytest.raises(Interrupted) as stopped:
        federate(toy(**ATTACKED), out, HERE, watch=stop_at(round_, step), **options)
    expected = (round_, step) if step < STEPS else (round_ + 1, 0)
    assert (stopped.value.epoch, stopped.value.step, stopped.value.unit) == (*expected, "round")
    federate(toy(**ATTACKED), out, HERE, resume=True, watch=quiet, **options)
    assert same(on_disk(out), on_disk(whole[0]))
    for mine, theirs in zip(FederatedFolder(out).metrics(), FederatedFolder(whole[0]).metrics(), strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_stopped_twin_is_resumed_too(whole, tmp_path):
    def stop(moment, federation):
        if federation.attack is None and (moment.epoch, moment.step) == (1, 2):
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        federate(toy(**ATTACKED), out, HERE, watch=stop, dataset=toy_dataset())
    run(toy(**ATTACKED), out, resume=True)
    assert same(on_disk(out), on_disk(whole[0])) and same(on_disk(out / "clean"), on_disk(whole[0] / "clean"))


@pytest.mark.parametrize("part", ["answer", "rule", "momentum"])
def test_whatever_were_forgotten_would_be_noticed(whole, tmp_path, part):
    """The comparison above can fail: each part of the state is needed."""
    out = tmp_path / "run"
    step = LOCAL + 1 if part == "answer" else 1
    options = {"dataset": toy_dataset(), "clean": whole[0] / "clean"}
    with pytest.raises(Interrupted):
        federate(toy(**ATTACKED), out, HERE, watch=stop_at(1, step), **options)
    point = latest_checkpoint(out / "checkpoints")
    state = point.state
    if part == "answer":
        state["answer"] = torch.zeros_like(state["answer"])
    elif part == "rule":
        state["rule"] = None
    else:
        for client in state["clients"]:
            for slot in client["distil"]["optimizer"].values():
                slot["momentum_buffer"].zero_()
    save_checkpoint(out / "checkpoints", point.epoch, point.step, state, point.recipe)
    federate(toy(**ATTACKED), out, HERE, resume=True, watch=quiet, **options)
    assert not same(on_disk(out), on_disk(whole[0]))


def test_other_recipes_are_refused_before_the_twin_takes_its_time(whole, tmp_path):
    steps = []
    options = {"dataset": toy_dataset(), "watch": lambda moment, federation: steps.append(moment)}
    with pytest.raises(ValueError, match=r"another recipe \(rounds: 2 before, 3 now"):
        federate(toy(rounds=3, **ATTACKED), whole[0], HERE, resume=True, clean=tmp_path / "new", **options)
    with pytest.raises(FileExistsError, match="finished run"):
        federate(toy(**ATTACKED), whole[0], HERE, clean=tmp_path / "new", **options)
    assert not steps and not (tmp_path / "new").exists()


def test_a_clean_run_of_another_seed_is_no_twin(whole, tmp_path):
    with pytest.raises(ValueError, match=r"another recipe \(seed: 0 before, 1 now"):
        run(toy(seed=1, **ATTACKED), tmp_path / "run", clean=whole[0] / "clean")


def test_a_finished_run_is_left_as_it_is(whole):
    before = (whole[0] / "summary.json").stat().st_mtime_ns
    assert run(toy(**ATTACKED), whole[0], resume=True) == whole[1]
    assert (whole[0] / "summary.json").stat().st_mtime_ns == before


# --- what the folder says ------------------------------------------------------------------------------------


def test_metrics_and_summary(whole):
    out, summary = whole
    clean, attacked = (FederatedFolder(folder).metrics() for folder in (out / "clean", out))
    assert [record["round"] for record in attacked] == [1, 2]
    for plain, record in zip(clean, attacked, strict=True):
        assert plain["drop"] is None and plain["attacker_ranks"] == []
        victims = [record["val"]["clients"][k] for k in range(3)]
        assert record["val"]["victims"] == pytest.approx(sum(victims) / 3)
        assert record["val"]["all"] == pytest.approx(sum(record["val"]["clients"]) / 4)
        expected = sum(plain["val"]["clients"][:3]) / 3 - record["val"]["victims"]
        assert record["drop"]["victims"] == pytest.approx(expected)
        scores = record["outlier_scores"]
        assert record["attacker_ranks"] == [1 + sum(score > scores[3] for score in scores)]
        assert sum(record["weights"]) == pytest.approx(1)
    assert attacked[0]["uploads_top1"][:3] == clean[0]["uploads_top1"][:3]  # before the first answer all is equal
    stored = FederatedFolder(out).summary()
    assert stored == summary and stored["kind"] == "federated" and sum(stored["private_images"]) == 40
    twin = FederatedFolder(out / "clean").summary()
    assert stored["drop"]["all"] == pytest.approx(twin["test"]["all"] - stored["test"]["all"])
    assert FederatedFolder(out).recipe() == toy(**ATTACKED)


def test_an_unattacked_run_has_no_twin(tmp_path):
    summary = run(toy(), tmp_path / "run")
    assert summary["drop"] is None and not (tmp_path / "run" / "clean").exists()


# --- what may and may not matter -----------------------------------------------------------------------------


def test_labels_of_public_images_are_never_trained_on():
    dataset = toy_dataset()
    federation = Federation(toy(), dataset, make_fabric("cpu"))
    labels_N = dataset.train.labels_N.clone()
    public = torch.cat([batch.images_BCHW for batch in federation.asked.epoch(0)])
    everything = dataset.normalize(dataset.train.images_NHWC)
    places_ = [(everything == image).flatten(1).all(1).nonzero().item() for image in public]
    labels_N[places_] = (labels_N[places_] + 1) % 5
    other = replace(dataset, train=ArraySplit(dataset.train.images_NHWC, labels_N))
    # The private part must be dealt out alike, so the labels change behind the deal.
    assert torch.equal(other.train.labels_N[places_], (federation.public_labels_N + 1) % 5)
    run_rounds(federation)
    changed = Federation(toy(), other, make_fabric("cpu"))
    run_rounds(changed)
    assert same(weights(federation), weights(changed))
    assert changed.history[0]["answer_top1"] != federation.history[0]["answer_top1"]


def test_a_branch_from_a_common_start_ends_as_a_run_of_its_own():
    trunk = Federation(toy(), toy_dataset(), make_fabric("cpu"))
    trunk.train_locally()
    assert (trunk.round, trunk.step) == (0, trunk.local_steps)
    start = copy.deepcopy(trunk.state())
    recipe = toy(aggregate="median", **ATTACKED)
    branch = Federation(recipe, toy_dataset(), make_fabric("cpu"))
    branch.load_state(copy.deepcopy(start))
    run_rounds(branch)
    assert same(weights(branch), weights(finished(recipe)))


def test_clients_differ_and_seeds_differ():
    first, other = finished(toy()), finished(toy(seed=1))
    assert not same(weights(first)[:1], weights(first)[1:2]) and not same(weights(first), weights(other))


def test_cross_entropy_alone_never_listens():
    alone, attacked = finished(toy("ce")), finished(toy("ce", **ATTACKED))
    assert same(weights(alone), weights(attacked))
    assert alone.history[0]["kd"] == 0


@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if not entry.needs_features])
def test_every_method_on_logits_distils_the_answer(method):
    federation = finished(toy(method, rounds=1, public=32, clients=2))
    record = federation.history[0]
    assert method == "ce" or record["kd"] != 0
    assert all(torch.isfinite(value).all() for client in weights(federation) for value in client.values())


def test_distilling_moves_the_clients_towards_the_answer():
    recipe = toy("kd", rounds=1, first_epochs=8, aggregate="mean-probabilities", distil_epochs=12)
    federation = Federation(recipe, toy_dataset(), make_fabric("cpu"))
    federation.train_locally()
    moves = federation.moves()
    next(moves)
    answer = federation.answer_NC.softmax(-1)
    distance = lambda: (federation_logits(federation).softmax(-1) - answer).norm(dim=-1).mean().item()  # noqa: E731
    before = distance()
    for _ in moves:
        pass
    assert distance() < 0.7 * before


def federation_logits(federation):
    return torch.stack([predict(client.model, federation.asked.epoch(0)) for client in federation.clients])


def test_places_go_on_anywhere():
    class Numbers:
        def __len__(self):
            return 3

        def epoch(self, epoch, start=0):
            yield from (10 * epoch + step for step in range(start, 3))

    every = list(places(Numbers(), range(2, 5), 0))
    assert every == [(e, s, 10 * e + s) for e in (2, 3, 4) for s in range(3)]
    for start in range(10):
        assert list(places(Numbers(), range(2, 5), start)) == every[start:]


def test_a_broken_client_is_named():
    federation = Federation(toy(lr=1e30), toy_dataset(), make_fabric("cpu"))
    with pytest.raises(NonFiniteError, match=r"client \d, round 1: resnet8 with ce"):
        run_rounds(federation)


def test_what_a_killed_writer_left_beside_the_clients_is_removed(tmp_path):
    folder = FederatedFolder(tmp_path / "run")
    left, kept = (folder.path / "clients" / name for name in ("0.safetensors.tmp-4242", "0.safetensors"))
    left.parent.mkdir(parents=True)
    for path in (left, kept):
        path.write_bytes(b"x")
    folder.start(toy(), resume=False)
    assert kept.exists() and not left.exists()
