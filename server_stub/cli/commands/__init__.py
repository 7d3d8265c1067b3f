"""One file per command, and the table of them in the order in which help shows them."""

from typing import Final

from server_stub.cli.command import Command
from server_stub.cli.commands import (
    audit,
    kill_switch,
    node_add,
    node_disable,
    node_inventory,
    node_list,
    node_rotate,
    node_show,
    profile_set,
    serve,
    task_cancel,
    task_list,
    task_run,
    task_show,
    usage_show,
    user_add,
    user_list,
    user_reset,
    user_set,
    user_set_quota,
    user_show,
)

COMMANDS: Final[tuple[Command, ...]] = (
    serve.COMMAND,
    node_add.COMMAND,
    node_list.COMMAND,
    node_show.COMMAND,
    node_inventory.COMMAND,
    node_rotate.COMMAND,
    node_disable.DISABLE,
    node_disable.ENABLE,
    profile_set.COMMAND,
    user_add.COMMAND,
    user_list.COMMAND,
    user_show.COMMAND,
    user_set_quota.COMMAND,
    user_set.COMMAND,
    user_reset.COMMAND,
    task_run.COMMAND,
    task_list.COMMAND,
    task_show.COMMAND,
    task_cancel.COMMAND,
    usage_show.COMMAND,
    audit.COMMAND,
    kill_switch.COMMAND,
)
