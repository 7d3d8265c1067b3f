"""POST /api/agent/singbox-inventory (protocol reference 1.11)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Items, Time, WireModel


class SingBoxNode(WireModel):
    """``port`` and ``outbound_port`` are strings on this wire; a number is refused."""

    name: str = ""
    line_id: Annotated[str, OMIT] = ""
    line_uuid: Annotated[str, OMIT] = ""
    node_identity_uuid: Annotated[str, OMIT] = ""
    protocol: Annotated[str, OMIT] = ""
    network: Annotated[str, OMIT] = ""
    address: Annotated[str, OMIT] = ""
    port: Annotated[str, OMIT] = ""
    sni: Annotated[str, OMIT] = ""
    host: Annotated[str, OMIT] = ""
    listen_host: Annotated[str, OMIT] = ""
    outbound_ref: Annotated[str, OMIT] = ""
    outbound_server: Annotated[str, OMIT] = ""
    outbound_port: Annotated[str, OMIT] = ""
    outbound_type: Annotated[str, OMIT] = ""
    downstream_line_uuid: Annotated[str, OMIT] = ""
    public_key: Annotated[str, OMIT] = ""
    share_url: Annotated[str, OMIT] = ""
    user_count: Annotated[Int, OMIT] = 0
    user_known: Annotated[bool, OMIT] = False
    metadata: Annotated[dict[str, str], OMIT] = {}


class SingBoxInventory(WireModel):
    node_id: str = ""
    at: Time = None
    core_version: Annotated[str, OMIT] = ""
    nodes: Items[SingBoxNode] = ()
    status: Annotated[str, OMIT] = ""
    error: Annotated[str, OMIT] = ""


class InventoryReport(WireModel):
    node_id: str = ""
    inventory: SingBoxInventory = SingBoxInventory()


class InventoryAnswer(WireModel):
    ok: bool = False
    nodes: Int = 0
