"""The federation explorer without a browser: the page's arithmetic in Node, its state, its still figure."""

import json

import numpy as np
import pytest
import torch

from normkd_explore.federated import AGGREGATIONS, client_scores
from normkd_explore.figures.federated import ATTACK_TITLES, RULE_TITLES, attacks_figure, shares_figure
from normkd_explore.widgets.federated import PLOTLY_MIME, STRENGTHS, FederatedExplorer
from tests.helpers.node import run_node

NAMES = [f"class {c}" for c in range(6)]


def make_explorer(clients=7, pictures=9, classes=6, seed=0, **state):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn((clients, pictures, classes), generator=generator)
    labels = torch.randint(classes, (pictures,), generator=generator)
    images = np.zeros((pictures, 8, 8, 3), np.uint8)
    return FederatedExplorer(logits, images, labels, [f"class {c}" for c in range(classes)], state)


@pytest.fixture
def explorer():
    return make_explorer()


SCRIPT = """
import { RULES, deviation, forge, outlierScores, softmax } from "./federatedmath.js";
const found = given.states.map((state) => {
  const uploads = forge(given.logits, given.noise, state);
  const p = uploads.map((rows) => rows.map(softmax));
  const rows = (key) => RULES[key](uploads, p, given.eta).map((row) => [...row]);
  const answers = Object.fromEntries(Object.keys(RULES).map((key) => [key, rows(key)]));
  return { answers, scores: outlierScores(p), std: deviation(answers.mean[0]) };
});
console.log(JSON.stringify({ keys: Object.keys(RULES), found }));
"""


@pytest.mark.parametrize("clients", [7, 8])
def test_the_page_computes_what_python_computes(tmp_path, clients):
    """Every rule under every attack, with an odd and an even number of clients."""
    explorer = make_explorer(clients)
    states = [
        {"attackers": attackers, "attack": attack, "strength": strength}
        for attack, strength in (("pcfdla", 0.5), ("pcfdla", 20.0), ("pcfdla", 40.0), ("fdla", 20.0), ("random", 20.0))
        for attackers in range(5)
    ]
    shape = explorer.logits_KNC.shape
    given = {
        "states": states,
        "logits": np.frombuffer(explorer._logits, "<f4").reshape(shape).tolist(),
        "noise": np.frombuffer(explorer._noise, "<f4").reshape(4, *shape[1:]).tolist(),
        "eta": explorer._setup["eta"],
    }
    told = run_node(tmp_path, SCRIPT, given)
    assert told["keys"] == list(RULE_TITLES) and set(RULE_TITLES) <= set(AGGREGATIONS)
    for state, found in zip(states, told["found"], strict=True):
        explorer.state = state
        for rule, rows in found["answers"].items():
            # Weiszfeld's steps end a little apart where a client's own vector is the answer.
            loose = {"rtol": 1e-5, "atol": 1e-6} if rule == "geometric-median" else {"rtol": 1e-9, "atol": 1e-9}
            wanted = explorer.answers(rule)
            if rule == "geometric-median":
                rows, wanted = torch.tensor(rows).double().softmax(-1), wanted.softmax(-1)
            np.testing.assert_allclose(rows, wanted, err_msg=f"{rule} {state}", **loose)
        np.testing.assert_allclose(found["scores"], client_scores(explorer.uploads()), rtol=1e-9)
        assert found["std"] == pytest.approx(explorer.answers("mean")[0].std().item(), rel=1e-9)


