"""What ``make test`` does of the hostile tests: every attack once, on an agent that is root, at level strict, and a few
at every other place. All else is for ``make long``."""

from typing import Any

import pytest

from tests.hostile.places import PLACES

KINDS, LEVELS = {who for who, _ in PLACES}, {level for _, level in PLACES}
ALSO = (
    "test_a_daemon_goes_with_the_script[root-landlock]",
    "test_a_daemon_goes_with_the_script[root-host]",
    "test_a_daemon_goes_with_the_script[nobody-strict]",
    "test_no_attempt_succeeds_in_a_cell[nobody-strict-agent_process]",
    "test_no_attempt_succeeds_in_a_cell[root-network-sockets_of_the_host]",
    "test_no_attempt_succeeds_in_a_cell[root-landlock-files_of_the_host]",
    "test_no_attempt_succeeds_in_a_cell[nobody-landlock-signals_outside]",
    "test_a_killed_agent_leaves_nothing[nobody-landlock]",
)
"""Of the other places."""
NOT = (
    "test_outside_",  # that an attack works where nothing confines it says something of the attack
    "test_each_attack_leaves_a_process_behind",  # the same
    "test_processor_time_has_a_limit",
    "test_a_spawner_that_nothing_is_said_to_stays",
    "test_killing_the_group_of_the_script_is_not_enough",
    "test_without_the_domain_of_the_",
    "test_scripts_at_the_same_time_have_ids_of_their_own",
    "test_the_limit_on_processes_counts_one_cell",
    "test_a_gibibyte_",
    "test_a_bomb_hurts_nobody_else[root-strict-thread_bomb.py]",
    "test_output_without_end_meets_the_clock",
    "test_one_kill_of_all_ends_every_tree_and_nothing_else[65534]",
    "test_these_attacks_work_and_do_not_only_fail_otherwise",
    "test_a_cell_that_is_built_while_others_are_watched_has_an_ordinary_priority",
    "test_thousands_of_orphans_that_die_at_once_are_reaped",
    "test_more_processes_than_one_look_holds_are_killed_all_the_same",
    "test_the_fork_chain_outlives_its_task_where_nobody_sweeps",
)
"""Of what would be everyday: they take long, and others fail with them."""
CHOSEN: dict[str, frozenset[str]] = {
    "step": frozenset({"landlock", "seccomp", "sources"}),
    "hog": frozenset(
        {
            "memory_one_process", "memory_many_processes", "memory_tmpfs", "memory_memfd", "memory_sysv",
            "memory_shared_mapping", "memory_dev_zero", "memory_unix_sockets",
        }
    ),
    "shape": frozenset({"double fork in a new session", "deaf daemon", "wide"}),
    "program": frozenset({"data-and-forks", "pipeline"}),
}  # fmt: skip
"""Parameters of which some values stand for the rest."""


def is_everyday(item: pytest.Item) -> bool:
    """Whether ``make test`` runs it."""
    if item.name.startswith(ALSO):
        return True
    if item.name.startswith(NOT):
        return False
    callspec = getattr(item, "callspec", None)
    parameters: dict[str, Any] = callspec.params if callspec is not None else {}
    for name, chosen in CHOSEN.items():
        value = parameters.get(name)
        if value is not None and getattr(value, "name", value) not in chosen:
            return False
    words = set(parameters.get("place", ())) | {value for value in parameters.values() if isinstance(value, str)}
    return words & KINDS <= {"root"} and words & LEVELS <= {"strict"}
