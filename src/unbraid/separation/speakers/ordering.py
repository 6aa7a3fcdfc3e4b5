"""Orders of exchangeable estimates: all permutations, how well two of them go together, and the best chain of them.

An order is a tuple: slot s of the output takes estimate order[s]. Everywhere else an order is its row in
`all_orders(n)`; row 0 leaves the estimates as they are.
"""

from itertools import permutations

import torch

from unbraid.axes import Float, Int, Tensor
from unbraid.errors import ConfigError

MAX_SOURCES = 8


def all_orders(num_sources: int) -> Int[Tensor, "order source"]:
    """Every permutation of the sources, in lexicographic order."""
    if not 1 <= num_sources <= MAX_SOURCES:
        raise ConfigError(f"Orders are searched one by one for 1 to {MAX_SOURCES} sources, not {num_sources}.")
    return torch.tensor(list(permutations(range(num_sources))))


def composition(orders: Int[Tensor, "order source"]) -> Int[Tensor, "order order2"]:
    """Entry [p, q] is the row of p after q: slot s takes estimate p[q[s]]."""
    rows = {tuple(order): row for row, order in enumerate(orders.tolist())}
    after = orders[:, orders]
    return torch.tensor([[rows[tuple(order)] for order in line] for line in after.tolist()])


def slot_scores(
    fit: Float[Tensor, "*piece source speaker"], orders: Int[Tensor, "order source"]
) -> Float[Tensor, "*piece order"]:
    """For each order the sum over speakers of the fit of the estimate that it gives them."""
    speakers = torch.arange(orders.shape[1]).expand_as(orders)
    return fit[..., orders, speakers].sum(-1)


def pair_scores(
    match: Float[Tensor, "*piece source source2"], orders: Int[Tensor, "order source"]
) -> Float[Tensor, "*piece order order2"]:
    """For each pair of orders of two pieces the sum of matches of the estimates that they give to one speaker."""
    return match[..., orders[:, None, :], orders[None, :, :]].sum(-1)


def align(estimate: Float[Tensor, "source *rest"], reference: Float[Tensor, "source *rest"]) -> tuple[int, ...]:
    """The order that brings the estimates closest to the references: slot s takes estimate order[s].

    Goes by the inner products of the signals, so that loud parts count more and silence counts nothing; with nothing in
    common the order stays as it is.
    """
    match = torch.einsum("es,rs->er", estimate.flatten(1), reference.flatten(1))
    orders = all_orders(match.shape[0])
    return tuple(orders[int(slot_scores(match.double(), orders).argmax())].tolist())


def best_chain(
    unary: Float[Tensor, "step order"], pair: Float[Tensor, "step order order2"]
) -> tuple[Int[Tensor, " step"], float]:
    """The sequence of orders with the highest sum of scores, and that sum (Viterbi).

    `pair[k]` scores the step from k - 1 to k; `pair[0]` is not used.
    """
    arrivals = []
    score = unary[0]
    for step in range(1, unary.shape[0]):
        ways = score[:, None] + pair[step]
        score, arrival = ways.max(dim=0)
        score = score + unary[step]
        arrivals.append(arrival)
    last = int(score.argmax())
    chain = [last]
    for arrival in reversed(arrivals):
        chain.append(int(arrival[chain[-1]]))
    return torch.tensor(chain[::-1]), float(score[last])


def chain_marginals(
    unary: Float[Tensor, "step order"], pair: Float[Tensor, "step order order2"]
) -> tuple[Float[Tensor, "step order"], Float[Tensor, "step order order2"]]:
    """Probabilities of each order at each step, and of each pair of orders at steps k - 1 and k (forward-backward)."""
    steps = unary.shape[0]
    forward, backward = torch.zeros_like(unary), torch.zeros_like(unary)
    forward[0] = unary[0]
    for step in range(1, steps):
        forward[step] = unary[step] + torch.logsumexp(forward[step - 1][:, None] + pair[step], dim=0)
    for step in range(steps - 1, 0, -1):
        backward[step - 1] = torch.logsumexp(pair[step] + (unary[step] + backward[step])[None, :], dim=1)
    single = (forward + backward).softmax(dim=-1)
    double = torch.zeros_like(pair)
    joint = forward[:-1, :, None] + pair[1:] + (unary[1:] + backward[1:])[:, None, :]
    double[1:] = joint.flatten(1).softmax(dim=-1).reshape(joint.shape)
    return single, double
