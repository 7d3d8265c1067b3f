"""The tables of docs/sandbox.md: every attack, at every level, under an agent of every kind."""

from tests.rigs.evidence import Table

LEVELS = ("strict", "network", "landlock", "host")
KINDS = {"root": "root", "nobody": "one id", "ranged": "a range"}
"""Kinds of agents, and what docs/sandbox.md calls them."""


def place_name(level: str, who: str) -> str:
    """Of a column."""
    return f"{level}, {KINDS[who]}"


ATTACKS: dict[str, tuple[str, ...]] = {
    "endings": (
        "ignore_term", "stop_itself", "stop_the_parent", "signal_the_parent", "kill_everything", "daemon",
        "fork_chain", "zombies", "held_stdout", "closed_stdout", "writing_children",
    ),
    "trees": (
        "new session", "double fork", "double fork in a new session", "deaf to signals", "deaf daemon", "stopped",
        "wide", "deep",
    ),
    "bombs": (
        "fork_count", "thread_count", "fork_bomb", "thread_bomb", "burn", "burn_on", "burn_many", "disk", "inodes",
        "flood", "flood_both",
    ),
    "memory": (
        "memory_one_process", "memory_many_processes", "memory_dead_leader", "memory_thread_to_thread",
        "memory_handed_on", "memory_handed_on_by_fork", "memory_copies", "memory_tmpfs", "memory_memfd",
        "memory_sysv", "memory_shared_mapping", "memory_dev_zero", "memory_pipes", "memory_named_pipes",
        "memory_unix_sockets", "memory_tcp_sockets", "memory_page_tables", "memory_landlock_rules",
    ),
    "reach": (
        "agent_process", "clock", "descriptors", "devices", "escapes", "files_of_the_host", "given_paths",
        "kernel_log", "kernel_settings", "keyrings", "launcher_memory", "mounts", "namespaces", "other_processes",
        "regain", "setuid", "signals_outside", "sockets_of_the_host", "strangers", "terminal", "environment",
    ),
    "syscalls": ("forbidden_calls", "foreign_calls"),
    "between-cells": ("leave_objects", "find_objects", "channel_send"),
    "cleanup": ("links_out", "deep_tree", "no_permissions", "every_name"),
}  # fmt: skip
"""By subject. A name is that of a script of the corpus, or in words where a line of shell is enough."""

COLUMNS = tuple(place_name(level, who) for level in LEVELS for who in KINDS)
TABLES = [Table(f"containment-{group}", "docs/sandbox.md", group, rows, COLUMNS) for group, rows in ATTACKS.items()]


def note(attack: str, level: str, who: str, seen: str) -> None:
    """Says what became of an attack. ``attack``: as in ATTACKS, or the name of the script's file."""
    name = attack.removesuffix(".py").removesuffix(".sh")
    table = next(table for table in TABLES if name in table.rows)
    table.note(name, place_name(level, who), seen)
