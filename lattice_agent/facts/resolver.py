"""Asks outside resolvers for the node's public addresses, as an ``AddressPlan`` says.

Theory of operation. Each family has a client of its own whose sockets are bound to the wildcard address of that
family, so that a dual-stack resolver answers with the address that was asked for. Resolvers of a family are asked in
order until one answers with an address the server would take; both families run side by side under one deadline.
Nothing of an answer is used but that address, and nothing that goes wrong here is more than a sentence in the log.
"""

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
import trio

from lattice_agent.facts.address_plan import AddressPlan
from lattice_agent.facts.addresses import BODY_LIMIT, AddressPair, Family, public_address_in_body

RESOLVER_TIMEOUT_S: Final = 5.0
TOTAL_TIMEOUT_S: Final = 12.0
_ANY_ADDRESS: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104  # chooses the family of an outgoing socket, no listener
_PLAIN: Final = {"Accept": "text/plain, */*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Found:
    """What the resolvers said, and for each that failed a sentence for the debug log."""

    addresses: AddressPair
    problems: tuple[str, ...] = ()


def resolver_client(family: Family, tls: ssl.SSLContext) -> httpx.AsyncClient:
    """A client whose connections are of one address family; without proxies, whose address would be found instead."""
    transport = httpx.AsyncHTTPTransport(verify=tls, trust_env=False, local_address=_ANY_ADDRESS[family])
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=RESOLVER_TIMEOUT_S)


async def find_public_addresses(plan: AddressPlan, client_v4: httpx.AsyncClient, client_v6: httpx.AsyncClient) -> Found:
    """Asks ``plan.ask_v4`` and ``plan.ask_v6``; ends within 12 s, raises nothing, closes neither client.

    Makes no connection when the plan names no resolver. An address that was not found is "".
    """
    found: dict[Family, str] = {}
    problems: list[str] = []

    async def ask(family: Family, urls: tuple[str, ...], client: httpx.AsyncClient) -> None:
        found[family] = await _first_answer(client, urls, family, problems)

    with trio.move_on_after(TOTAL_TIMEOUT_S) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 4, plan.ask_v4, client_v4)
            nursery.start_soon(ask, 6, plan.ask_v6, client_v6)
    if scope.cancelled_caught:
        problems.append(f"ip resolvers did not all answer within {TOTAL_TIMEOUT_S:g} s")
    return Found(AddressPair(found.get(4, ""), found.get(6, "")), tuple(problems))


async def _first_answer(client: httpx.AsyncClient, urls: tuple[str, ...], family: Family, problems: list[str]) -> str:
    for url in urls:
        name = f"ip resolver {urlsplit(url).hostname}"  # the rest of a URL may hold a token
        try:
            with trio.fail_after(RESOLVER_TIMEOUT_S):
                address = public_address_in_body(await _body(client, url), family)
        except trio.TooSlowError:
            problems.append(f"{name} did not answer within {RESOLVER_TIMEOUT_S:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            problems.append(f"{name} failed: {str(error) or type(error).__name__}")
        else:
            if address:
                return address
            problems.append(f"{name} answered no public IPv{family} address")
    return ""


async def _body(client: httpx.AsyncClient, url: str) -> str:
    async with client.stream("GET", url, headers=_PLAIN) as response:
        if response.status_code != httpx.codes.OK:  # a redirect is one, too
            raise ValueError(f"status {response.status_code}")
        return (await _bounded(response)).decode("utf-8", "replace")


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    with trio.CancelScope() as reading:
        async for part in response.aiter_raw():
            body += part
            if len(body) > BODY_LIMIT:
                reading.cancel()  # not break, which would strand the generators that httpx stacks up
    if len(body) > BODY_LIMIT:
        raise ValueError(f"the answer is longer than {BODY_LIMIT} bytes")
    return bytes(body)
