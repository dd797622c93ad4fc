"""The fewest layers in float32 with which a form keeps an agreement."""

from collections.abc import Callable, Collection, Mapping, Sequence

from vampnet_onnx.configs.errors import InputError

from .measure import Cost, Left


def by_cost(alone: Mapping[str, Cost], rest: Cost, weights: Mapping[str, int]) -> list[str]:
    """Order layers by what rounding one costs for each byte that it saves, the dearest first.

    The KL divergence counts, not the agreement: of a single layer that is mostly unchanged.

    Args:
        rest: what the form costs with every layer in float32.
        weights: bytes in float32, by layer.
    """

    def price(name: str) -> float:
        each = (alone[name].kl_nats - rest.kl_nats) / weights[name]
        return each if each == each else float("inf")

    return sorted(alone, key=lambda name: (-price(name), name))


def smallest_left(
    component: str,
    order: Sequence[str],
    always: Collection[str],
    *,
    asked: float,
    weights: Mapping[str, int],
    is_form: Callable[[Left], bool],
    cost: Callable[[Left], Cost],
) -> Left:
    """Return a set of layers to leave, of which none can be taken out.

    As many of the dearest as it takes, found by halving; then every one of them is tried
    without, the largest first.

    Args:
        component: what they are of, for messages.
        order: layers, the dearest first.
        always: layers that are left whatever is asked.
        asked: the agreement to keep.
        is_form: whether the form that leaves these would be one.
        cost: measures the form that leaves these.

    Raises:
        InputError: the agreement is not reached with as many as the form may leave.
    """
    free = [name for name in order if name not in always]

    def left(count: int) -> Left:
        return frozenset(free[:count]).union(always)

    def holds(names: Left) -> bool:
        return cost(names).agreement >= asked

    if holds(left(0)):
        return left(0)
    most, beyond = 0, len(free) + 1
    while beyond - most > 1:
        middle = (most + beyond) // 2
        most, beyond = (middle, beyond) if is_form(left(middle)) else (most, middle)
    if not holds(left(most)):
        reached = max(cost(left(0)).agreement, cost(left(most)).agreement)
        raise InputError(
            f"{component}: --agreement {asked:g} is not reached; it is {reached:.6g} at most,"
            f" with {most + len(always)} of {len(order)} layers in float32, and the file would"
            " not be smaller with more: ask for less, or for another --variant"
        )
    fails, enough = 0, most
    while enough - fails > 1:
        middle = (fails + enough) // 2
        fails, enough = (fails, middle) if holds(left(middle)) else (middle, enough)
    found = left(enough)
    for name in sorted(found.difference(always), key=lambda name: (-weights[name], name)):
        if holds(found - {name}):
            found -= {name}
    return found
