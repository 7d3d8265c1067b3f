"""The operators' API (docs/protocol.md section 8), operation by operation."""

from typing import Final

from server_stub.api.description.operation import Operation
from server_stub.api.orders import (
    AddNode,
    AddOperator,
    AddUser,
    CancelTask,
    ChangeUser,
    ConfigureNode,
    CreateTask,
    DisableNode,
    DrainNode,
    Nothing,
    RerunTask,
    SetKillSwitch,
    SetPassword,
    TagNode,
)
from server_stub.api.queries import FindBookings, FindEvents, FindMetrics, FindTasks, FindUsage, FollowOutput, ShowTask
from server_stub.api.shapes import (
    BookingsAnswer,
    Document,
    EventsAnswer,
    InventoryShape,
    KillSwitchAnswer,
    MetricsShape,
    NewNodeAnswer,
    NewOperatorAnswer,
    NodeAnswer,
    NodesAnswer,
    OperatorAnswer,
    OperatorsAnswer,
    OutputEnd,
    OutputPiece,
    OutputResult,
    PreviewAnswer,
    ProfileAnswer,
    TaskAnswer,
    TasksAnswer,
    TaskWithResultsAnswer,
    TokenAnswer,
    ToldTaskShape,
    UsageShown,
    UserAnswer,
    UsersAnswer,
)

_NODES: Final = "/api/v1/nodes"
_NODE: Final = "/api/v1/nodes/{node_id}"
_USERS: Final = "/api/v1/users"
_USER: Final = "/api/v1/users/{user_id}"
_TASKS: Final = "/api/v1/tasks"
_TASK: Final = "/api/v1/tasks/{task_id}"
_OF_TASK: Final = tuple(
    (f"{method}_tasks_task_id{rest}", "task_id", "/task/id")
    for method, rest in (("get", ""), ("post", "_cancel"), ("post", "_rerun"))
)
_OPERATORS: Final = "/api/v1/operators"

OPERATIONS: Final = (
    Operation("get", "/api/v1/openapi.json", "anyone", "This description", Document),
    Operation(
        "post",
        _NODES,
        "operator",
        "Register a node; its token is shown here only",
        NewNodeAnswer,
        AddNode,
        None,
        (409,),
    ),
    Operation("get", _NODES, "operator", "All nodes", NodesAnswer),
    Operation("get", _NODE, "operator", "One node", NodeAnswer),
    Operation("get", f"{_NODE}/inventory", "operator", "What a node reported of its host", InventoryShape),
    Operation("get", f"{_NODE}/metrics", "operator", "Means by time", MetricsShape, None, FindMetrics),
    Operation(
        "post", f"{_NODE}/rotate", "operator", "A new token; the old one is refused at once", TokenAnswer, Nothing
    ),
    Operation("post", f"{_NODE}/disable", "operator", "Refuse or admit a node", NodeAnswer, DisableNode),
    Operation(
        "put", f"{_NODE}/config", "operator", "Replace what the node's config answer carries", NodeAnswer, ConfigureNode
    ),
    Operation("post", f"{_NODE}/tags", "operator", "Set a node's tags", NodeAnswer, TagNode),
    Operation("post", f"{_NODE}/drain", "operator", "Hand a node no tasks, or some again", NodeAnswer, DrainNode),
    Operation("put", f"{_NODE}/profile", "operator", "Count usage on a node from now on", ProfileAnswer, Nothing),
    Operation("post", _USERS, "operator", "Add a proxy user", UserAnswer, AddUser, None, (404, 409)),
    Operation("get", _USERS, "operator", "All proxy users", UsersAnswer),
    Operation("get", _USER, "operator", "One proxy user", UserAnswer),
    Operation("post", _USER, "operator", "Change a user; what is left out stays", UserAnswer, ChangeUser),
    Operation("post", f"{_USER}/reset", "operator", "Forgive what was used", UserAnswer, Nothing),
    Operation("get", "/api/v1/usage", "operator", "Users and profiles", UsageShown, None, FindUsage, (404,)),
    Operation(
        "get",
        "/api/v1/usage/bookings",
        "operator",
        "Bytes by hour, day or billing month, oldest first",
        BookingsAnswer,
        None,
        FindBookings,
        (404,),
    ),
    Operation(
        "post", _TASKS, "operator", "Queue a script on nodes", TaskAnswer, CreateTask, None, (404, 409), links=_OF_TASK
    ),
    Operation(
        "post", f"{_TASKS}/preview", "operator", "What nodes would say to it", PreviewAnswer, CreateTask, None, (404,)
    ),
    Operation("get", _TASKS, "operator", "Tasks, newest first", TasksAnswer, None, FindTasks),
    Operation("get", _TASK, "operator", "One task with its results", TaskWithResultsAnswer, None, ShowTask),
    Operation(
        "get",
        f"{_TASK}/events",
        "operator",
        "The task now and after each change, at most 5 times a second; end once it has ended",
        events=(("task", ToldTaskShape), ("end", ToldTaskShape)),
    ),
    Operation(
        "get",
        f"{_TASK}/output",
        "operator",
        "Live output of one target; reset: what was shown is gone; result, or end without one, is the last event",
        query=FollowOutput,
        events=(("output", OutputPiece), ("reset", Nothing), ("result", OutputResult), ("end", OutputEnd)),
    ),
    Operation("post", f"{_TASK}/cancel", "operator", "Cancel a task", TaskAnswer, CancelTask, None, (409,)),
    Operation("post", f"{_TASK}/rerun", "operator", "The same task anew", TaskAnswer, RerunTask, None, (409,)),
    Operation("get", "/api/v1/audit", "operator", "Decisions, newest first", EventsAnswer, None, FindEvents),
    Operation("get", "/api/v1/kill-switch", "operator", "Whether tasks are stopped", KillSwitchAnswer),
    Operation("post", "/api/v1/kill-switch", "operator", "Stop or admit tasks", KillSwitchAnswer, SetKillSwitch),
    Operation(
        "post",
        _OPERATORS,
        "operator",
        "Add an operator; the token is shown here only",
        NewOperatorAnswer,
        AddOperator,
        None,
        (409,),
    ),
    Operation(
        "post", f"{_OPERATORS}/{{name}}/password", "operator", "Set or clear a password", OperatorAnswer, SetPassword
    ),
    Operation("get", _OPERATORS, "operator", "All operators", OperatorsAnswer),
    Operation(
        "post", f"{_OPERATORS}/{{name}}/revoke", "operator", "Revoke a token", OperatorAnswer, Nothing, None, (409,)
    ),
)
