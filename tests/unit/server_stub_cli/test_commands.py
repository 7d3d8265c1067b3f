"""What each command asks the server, and what it shows."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.server_stub_cli.rig import NODE_TOKEN, Control, FakeApi, refusal, reply

AT = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T03:04:06.5+00:00"
TASK: dict[str, Any] = {
    "id": "task_1",
    "actor": "ada",
    "nodes": ["n1"],
    "interpreter": "bash",
    "script_sha256": "0" * 64,
    "script_size_bytes": 2048,
    "timeout_sec": 90,
    "output_limit": 65536,
    "status": "queued",
    "reason": "",
    "attempts": 0,
    "created_at": AT,
    "started_at": None,
    "finished_at": None,
}
RESULT: dict[str, Any] = {
    "node_id": "n1",
    "exit_code": 0,
    "stdout": "out 1\nout 2",
    "stderr": "warn\n",
    "error": "",
    "started_at": AT,
    "finished_at": LATER,
    "received_at": LATER,
}
FINISHED = TASK | {"status": "finished", "started_at": AT, "finished_at": LATER, "results": [RESULT]}
RUN = ("task", "run", "-", "--node", "n1", "--interpreter", "bash")


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["node", "add", "n1"], ("POST", "/nodes", {}, {"id": "n1"})),
        (["node", "add", "n1", "--name", "Eins"], ("POST", "/nodes", {}, {"id": "n1", "name": "Eins"})),
        (["node", "list"], ("GET", "/nodes", {}, None)),
        (["node", "show", "n1"], ("GET", "/nodes/n1", {}, None)),
        (["node", "inventory", "n1"], ("GET", "/nodes/n1/inventory", {}, None)),
        (["node", "rotate", "n1"], ("POST", "/nodes/n1/rotate", {}, {})),
        (["node", "disable", "n1"], ("POST", "/nodes/n1/disable", {}, {"disabled": True})),
        (["node", "enable", "n1"], ("POST", "/nodes/n1/disable", {}, {"disabled": False})),
        (["profile", "set", "n1"], ("PUT", "/nodes/n1/profile", {}, {})),
        (["user", "add", "u1"], ("POST", "/users", {}, {"id": "u1"})),
        (
            [
                "user",
                "add",
                "u1",
                "--name=Una",
                "--quota=1GiB",
                "--node=a",
                "--node=b",
                "--expires-at",
                AT,
                "--disabled",
            ],
            (
                "POST",
                "/users",
                {},
                {"id": "u1", "name": "Una", "quota_bytes": 2**30, "nodes": ["a", "b"]}
                | {"expires_at": AT, "enabled": False},
            ),
        ),
        (["task", "list"], ("GET", "/tasks", {"limit": "50"}, None)),
        (
            ["task", "list", "--node", "n1", "--status", "lost", "--limit", "3"],
            ("GET", "/tasks", {"node": "n1", "status": "lost", "limit": "3"}, None),
        ),
        (["task", "show", "t1"], ("GET", "/tasks/t1", {}, None)),
        (["task", "cancel", "t1"], ("POST", "/tasks/t1/cancel", {}, {})),
        (["task", "cancel", "t1", "--node", "n1"], ("POST", "/tasks/t1/cancel", {}, {"node": "n1"})),
        (["task", "rerun", "t1"], ("POST", "/tasks/t1/rerun", {}, {"only": "all"})),
        (["task", "rerun", "t1", "--failed"], ("POST", "/tasks/t1/rerun", {}, {"only": "failed"})),
        (["node", "tag", "n1"], ("GET", "/nodes/n1", {}, None)),
        (["node", "tag", "n1", "web", "db", "web"], ("POST", "/nodes/n1/tags", {}, {"tags": ["web", "db"]})),
        (["node", "tag", "n1", "--clear"], ("POST", "/nodes/n1/tags", {}, {"tags": []})),
        (["node", "drain", "n1"], ("POST", "/nodes/n1/drain", {}, {"draining": True})),
        (["node", "undrain", "n1"], ("POST", "/nodes/n1/drain", {}, {"draining": False})),
        (["operator", "add", "ada"], ("POST", "/operators", {}, {"name": "ada"})),
        (["operator", "list"], ("GET", "/operators", {}, None)),
        (["operator", "revoke", "ada"], ("POST", "/operators/ada/revoke", {}, {})),
        (["operator", "password", "ada", "--clear"], ("POST", "/operators/ada/password", {}, {"password": None})),
        (["audit", "--search", "a b"], ("GET", "/audit", {"q": "a b", "limit": "50"}, None)),
        (["usage", "show"], ("GET", "/usage", {}, None)),
        (["usage", "show", "--user", "u1", "--node=n1"], ("GET", "/usage", {"user": "u1", "node": "n1"}, None)),
        (["usage", "show", "--format", "json"], ("GET", "/usage", {}, None)),
        (
            ["usage", "show", "--by", "day", "--user", "u1", "--from", "2026-01-01", "--to", AT],
            ("GET", "/usage/bookings", {"by": "day", "user": "u1", "from": "2026-01-01T00:00:00Z", "to": AT}, None),
        ),
        (["user", "add", "u1", "--reset-day", "28"], ("POST", "/users", {}, {"id": "u1", "reset_day": 28})),
        (["user", "list"], ("GET", "/users", {}, None)),
        (["user", "show", "u1"], ("GET", "/users/u1", {}, None)),
        (["user", "set-quota", "u1", "1GiB"], ("POST", "/users/u1", {}, {"quota_bytes": 2**30})),
        (
            ["user", "set-quota", "u1", "none", "--reset-day", "none"],
            ("POST", "/users/u1", {}, {"quota_bytes": 0, "reset_day": 0}),
        ),
        (
            ["user", "set-quota", "u1", "5", "--reset-day=1"],
            ("POST", "/users/u1", {}, {"quota_bytes": 5, "reset_day": 1}),
        ),
        (["user", "reset", "u1"], ("POST", "/users/u1/reset", {}, {})),
        (
            ["user", "set", "u1", "--enable", "--node", "a", "--node", "b", "--expires-at", AT],
            ("POST", "/users/u1", {}, {"enabled": True, "nodes": ["a", "b"], "expires_at": AT}),
        ),
        (
            ["user", "set", "u1", "--disable", "--all-nodes", "--expires-at", "never"],
            ("POST", "/users/u1", {}, {"enabled": False, "nodes": [], "expires_at": None}),
        ),
        (["audit"], ("GET", "/audit", {"limit": "50"}, None)),
        (
            ["audit", "--action", "node.add", "--node", "n1", "--limit", "1"],
            ("GET", "/audit", {"action": "node.add", "node": "n1", "limit": "1"}, None),
        ),
        (["kill-switch", "on"], ("POST", "/kill-switch", {}, {"enabled": True})),
        (["kill-switch", "off"], ("POST", "/kill-switch", {}, {"enabled": False})),
        (["kill-switch", "show"], ("GET", "/kill-switch", {}, None)),
    ],
)
def test_each_command_asks_one_question_and_json_is_the_answer(
    control: Control, api: FakeApi, argv: list[str], asked: tuple[str, str, dict[str, str], object]
) -> None:
    answer = {"z": 1, "a": ["é\u202e\x9b", {"unknown": None}]}
    api.answers(reply(answer))

    ran = control(*argv, "--json")

    seen = api.asked[0]
    assert (seen.method, seen.path.removeprefix("/api/v1"), seen.params, seen.body) == asked
    assert len(api.asked) == 1
    assert (ran.code, ran.err) == (0, "")
    assert ran.document == answer
    assert list(ran.document) == ["z", "a"]
    assert ran.out.isascii()


# --- nodes --------------------------------------------------------------------------------------------------


def test_node_add_shows_the_token_and_how_to_use_it(control: Control, api: FakeApi) -> None:
    api.answers(reply({"node": {"id": "n1"}, "token": NODE_TOKEN}))

    ran = control("node", "add", "n1")

    assert ran.out.splitlines()[:3] == ["node n1 is added; its token is shown only now", "", f"token  {NODE_TOKEN}"]
    assert f"lattice-agent -server {api.url} -node-id n1 --token-file n1.token" in ran.out
    assert NODE_TOKEN not in ran.err


def test_node_rotate_shows_the_new_token(control: Control, api: FakeApi) -> None:
    api.answers(reply({"token": NODE_TOKEN}))

    ran = control("node", "rotate", "n1")

    assert "the old one is no longer accepted" in ran.out
    assert f"token  {NODE_TOKEN}" in ran.out


@pytest.mark.parametrize("answer", [{"node": {"id": "n1"}}, {"token": "x; reboot", "node": {"id": "n1"}}, {"token": 5}])
def test_an_answer_without_a_token_prints_nothing_to_paste(control: Control, api: FakeApi, answer: object) -> None:
    api.answers(reply(answer))

    ran = control("node", "add", "n1")

    assert (ran.code, ran.out) == (os.EX_PROTOCOL, "")


def test_node_list_is_a_table(control: Control, api: FakeApi) -> None:
    nodes = [
        {"id": "n1", "name": "Eins", "online": True, "agent_version": "1.0", "last_seen": AT, "tags": ["db", "web"]},
        {"id": "node-2", "name": None, "last_seen": None, "draining": True},
        {"id": "n3", "name": "Drei", "online": True, "disabled": True},
    ]
    api.answers(reply({"nodes": nodes}))

    assert control("node", "list").out.splitlines() == [
        "NODE    NAME  STATE              TAGS     AGENT  LAST SEEN",
        "n1      Eins  online             db, web  1.0    2026-01-02 03:04:05Z",
        "node-2  -     offline, draining  -        -      -",
        "n3      Drei  disabled           -        -      -",
    ]
    assert [line.split()[0] for line in control("node", "list", "--tag", "web").out.splitlines()] == ["NODE", "n1"]
    assert [node["id"] for node in control("node", "list", "--tag=db", "--json").document["nodes"]] == ["n1"]
    assert "no node has web and x" in control("node", "list", "--tag=web", "--tag=x").err


def test_tags_are_added_and_removed_from_what_is_there(control: Control, api: FakeApi) -> None:
    api.answers(
        reply({"node": {"id": "n1", "tags": ["db", "old"]}}), reply({"node": {"id": "n1", "tags": ["db", "web"]}})
    )

    ran = control("node", "tag", "n1", "--add", "web", "--add", "db", "--remove", "old")

    assert api.asked[1].body == {"tags": ["db", "web"]}
    assert ran.out == "node n1 has tags db, web\n"


def test_a_token_is_shown_even_if_the_tags_are_refused(control: Control, api: FakeApi) -> None:
    api.answers(reply({"node": {"id": "n1"}, "token": NODE_TOKEN}), refusal(400, "bad_request", "at most 16 tags"))

    ran = control("node", "add", "n1", "--tag", "web")

    assert ran.code == os.EX_DATAERR
    assert f"token  {NODE_TOKEN}" in ran.out
    assert "at most 16 tags" in ran.err


def test_empty_lists_say_what_to_do_beside_the_output(control: Control, api: FakeApi) -> None:
    for command, text in (("node", "node add"), ("usage", "user add"), ("task", "no such tasks"), ("audit", "no such")):
        argv = {"usage": ("usage", "show"), "audit": ("audit",)}.get(command, (command, "list"))
        ran = control(*argv)
        assert (ran.code, ran.out) == (0, "")
        assert text in ran.err


def test_node_inventory_has_a_section_for_each_family(control: Control, api: FakeApi) -> None:
    inventory = {
        "collected_at": "2026-01-02T03:04:05Z",
        "cpu": {"model": "Example", "cores": 4, "flags": ["aes", "avx2"]},
        "disks": [{"name": "sda", "size_bytes": 2**40, "rotational": False}, {"name": "sd\x1b[2Jb"}, 7],
        "gaps": [{"family": "filesystems", "reason": "not read within 2 s"}],
    }
    api.answers(reply({"inventory": inventory, "received_at": "2026-01-02T03:04:06Z"}))

    lines = control("node", "inventory", "n1").out.splitlines()

    assert lines[lines.index("cpu") + 1 :][:3] == ["  model  Example", "  cores  4", "  flags  aes, avx2"]
    disks = lines[lines.index("disks") + 1 :][:2]
    assert disks == ["  name sda, size_bytes 1.0 TiB, rotational no", "  name sd\\x1b[2Jb"]
    assert "  family filesystems, reason not read within 2 s" in lines


def test_a_node_without_inventory_says_so(control: Control, api: FakeApi) -> None:
    api.answers(reply({"inventory": None, "received_at": None}))

    ran = control("node", "inventory", "n1")

    assert (ran.code, ran.out) == (0, "")
    assert "n1 has reported no inventory" in ran.err


def test_node_show_has_a_section_for_each_report(control: Control, api: FakeApi) -> None:
    node = {
        "id": "n1",
        "online": True,
        "addresses": {"public_ip": "198.51.100.1"},
        "host_facts": {"hostname": "h", "memory_total": 2**32},
        "metrics": None,
        "agent_runtime": {"allow_exec": False},
    }
    api.answers(reply({"node": node}))

    lines = control("node", "show", "n1").out.splitlines()

    assert "state           online" in lines
    assert "control stream  down: the node asks for tasks from time to time" in lines
    assert lines[lines.index("host facts") + 1 :][:2] == ["  hostname      h", "  memory_total  4.0 GiB"]
    assert "  allow_exec  no" in lines
    assert "metrics" not in lines


def test_disable_enable_and_profile_say_what_is_now_so(control: Control) -> None:
    assert control("node", "disable", "n1").out == "node n1 is disabled\n"
    assert control("node", "enable", "n1").out == "node n1 is enabled\n"
    assert control("profile", "set", "n1").out == "node n1 has a proxy profile; its usage reports are accepted\n"


# --- tasks --------------------------------------------------------------------------------------------------


def test_task_run_sends_the_script_and_says_where_to_look(control: Control, api: FakeApi, tmp_path: Path) -> None:
    script = tmp_path / "s"
    script.write_text("echo é\n")
    api.answers(reply({"task": TASK}))

    ran = control(
        *("task", "run", str(script), "--node", "n1", "--node", "n2", "--interpreter", "bash"),
        *("--timeout", "1m30s", "--output-limit", "1024"),
    )

    assert api.asked[0].body == {
        "nodes": ["n1", "n2"],
        "interpreter": "bash",
        "script": "echo é\n",
        "timeout_sec": 90,
        "output_limit": 1024,
    }
    assert (ran.code, ran.out) == (0, "task task_1 is queued; see it with lattice-control task show task_1\n")


def test_limits_left_out_are_left_to_the_server(control: Control, api: FakeApi) -> None:
    api.answers(reply({"task": TASK}))

    control(*RUN, stdin=b"true")

    assert api.asked[0].body == {"nodes": ["n1"], "interpreter": "bash", "script": "true"}


@pytest.mark.parametrize(
    ("more", "stdin", "code", "text"),
    [
        (["--timeout", "601"], b"true", os.EX_DATAERR, "--timeout is 10 min 1 s; give whole seconds from 1s to 600s"),
        (["--timeout", "0"], b"true", os.EX_DATAERR, "--timeout is 0 s"),
        (["--timeout", "1500ms"], b"true", os.EX_DATAERR, "--timeout is 1.50 s"),
        ([], b"", os.EX_DATAERR, "the script on standard input is blank"),
        ([], b"\xff", os.EX_DATAERR, "the script on standard input is not UTF-8"),
        ([], b"x" * 65_537, os.EX_DATAERR, "the script on standard input is larger than 65536 bytes"),
    ],
)
def test_a_wrong_task_is_refused_before_anything_is_sent(
    control: Control, api: FakeApi, more: list[str], stdin: bytes, code: int, text: str
) -> None:
    ran = control(*RUN, *more, stdin=stdin)

    assert ran.code == code
    assert text in ran.err
    assert api.asked == []


def test_a_task_for_tags_with_limits_of_its_fan_out(control: Control, api: FakeApi) -> None:
    api.answers(reply({"task": TASK | {"nodes": ["n1", "n2"]}}))

    ran = control(
        *("task", "run", "-", "--interpreter=sh", "--tag=web", "--tag=eu", "--concurrency=10", "--max-failures=2"),
        "--queue-timeout=5m",
        stdin=b"true",
    )

    assert api.asked[0].body == {
        "tags": ["web", "eu"],
        "interpreter": "sh",
        "script": "true",
        "concurrency": 10,
        "max_failures": 2,
        "queue_timeout_sec": 300,
    }
    assert ran.out == "task task_1 is queued for 2 nodes; see it with lattice-control task show task_1\n"


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("task", "run", "-", "--interpreter", "sh"), os.EX_USAGE, "neither --node nor --tag is given"),
        ((*RUN, "--tag", "web"), os.EX_USAGE, "--node and --tag are both given"),
        ((*RUN, "--queue-timeout", "0"), os.EX_DATAERR, "--queue-timeout is 0 s"),
        (("node", "tag", "n1", "web", "--add", "db"), os.EX_USAGE, "exclude each other"),
        (("node", "tag", "n1", "--clear", "--remove", "db"), os.EX_USAGE, "exclude each other"),
        (("operator", "password", "ada"), os.EX_USAGE, "give it with --password-file PATH"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_sent(
    control: Control, api: FakeApi, argv: tuple[str, ...], code: int, text: str
) -> None:
    ran = control(*argv, stdin=b"true")

    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err
    assert api.asked == []


def test_preview_ends_with_1_if_a_node_would_refuse(control: Control, api: FakeApi) -> None:
    runs = {"node_id": "n1", "verdict": "runs", "text": "", "level": "strict", "timeout_sec": 30, "online": True}
    refused = {"node_id": "n2", "verdict": "refused", "text": "only listed scripts run there"}
    order = ("task", "preview", "-", "--tag", "web", "--interpreter", "sh")
    api.answers(reply({"nodes": [runs, refused]}), reply({"nodes": [runs]}))

    ran = control(*order, stdin=b"true")

    assert ran.code == 1
    assert ran.out.splitlines() == [
        "NODE  VERDICT  STATE    LEVEL   TIMEOUT  OUTPUT",
        "n1    runs     online   strict  30 s     -",
        "n2    refused  offline  -       -        -",
        "n2: only listed scripts run there",
    ]
    assert control(*order, stdin=b"true").code == 0


def test_task_list_is_a_table(control: Control, api: FakeApi) -> None:
    lost = TASK | {"id": "task_2", "nodes": ["n1", "n2"], "status": "lost", "reason": "no result after 5 leases"}
    lost |= {"outcomes": {"succeeded": 1, "lost": 1}}
    api.answers(reply({"tasks": [lost, FINISHED]}))

    shown = control("task", "list").out.splitlines()

    assert [line.split("  ")[0] for line in shown] == ["TASK", "task_2", "task_1"]
    assert "1 succeeded, 1 lost" in shown[1]
    assert "no result after 5 leases" in shown[1]


def test_task_show_has_the_facts_and_each_result(control: Control, api: FakeApi) -> None:
    api.answers(reply({"task": FINISHED | {"attempts": 1}}))

    ran = control("task", "show", "task_1")

    assert ran.out.splitlines() == [
        "task         task_1",
        "status       finished",
        "nodes        n1",
        "interpreter  bash",
        "script       2.0 KiB, sha256 " + "0" * 64,
        "limits       1 min 30 s, 64.0 KiB of each stream",
        "attempts     1",
        "asked by     ada",
        "created      2026-01-02 03:04:05Z",
        "started      2026-01-02 03:04:05Z",
        "ended        2026-01-02 03:04:06Z",
        "",
        "n1: exit 0, took 1.50 s",
        "-- stdout",
        "   out 1",
        "   out 2",
        "-- stderr",
        "   warn",
    ]
    assert ran.err == ""


def test_task_show_has_the_times_clocks_and_leftovers_of_each_target(control: Control, api: FakeApi) -> None:
    detail = {"outcome": "timed_out", "level": "strict", "clock": "wall", "grace_expired": True, "queued_ms": 20}
    detail |= {"wall_ms": 90_000, "cpu_ms": 1500, "grace_ms": 5000, "max_rss_bytes": 2**20, "killed": 3}
    detail |= {"stdout_bytes": 2048, "uncertain": True}
    words = {"outcome": "timed_out", "text": "timed out: wall clock, 90 s"}
    target = {"node_id": "n1", "state": "reported", "attempts": 2, "leased_at": LATER, "finished_at": LATER} | words
    lost = {"node_id": "n2", "state": "lost", "outcome": "lost", "text": "lost: no result after 5 leases"}
    limits = {"concurrency": 10, "max_failures": 2, "queue_timeout_sec": 300, "rerun_of": "task_0"}
    results = [RESULT | words | {"detail": detail, "stdout": "", "stderr": ""}]
    shown = TASK | limits | {"targets": [target, lost], "results": results, "outcomes": {"lost": 1, "timed_out": 1}}
    api.answers(reply({"task": shown}))

    lines = control("task", "show", "task_1").out.splitlines()

    assert "outcomes     1 lost, 1 timed out" in lines
    assert "again        the script of task_0" in lines
    limits_line = "1 min 30 s, 64.0 KiB of each stream, 5 min in the queue, 10 nodes at once, stopped after 2 failures"
    assert f"limits       {limits_line}" in lines
    assert lines[lines.index("n1: timed out: wall clock, 90 s") :] == [
        "n1: timed out: wall clock, 90 s",
        "   leased     2026-01-02 03:04:06Z (+1.50 s)",
        "   ended      2026-01-02 03:04:06Z (+0 s)",
        "   attempts   2",
        "   clocks     queued 1.50 s, waited on the node 0.02 s, wall 1 min 30 s of 1 min 30 s, CPU 1.50 s, "
        "grace 5 s, then killed, ended by the wall clock",
        "   used       level strict, memory 1.0 MiB, printed 2.0 KiB and 0 B",
        "   left over  3 processes killed",
        "   left over  processes of the run may still be alive on the node",
        "",
        "n2: lost: no result after 5 leases",
    ]


def test_task_cancel(control: Control, api: FakeApi) -> None:
    queued, running = {"node_id": "n1", "outcome": "cancelled"}, {"node_id": "n2", "outcome": "running"}
    api.answers(reply({"task": TASK | {"targets": [queued]}}), reply({"task": TASK | {"targets": [queued, running]}}))
    assert control("task", "cancel", "task_1").out == "task task_1 is cancelled\n"
    assert "is being stopped on n2; see it with lattice-control task show" in control("task", "cancel", "task_1").out
    api.answers(refusal(409, "request_failed", "only queued tasks can be cancelled"))

    ran = control("task", "cancel", "task_1")

    assert ran.code == os.EX_DATAERR
    assert "only queued tasks can be cancelled (request_failed)" in ran.err


# --- the rest -----------------------------------------------------------------------------------------------


def test_usage_show_has_users_and_collectors(control: Control, api: FakeApi) -> None:
    users = [
        {"id": "u1", "name": "Una", "used_bytes": 1536, "quota_bytes": 2**30, "status": "active", "last_seen_at": AT}
        | {"per_node": {"n1": 1024, "n2": 512}},
        {"id": "u2", "name": "u2", "used_bytes": 0, "quota_bytes": 0, "status": "active"},
    ]
    nodes = [{"node_id": "n1", "collector_source": "file", "collector_status": "ok", "checked_at": AT}]
    api.answers(reply({"users": users, "nodes": nodes}))

    assert control("usage", "show").out.splitlines() == [
        "USER  NAME  STATUS     USED    QUOTA  LAST SEEN             PER NODE",
        "u1    Una   active  1.5 KiB  1.0 GiB  2026-01-02 03:04:05Z  n1 1.0 KiB, n2 512 B",
        "u2    u2    active      0 B     none  -                     -",
        "",
        "NODE  SOURCE  STATUS  CHECKED               LAST REPORT  ERROR",
        "n1    file    ok      2026-01-02 03:04:05Z  -            -",
    ]


def test_user_add(control: Control, api: FakeApi) -> None:
    api.answers(reply({"user": {"id": "u1"}}))

    assert control("user", "add", "u1").out == "user u1 is added\n"


USER: dict[str, Any] = {
    "id": "u1",
    "name": "Una",
    "used_bytes": 1536,
    "quota_bytes": 2**30,
    "reset_day": 15,
    "period_start": "2026-01-15T00:00:00Z",
    "status": "active",
    "enabled": True,
    "expires_at": AT,
    "nodes": ["n1", "n2"],
    "last_seen_at": None,
    "per_node": {"n1": 5000, "node-2": 10},
}


def test_user_list_is_a_table(control: Control, api: FakeApi) -> None:
    api.answers(reply({"users": [USER, {"id": "u2", "name": "u2", "status": "disabled"}]}))

    assert control("user", "list").out.splitlines() == [
        "USER  NAME  STATUS       USED  QUOTA                        EXPIRES               NODES",
        "u1    Una   active    1.5 KiB  1.0 GiB a month from day 15  2026-01-02 03:04:05Z  n1, n2",
        "u2    u2    disabled      0 B  none                         never                 all",
    ]


def test_user_show_has_the_account_and_what_was_ever_transferred(control: Control, api: FakeApi) -> None:
    api.answers(reply({"user": USER}))

    assert control("user", "show", "u1").out.splitlines() == [
        "user       u1",
        "name       Una",
        "status     active",
        "used       1.5 KiB since 2026-01-15 00:00:00Z",
        "quota      1.0 GiB a month from day 15",
        "expires    2026-01-02 03:04:05Z",
        "nodes      n1, n2",
        "last seen  -",
        "",
        "ever transferred",
        "  n1      4.9 KiB",
        "  node-2  10 B",
    ]


def test_changes_of_a_user_say_what_is_now_so(control: Control, api: FakeApi) -> None:
    api.answers(reply({"user": USER}))

    quota = control("user", "set-quota", "u1", "1GiB", "--reset-day", "15").out
    changed = control("user", "set", "u1", "--enable").out

    assert quota == "user u1 has quota 1.0 GiB a month from day 15, and is active\n"
    assert changed == "user u1 is active; see lattice-control user show u1\n"
    assert control("user", "reset", "u1").out == "user u1 has used nothing of its quota\n"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("user", "set", "u1"), "there is nothing to set"),
        (("user", "set", "u1", "--enable", "--disable"), "not allowed with argument"),
        (("user", "set", "u1", "--node", "n1", "--all-nodes"), "not allowed with argument"),
        (("user", "set-quota", "u1"), "SIZE"),
        (("user", "set-quota", "u1", "5", "--reset-day", "29"), "'29' is not a number from 1 to 28"),
        (("usage", "show", "--from", "2026-01-01"), "--from and --to need --by"),
        (("usage", "show", "--by", "week"), "--by"),
        (("usage", "show", "--by", "day", "--to", "2026-13-01"), "is not a time"),
        (("usage", "show", "--json", "--format", "csv"), "exclude each other"),
    ],
)
def test_wrong_accounting_commands_ask_nothing(
    control: Control, api: FakeApi, argv: tuple[str, ...], text: str
) -> None:
    ran = control(*argv)

    assert ran.code == os.EX_USAGE
    assert text in ran.err
    assert api.asked == []


BOOKINGS = [
    {"start": "2026-01-15T00:00:00Z", "user_id": "u1", "node_id": "n1", "bytes": 2048},
    {"start": "2026-02-15T00:00:00Z", "user_id": "u1", "node_id": "node-2", "bytes": 5},
]


def test_usage_by_span_is_a_table_and_a_csv(control: Control, api: FakeApi) -> None:
    api.answers(reply({"bookings": BOOKINGS}))

    assert control("usage", "show", "--by", "month").out.splitlines() == [
        "FROM                  USER  NODE    TRANSFERRED",
        "2026-01-15 00:00:00Z  u1    n1          2.0 KiB",
        "2026-02-15 00:00:00Z  u1    node-2          5 B",
    ]
    assert control("usage", "show", "--by", "month", "--format", "csv").out.splitlines() == [
        "start,user,node,bytes",
        "2026-01-15T00:00:00Z,u1,n1,2048",
        "2026-02-15T00:00:00Z,u1,node-2,5",
    ]


def test_a_span_without_traffic_says_so_beside_the_output(control: Control, api: FakeApi) -> None:
    api.answers(reply({"bookings": []}))

    ran = control("usage", "show", "--by", "day")

    assert (ran.out, ran.err) == ("", "nothing was transferred in that time\n")
    assert control("usage", "show", "--by", "day", "--format", "csv").out == "start,user,node,bytes\n"


def test_usage_as_csv_is_one_line_for_each_user(control: Control, api: FakeApi) -> None:
    users = [
        USER | {"name": '=HYPERLINK("http://example","x")', "last_seen_at": AT},
        {"id": "u2", "name": "b, c", "used_bytes": 7, "status": "over_quota"},
    ]
    api.answers(reply({"users": users, "nodes": []}))

    assert control("usage", "show", "--format", "csv").out.splitlines() == [
        "user,name,status,used_bytes,quota_bytes,last_seen_at",
        'u1,"\'=HYPERLINK(""http://example"",""x"")",active,1536,1073741824,2026-01-02T03:04:05Z',
        'u2,"b, c",over_quota,7,0,',
    ]


def test_audit_is_a_table(control: Control, api: FakeApi) -> None:
    event: dict[str, Any] = {"time": AT, "actor": "ada", "action": "task.create", "target": "task_1", "node_id": "n1"}
    event |= {"decision": "allow", "reason": "", "detail": {"interpreter": "sh", "nodes": ["n1"]}}
    api.answers(reply({"events": [event]}))

    assert control("audit").out.splitlines() == [
        "TIME                  ACTOR  ACTION       TARGET  NODE  DECISION  REASON  DETAIL",
        '2026-01-02 03:04:05Z  ada    task.create  task_1  n1    allow     -       interpreter=sh nodes=["n1"]',
    ]


def test_kill_switch_says_what_is_now_so(control: Control, api: FakeApi) -> None:
    api.answers(reply({"task_execution_disabled": True}))
    assert "the kill switch is on" in control("kill-switch", "show").out
    api.answers(reply({"task_execution_disabled": False}))
    assert "the kill switch is off" in control("kill-switch", "off").out


def test_the_largest_counters_of_a_node_are_shown(control: Control, api: FakeApi) -> None:
    most = 2**64 - 1  # of the wire's counters (docs/protocol.md, results.detail)
    counters = ("queued_ms", "wall_ms", "cpu_ms", "grace_ms", "max_rss_bytes", "stdout_bytes", "killed", "lingering")
    result = {"node_id": "n1", "detail": {"outcome": "failed", **dict.fromkeys(counters, most)}}
    target = {"node_id": "n1", "state": "reported", "outcome": "failed"}
    api.answers(reply({"task": FINISHED | {"targets": [target], "results": [result]}}))

    ran = control("task", "show", "t1")

    assert ran.code == os.EX_OK, ran.err
    assert f"{most} processes killed" in ran.out
