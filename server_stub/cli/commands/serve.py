"""``serve``: run the control plane."""

import argparse
import os

from server_stub.cli.arguments import address
from server_stub.cli.command import Command
from server_stub.cli.screen import Screen
from server_stub.config import Settings
from server_stub.errors import SettingsError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", metavar="PATH", required=True, help="the database file; it is made if missing")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=address,
        default=(Settings.host, Settings.port),
        help=f"where to listen; {Settings.host}:{Settings.port} if left out; port 0 takes a free one",
    )
    parser.add_argument("--tls-cert", metavar="PATH", help="PEM file of the certificate chain; needs --tls-key")
    parser.add_argument("--tls-key", metavar="PATH", help="PEM file of its private key")
    parser.add_argument(
        "--allow-insecure-http",
        action="store_true",
        help="permit cleartext on an address that is not loopback: everybody on the way can read tokens",
    )
    parser.add_argument("--kill-switch", action="store_true", help="start with task execution off for the whole fleet")
    parser.add_argument(
        "--init-token-file",
        metavar="PATH",
        help="if there is no operator yet, make one and write its token here (mode 0600)",
    )
    parser.add_argument("--ready-file", metavar="PATH", help="write the URL here once connections are accepted")


def _run(args: argparse.Namespace, _screen: Screen) -> int:
    settings = _settings(args)
    from server_stub.serve import serve  # brings the whole server; no other command needs it

    try:
        serve(settings)
    except OSError as error:
        raise SettingsError(f"{error.filename or settings.host}: {error.strerror}") from error
    return os.EX_OK


def _settings(args: argparse.Namespace) -> Settings:
    host, port = args.listen
    return Settings(
        db_path=args.db,
        host=host,
        port=port,
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        insecure_listen=args.allow_insecure_http,
        kill_switch=args.kill_switch,
        init_token_file=args.init_token_file,
        ready_file=args.ready_file,
    )


COMMAND = Command(
    words=("serve",),
    summary="run the control plane until SIGTERM or SIGINT",
    details=(
        "It listens beyond loopback only with TLS. Operators use the other commands, nodes the agent; both speak to "
        "the address given here."
    ),
    add_arguments=_add_arguments,
    run=_run,
    asks_server=False,
)
