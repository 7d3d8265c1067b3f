"""The lines of ``node add`` and ``node rotate`` that put a node's token on the node and start its agent."""

from server_stub.cli.errors import AnswerError
from server_stub.enrolment import commands, notes


def enrolment(server: str, node: str, token: str) -> list[str]:
    """What to type on the node. Raises ``AnswerError`` for a token that is not one."""
    try:
        typed = commands(server, node, token)
    except ValueError:
        raise AnswerError(
            "the answer holds no usable token", hint="look at the server's log and use node rotate"
        ) from None
    first, *document, last = typed
    shown = [f"  {first}", *document, f"  {last}"]  # the end of a here-document may not be indented
    return [f"token  {token}", "", "On the node:", "", *shown, "", *notes(server)]
