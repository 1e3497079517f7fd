"""Gated linear networks: pathways, the gradient against autograd, the reduction against the network, the race, the claim."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from viewrace.race import gated, reduction, routing
from viewrace.race.gated_flow import gradient
from viewrace.race.rungekutta import trajectory
from viewrace.streams import Stream, torch_generator

# two inputs, two outputs, ways of one to three edges, hidden nodes of different sizes
SIZES = {"x": 4, "z": 3, "a": 5, "b": 4, "y": 3, "t": 4}
EDGES = (("x", "a"), ("z", "a"), ("a", "b"), ("a", "y"), ("b", "y"), ("b", "t"), ("x", "y"), ("z", "b"))
GRAPH = gated.Graph(SIZES, EDGES)
MODES = 2


def generator(number):
    return torch_generator(number, Stream.INIT, 9)


def normal(*shape, number=0):
    return torch.randn(shape, generator=generator(number), dtype=torch.float64)


def weights(graph, seeds, number=0):
    draws = generator(number)
    return {
        f"edge_{i}": torch.randn(seeds, graph.sizes[target], graph.sizes[source], generator=draws, dtype=torch.float64) / 2
        for i, (source, target) in enumerate(graph.edges)
    }


def unrelated(number, count=9):
    """Examples without any structure, and gates that are any number, zero among them."""
    draws = generator(number)

    def drawn(*shape):
        return torch.randn(shape, generator=draws, dtype=torch.float64)

    gates = {key: drawn(count) * (drawn(count) > -0.3) for key in ("a", "b", "y", 2, 6)}
    return gated.Examples({n: drawn(count, SIZES[n]) for n in "xz"}, {n: drawn(count, SIZES[n]) for n in "yt"}, gates)


def aligned_task(number, patterns=3, count=8):
    """Examples in a few patterns of open nodes and edges, white inputs in each, targets in shared modes: a reducible task."""
    draws = generator(number)

    def frame(rows, columns):
        return torch.linalg.qr(torch.randn(rows, columns, generator=draws, dtype=torch.float64)).Q

    bases = {node: frame(SIZES[node], MODES) for node in "xzyt"}
    inputs, targets, gates = {n: [] for n in "xz"}, {n: [] for n in "yt"}, {key: [] for key in ("a", "b", 3, 6, 7)}
    for _ in range(patterns):
        both = count**0.5 * frame(count, SIZES["x"] + SIZES["z"])
        seen = dict(zip("xz", both.split([SIZES["x"], SIZES["z"]], dim=1), strict=True))
        for node in "xz":
            inputs[node].append(seen[node])
        for node in "yt":
            s = torch.rand(2, MODES, generator=draws, dtype=torch.float64) + 0.3
            maps = {source: (bases[node] * s[i]) @ bases[source].T for i, source in enumerate("xz")}
            targets[node].append(sum(seen[source] @ maps[source].T for source in "xz"))
        for key in gates:
            gates[key].append((torch.rand(1, generator=draws) < 0.7).double().expand(count))
    return gated.Examples(*({k: torch.cat(v) for k, v in group.items()} for group in (inputs, targets, gates))), bases


def loss(graph, params, examples):
    made = gated.forward(graph, params, examples)
    return sum((examples.targets[node] - made[node]).square().sum(dim=(1, 2)) / 2 for node in made).sum() / len(made["y"][0])


def test_pathways_are_all_ways_from_an_input_to_an_output():
    named = {tuple(EDGES[path[0]][0] + "".join(EDGES[edge][1] for edge in path)) for path in GRAPH.pathways}
    expected = ["xaby", "xabt", "xay", "zaby", "zabt", "zay", "xy", "zby", "zbt"]
    assert named == {tuple(word) for word in expected}
    assert len(GRAPH.pathways) == len(expected)
    assert (GRAPH.inputs, GRAPH.outputs) == (("x", "z"), ("y", "t"))


def test_a_graph_with_a_cycle_or_a_nameless_node_is_refused(refusal):
    reached = refusal(gated.Graph, {"x": 1, "a": 1, "b": 1, "y": 1}, (("x", "a"), ("a", "b"), ("b", "a"), ("b", "y")))
    assert "no cycle, received one among a, b, y: cut it" in reached
    assert "received one among a, b" in refusal(gated.Graph, {"a": 1, "b": 1}, (("a", "b"), ("b", "a")))
    assert "received none for c" in refusal(gated.Graph, {"a": 1}, (("a", "c"),))


def test_the_output_is_the_sum_over_pathways_of_gated_products():
    examples, params = unrelated(1), weights(GRAPH, 2)
    made = gated.forward(GRAPH, params, examples)
    for node in GRAPH.outputs:
        ways = [path for path in GRAPH.pathways if GRAPH.ends(path)[1] == node]
        parts = [
            examples.path_gate(GRAPH, path)[:, None] * (examples.inputs[GRAPH.ends(path)[0]] @ gated.path_map(params, path).mT)
            for path in ways
        ]
        torch.testing.assert_close(made[node], sum(parts))


@given(number=st.integers(0, 10_000))
@budget(max_examples=15)
def test_the_gradient_from_the_correlations_is_that_of_the_loss(number):
    examples, params = unrelated(number), weights(GRAPH, 2, number)
    found = gradient(GRAPH, gated.correlations(GRAPH, examples))(params)
    tracked = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
    loss(GRAPH, tracked, examples).backward()
    for name, tensor in tracked.items():
        torch.testing.assert_close(found[name], tensor.grad, rtol=1e-9, atol=1e-11)


@given(number=st.integers(0, 10_000))
@budget(max_examples=15)
def test_aligned_weights_move_along_the_reduced_equations(number):
    examples, bases = aligned_task(number)
    known = gated.correlations(GRAPH, examples)
    strengths = normal(3, len(EDGES), MODES, number=number)
    params = reduction.aligned_weights(GRAPH, bases, strengths, [generator(k) for k in range(3)])
    scalar = reduction.reduced_gradient(GRAPH, known, bases)({"strength": strengths})["strength"]
    lifted = reduction.aligned_weights(GRAPH, bases, scalar, [generator(k) for k in range(3)])
    full = gradient(GRAPH, known)(params)
    for name in params:
        torch.testing.assert_close(full[name], lifted[name], rtol=1e-8, atol=1e-10)
    products = torch.stack([reduction.path_strength(strengths, path) for path in known.pathways], dim=1)
    torch.testing.assert_close(reduction.pathway_strengths(GRAPH, known, bases, params), products)


def test_what_enters_a_hidden_node_minus_what_leaves_it_is_conserved():
    examples, bases = aligned_task(4)
    strengths = normal(2, len(EDGES), MODES, number=4)
    slope = reduction.reduced_gradient(GRAPH, gated.correlations(GRAPH, examples), bases)({"strength": strengths})["strength"]
    pull = strengths * slope
    for node in "ab":
        into = pull[:, [i for i, (_, target) in enumerate(EDGES) if target == node]].sum(dim=1)
        out = pull[:, [i for i, (source, _) in enumerate(EDGES) if source == node]].sum(dim=1)
        torch.testing.assert_close(into, out)
        assert float(into.abs().min()) > 1e-6


def test_a_trained_network_stays_on_the_reduced_equations_to_the_end():
    examples, bases = aligned_task(3)
    known = gated.correlations(GRAPH, examples)
    strengths = 0.2 + 0.2 * normal(2, len(EDGES), MODES).abs()
    params = reduction.aligned_weights(GRAPH, bases, strengths, [generator(k) for k in range(2)])
    times = torch.linspace(0, 10, 21).double()
    network = trajectory(
        gradient(GRAPH, known), params, times, lambda now: reduction.pathway_strengths(GRAPH, known, bases, now), 1e-2
    )

    def products(now):
        return torch.stack([reduction.path_strength(now["strength"], path) for path in known.pathways], dim=1)

    scalars = trajectory(reduction.reduced_gradient(GRAPH, known, bases), {"strength": strengths}, times, products, 1e-4)
    torch.testing.assert_close(network.values, scalars.values, rtol=0, atol=2e-3)
    assert float((network.values[-1] - network.values[0]).abs().max()) > 0.3


def test_what_the_reduction_cannot_describe_is_refused(refusal):
    examples, bases = aligned_task(0)
    known = gated.correlations(GRAPH, examples)
    turned = bases | {"x": torch.linalg.qr(normal(SIZES["x"], MODES, number=5)).Q}
    assert "must be diagonal in the shared bases" in refusal(reduction.reduced_gradient, GRAPH, known, turned)
    beside = torch.linalg.qr(torch.cat([bases["x"], normal(SIZES["x"], 1, number=6)], dim=1)).Q[:, MODES:]
    # a part of the target that the modes of the output see and those of the input do not
    mixed = {"y": examples.targets["y"] + examples.inputs["x"] @ beside @ bases["y"][:, :1].T, "t": examples.targets["t"]}
    unseen = gated.correlations(GRAPH, gated.Examples(examples.inputs, mixed, examples.gates))
    assert "whiten the inputs" in refusal(reduction.reduced_gradient, GRAPH, unseen, bases)
    narrow = gated.Graph(SIZES | {"b": 1}, EDGES)
    refused = refusal(reduction.aligned_weights, narrow, bases, torch.ones(1, len(EDGES), MODES).double(), [generator(0)])
    assert "node b must have a unit for each of 2 modes, received 1" in refused


def route(domains, outputs, s=(1.0, 0.6)):
    return routing.routing(domains, outputs, torch.tensor(s, dtype=torch.float64), 3, 4, 5, generator(7))


def test_every_pair_of_the_routing_task_is_white_has_its_target_and_opens_its_two_ways():
    made = route(3, 2)
    assert made.pairs == ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 0))
    known = gated.correlations(made.graph, made.examples)
    assert set(known.pathways) == {*made.shared, *made.private}
    assert [made.graph.ends(path) for path in made.untrained] == [("in0", "out2"), ("in1", "out0"), ("in2", "out1")]
    for shared, private in zip(made.shared, made.private, strict=True):
        p, j = known.pathways.index(shared), known.pathways.index(private)
        for tie in ((p, p), (p, j), (j, p), (j, j)):
            torch.testing.assert_close(known.xx[tie], torch.eye(3).double() / 6)
        torch.testing.assert_close(known.yx[p], made.target(shared) / 6)
        assert made.graph.ends(shared) == made.graph.ends(private)
    assert len(known.xx) == 4 * len(made.pairs)


def test_pairs_of_many_domains_keep_ways_of_their_own():
    sizes = route(12, 2).graph.sizes  # 1-11 and 11-1 are two pairs
    assert len(sizes) == 2 * 12 + 2 + 2 * 24


def test_an_edge_is_pushed_by_every_pathway_through_it():
    made = route(3, 2)
    known = gated.correlations(made.graph, made.examples)
    small = torch.full((1, len(made.graph.edges), 2), 1e-3, dtype=torch.float64)
    pushed = -reduction.reduced_gradient(made.graph, known, made.bases)({"strength": small})["strength"][0, :, 0]
    private = pushed[list(made.private[0])]
    encoder, middle, decoder = pushed[list(made.shared[0])]
    torch.testing.assert_close(private, private[:1].expand(3))
    torch.testing.assert_close(torch.stack([encoder, middle, decoder]) / private[0], torch.tensor([2.0, 6.0, 2.0]).double())


def test_share_and_errors_at_their_ends():
    made = route(3, 2)
    strengths = torch.zeros(1, len(made.graph.edges), 2, dtype=torch.float64)
    blank = reduction.aligned_weights(made.graph, made.bases, strengths, [generator(0)])
    strengths[:, :7] = made.s ** (1 / 3)
    shared = reduction.aligned_weights(made.graph, made.bases, strengths, [generator(0)])
    strengths[:, 7:] = (made.s / 2) ** (1 / 3)
    both = reduction.aligned_weights(made.graph, made.bases, strengths, [generator(0)])
    for params, expected in ((blank, (0, 1, 1)), (shared, (1, 0, 0)), (both, (1, 0.25, 0))):
        found = [measure(made, params) for measure in (routing.shared_share, routing.trained_error, routing.untrained_error)]
        torch.testing.assert_close(torch.cat(found), torch.tensor(expected).double(), rtol=0, atol=1e-12)


def test_routing_refuses_what_it_cannot_build(refusal):
    s = torch.ones(2).double()
    assert "received 4 outputs, 3 domains" in refusal(routing.routing, 3, 4, s, 3, 4, 5, generator(0))
    assert "received 0 outputs" in refusal(routing.routing, 3, 0, s, 3, 4, 5, generator(0))
    assert "3 units, 2 examples" in refusal(routing.routing, 3, 1, s, 3, 4, 2, generator(0))
    full = route(2, 2)
    assert "received all 4: lower outputs" in refusal(routing.untrained_error, full, weights(full.graph, 1))


def test_random_weights_have_the_spread_of_their_fan_in_and_the_private_ones_a_lead():
    made = routing.routing(2, 1, torch.ones(2).double(), 20, 30, 20, generator(0))
    params = routing.random_init(made, 0.3, 5.0, [generator(k) for k in range(4)])
    assert float(params["edge_0"].std()) == pytest.approx(0.3 / 20**0.5, rel=0.05)
    assert float(params["edge_2"].std()) == pytest.approx(0.3 / 30**0.5, rel=0.05)
    assert float(params[f"edge_{made.private[1][1]}"].std()) == pytest.approx(1.5 / 30**0.5, rel=0.05)
    first = routing.random_init(made, 0.3, 5.0, [generator(0)])
    assert all(torch.equal(first[name][0], params[name][0]) for name in params)


def shared_part(domains, outputs, lead, start):
    """Share of the shared pathway by the reduced equations of the routing task itself, from equal shared strengths."""
    made = route(domains, outputs, (1.0,))
    known = gated.correlations(made.graph, made.examples)
    flow = reduction.reduced_gradient(made.graph, known, made.bases)
    begin = np.full(len(made.graph.edges), start)
    begin[2 * domains + 1 :] *= lead

    def slope(_, b):
        return -flow({"strength": torch.from_numpy(b)[None, :, None]})["strength"][0, :, 0].numpy()

    end = solve_ivp(slope, (0, 3 * domains / start), begin, method="LSODA", rtol=1e-8, atol=1e-12).y[:, -1]
    return float(np.prod(end[list(made.shared[0])]))


@pytest.mark.parametrize(("domains", "outputs"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_the_shared_way_loses_to_private_ones_whose_lead_is_more_than_fair(domains, outputs):
    law = routing.fair_lead(domains, outputs)
    assert shared_part(domains, outputs, 0.93 * law, 1e-3) > 0.7
    assert shared_part(domains, outputs, 1.05 * law, 1e-3) < 0.3


def test_from_a_start_that_is_not_small_the_fair_lead_is_less():
    law = routing.fair_lead(4, 3)
    assert shared_part(4, 3, 0.49 * law, 0.2) > 0.5 > shared_part(4, 3, 0.51 * law, 0.2)
    assert shared_part(4, 3, 0.90 * law, 0.02) > 0.5 > shared_part(4, 3, 0.92 * law, 0.02)