def test_state_has_a_start_and_takes_parts(explorer):
    assert explorer.state == {"sample": 0, "attackers": 2, "attack": "pcfdla", "strength": 20.0, "rule": "mean"}
    explorer.state = {"sample": np.int64(3), "rule": "median", "strength": 7}
    assert explorer.state["sample"] == 3 and explorer.state["strength"] == 7.0 and explorer.state["attackers"] == 2
    copy = {}
    exec(explorer.as_code().replace("explorer.state", "copy['state']"), {"copy": copy})
    assert copy["state"] == explorer.state
    json.dumps(explorer.state)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"rule": "mode"}, "wanted one of mean, mean-probabilities"),
        ({"sample": 9}, "0 to 8"),
        ({"attackers": 5}, "0 to 4"),
        ({"attack": "none"}, "pcfdla, fdla, random"),
        ({"strength": 41}, "from 0.5 to 40"),
        ({"strength": "loud"}, "wanted a number"),
        ({"liars": 1}, "its keys are sample, attackers"),
    ],
)
def test_a_wrong_state_is_named(explorer, state, words):
    before = explorer.state
    with pytest.raises(ValueError, match=words):
        explorer.state = state
    assert explorer.state == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": torch.zeros(4, 9, 6)}, "more than 4 clients"),
        ({"logits": torch.zeros(9, 6)}, r"wanted \(K, N, C\)"),
        ({"logits": torch.full((7, 9, 6), float("nan"))}, "NaN or infinity"),
        ({"logits": torch.zeros(7, 9000, 6)}, r"pass logits\[:, :4761\]"),
        ({"images": np.zeros((8, 8, 8, 3), np.uint8)}, "images has 8 entries, wanted 9"),
        ({"labels": [0] * 8}, "labels has 8 entries"),
        ({"labels": [6] * 9}, "from 0 to 5"),
        ({"class_names": NAMES[:5]}, "class_names has 5 entries, wanted 6"),
    ],
)
def test_parts_that_do_not_fit_are_named(change, words):
    parts = {"logits": torch.zeros(7, 9, 6), "images": np.zeros((9, 8, 8, 3), np.uint8), "labels": [0] * 9}
    with pytest.raises(ValueError, match=words):
        FederatedExplorer(**{**parts, "class_names": NAMES, **change})


def test_one_loud_liar_takes_a_mean_of_logits_over_and_not_a_median(explorer):
    quiet = {rule: make_explorer(attackers=0).answers(rule) for rule in ("mean", "median")}
    loud = {rule: make_explorer(attackers=1, strength=STRENGTHS[1]).answers(rule) for rule in ("mean", "median")}
    moved = {rule: (loud[rule].softmax(-1) - quiet[rule].softmax(-1)).abs().sum(-1).mean() for rule in loud}
    assert moved["mean"] > 2 * moved["median"]


def test_without_a_kernel_the_exchange_remains(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == "FederatedExplorer(7 clients, 9 pictures, 6 classes)"
    heat, bars = data[PLOTLY_MIME]["data"]
    assert heat["y"][:1] == ["client 1"] and heat["y"][-2:] == ["client 7 lies", "server"] and len(heat["z"]) == 8
    np.testing.assert_allclose(heat["z"][-1], explorer.answers()[0].softmax(-1), atol=6e-4)
    np.testing.assert_allclose(bars["x"], [explorer.right(rule) / 9 for rule in RULE_TITLES], atol=6e-4)
    assert data == explorer._repr_mimebundle_()[0]


def test_the_measured_table_is_drawn_with_its_spread():
    table = {(attack, rule): [10.0, 20.0, 60.0] for attack in ATTACK_TITLES for rule in RULE_TITLES}
    figure = attacks_figure(table, alone=42.0)
    marks = [trace for trace in figure.data if trace.name]
    assert [trace.name for trace in marks] == [f"{title}, n = 3" for title in ATTACK_TITLES.values()]
    assert len({trace.marker.symbol for trace in marks}) == 4  # colour is not the only cue
    for trace in marks:
        np.testing.assert_allclose(trace.x, 30.0)
        np.testing.assert_allclose(trace.error_x.array, np.std([10, 20, 60], ddof=1), atol=6e-3)
    dots = [trace for trace in figure.data if not trace.name]
    assert all(len(trace.x) == 3 * len(RULE_TITLES) for trace in dots)
    assert np.unique(np.concatenate([trace.y for trace in marks])).size == 4 * len(RULE_TITLES)


def test_who_holds_what_is_drawn_as_counts():
    heat = shares_figure(torch.tensor([[3, 0, 1], [0, 2, 5]]), ["a", "b", "c"]).data[0]
    assert [list(row) for row in heat.z] == [[3, 0, 1], [0, 2, 5]]
    assert list(heat.y) == ["client 1 (4)", "client 2 (7)"] and list(heat.text[1]) == ["0", "2", "5"]
