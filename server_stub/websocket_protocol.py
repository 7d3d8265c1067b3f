"""WebSockets of ``serve``: uvicorn's, with bounds where it has none.

It stops reading while a message waits to be taken, but only after all messages of one read of the socket (up to
256 KiB) are in its queue: of messages of one byte those are 37,000, which cost some 10 MiB. And it answers every ping
at once, so that the answers to a peer that sends pings and reads nothing gather without end.
"""

from typing import Final

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

WAITING_MOST: Final = 512
"""Messages that have arrived and were not taken. An agent's fill a read with some twenty."""
UNREAD_MOST: Final = 262_144
"""Bytes that wait for a peer to read them when one more of its pings is answered. Orders wait at 64 KiB already."""
_POLICY_VIOLATION: Final = 1008


class BoundedWebSocket(WSProtocol):
    """Closed with 1008 when more messages wait than WAITING_MOST. Beyond UNREAD_MOST cut off: nobody would read why."""

    def handle_message(self, event: TextMessage | BytesMessage) -> None:
        if self.queue.qsize() < WAITING_MOST:
            super().handle_message(event)
            return
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": _POLICY_VIOLATION})
        if not self.transport.is_closing():
            self.transport.write(self.conn.send(CloseConnection(code=_POLICY_VIOLATION, reason="too many messages")))
            self.transport.close()

    def handle_ping(self, event: Ping) -> None:
        if self.transport.get_write_buffer_size() <= UNREAD_MOST:
            super().handle_ping(event)
        else:
            self.transport.abort()
