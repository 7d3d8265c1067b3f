"""``host_facts``: slow-changing inventory (protocol reference 4.1)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Time, Uint, WireModel


class HostFacts(WireModel):
    """What the host is. Every field is best effort; an empty one was not known. Sizes are bytes."""

    hostname: Annotated[str, OMIT] = ""
    os: Annotated[str, OMIT] = ""
    platform: Annotated[str, OMIT] = ""
    platform_version: Annotated[str, OMIT] = ""
    kernel_version: Annotated[str, OMIT] = ""
    arch: Annotated[str, OMIT] = ""
    cpu_cores: Annotated[Int, OMIT] = 0
    cpu_model: Annotated[str, OMIT] = ""
    memory_total: Annotated[Uint, OMIT] = 0
    swap_total: Annotated[Uint, OMIT] = 0
    virtualization: Annotated[str, OMIT] = ""
    boot_time: Time = None
    reported_at: Time = None
