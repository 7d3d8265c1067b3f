"""Traffic and errors of each interface that counts as the host's own (``facts.traffic``)."""

from collections.abc import Mapping

from lattice_agent.facts.detail.counters import OPERATIONS_PER_S, rate
from lattice_agent.facts.rates import FASTEST_LINK
from lattice_agent.facts.traffic import Traffic
from lattice_agent.wire.metrics_detail import MAX_INTERFACES, InterfaceUse


def interface_uses(
    before: Mapping[str, Traffic], after: Mapping[str, Traffic], elapsed_s: float | None
) -> tuple[InterfaceUse, ...]:
    """One for each interface, by name. One that is new since ``before`` has no rates yet."""
    names = sorted(after)[:MAX_INTERFACES]
    return tuple(_use(name, before.get(name), after[name], elapsed_s) for name in names)


def _use(name: str, then: Traffic | None, now: Traffic, elapsed_s: float | None) -> InterfaceUse:
    def growth(column: str, fastest: float) -> float | None:
        return rate(getattr(then, column, None), getattr(now, column), elapsed_s, fastest)

    return InterfaceUse(
        name=name,
        rx_rate=growth("rx", FASTEST_LINK),
        tx_rate=growth("tx", FASTEST_LINK),
        rx_packets_rate=growth("rx_packets", OPERATIONS_PER_S),
        tx_packets_rate=growth("tx_packets", OPERATIONS_PER_S),
        rx_errors=now.rx_errors,
        tx_errors=now.tx_errors,
        rx_dropped=now.rx_dropped,
        tx_dropped=now.tx_dropped,
    )
