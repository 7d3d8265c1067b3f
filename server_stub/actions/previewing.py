"""What the nodes of a task would say to it, before it is sent."""

from dataclasses import dataclass

from lattice_agent.wire.base import parse
from lattice_agent.wire.policy import PolicySummary
from server_stub.actions.registry import get_node
from server_stub.actions.tasks import script_digest
from server_stub.rules.policy_preview import Preview, Verdict, preview
from server_stub.rules.task_limits import TaskOrder
from server_stub.store.base import Tables
from server_stub.store.records import Node


@dataclass(frozen=True)
class NodePreview:
    """What one node would say."""

    node: Node
    said: Preview

    @property
    def is_sure(self) -> bool:
        """Whether its policy lets the task run, and it may come for it at all."""
        return self.said.verdict is Verdict.RUNS and not self.node.disabled


def preview_task(tables: Tables, order: TaskOrder) -> list[NodePreview]:
    """In the order of the nodes; ``Refused`` 404 for one that is not registered. Changes nothing."""
    digest = script_digest(order.script)
    nodes = [get_node(tables, node_id) for node_id in order.nodes]
    return [NodePreview(node, preview(order, digest, policy_of(node))) for node in nodes]


def policy_of(node: Node) -> PolicySummary | None:
    """As it last told; it was checked and cut to size when it came."""
    document = node.presence.policy
    return None if document is None else parse(PolicySummary, document)
