"""Rows of the doctor's table: what is told of which host, how bad it is, and what to do."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lattice_agent.exec.findings import Finding, State, Surroundings, advice, findings, severity
from lattice_agent.exec.plan import Level
from lattice_agent.exec.probe_result import HostProbe, ProbeResult
from lattice_agent.exec.protections import PROTECTIONS, Lack
from lattice_agent.exec.surroundings import look_around, masks_of, swap_of

HOST = Surroundings(
    uid=0,
    kernel="6.12.0",
    landlock_abi=7,
    user_namespaces=10_000,
    cgroup="/sys/fs/cgroup/system.slice/lattice-agent.service",
    interpreters={"sh": "/bin/sh", "python3": "/usr/bin/python3"},
)
USER = replace(HOST, uid=1000)
PROGRAMS = ("/bin/sh", "/usr/bin/python3")
REACHED = {
    level: ProbeResult(level, True, "", ("pid namespace", "Landlock"), programs=PROGRAMS, calls_tried=True)
    for level in (Level.STRICT, Level.NETWORK, Level.LANDLOCK)
}
ALL = frozenset({"memory", "pids", "cpu"})


def host(changes: Mapping[Level, ProbeResult] | None = None, controllers: frozenset[str] = ALL) -> HostProbe:
    return HostProbe({**REACHED, **(changes or {})}, (), controllers)


def unreached(level: Level, because: str) -> dict[Level, ProbeResult]:
    return {level: ProbeResult(level, False, because)}


def lacking(level: Level, name: str, *, required: bool) -> dict[Level, ProbeResult]:
    protection = next(protection for protection in PROTECTIONS if protection.name == name)
    lack = Lack(protection, "something else", required)
    because = f"{name}: something else" if required else ""
    return {level: replace(REACHED[level], reached=not required, because=because, lacks=(lack,))}


def told(probe: HostProbe, around: Surroundings = HOST) -> tuple[int, dict[str, Finding]]:
    rows = findings(probe, around)
    return severity(rows, probe), {row.check: row for row in rows}


def test_a_host_that_lacks_nothing_is_fine() -> None:
    code, rows = told(host())
    assert code == 0
    assert {row.state for row in rows.values()} == {State.OK, State.NOTE}
    assert [name for name, row in rows.items() if row.state is State.NOTE] == ["level host"]
    assert rows["memory controller"].seen == "cgroup v2, cpu, memory, pids"
    assert rows["interpreter sh"].seen == "/bin/sh inside"


@pytest.mark.parametrize("row", findings(host({**unreached(Level.NETWORK, "ids: x")}, frozenset()), HOST))
def test_what_is_not_fine_has_a_consequence_and_a_fix(row: Finding) -> None:
    assert row.state is State.OK or (row.consequence and row.fix)


WHY = "/etc/subuid: has no line for this user"


@pytest.mark.parametrize("why", [WHY, ""])
def test_a_shared_uid_is_told_with_the_reason_and_how_to_give_a_range(why: str) -> None:
    probe = host(lacking(Level.STRICT, "unique uid", required=False))
    _code, rows = told(probe, replace(USER, subordinate_ids=why))
    row = rows["unique uid"]
    assert row.state is State.DEGRADED
    assert row.seen == f"level strict: something else ({why or 'there is a range of ids, and it could not be used'})"
    assert all(word in row.fix for word in ("uidmap", "/etc/subuid", "/etc/subgid", "usermod"))


def test_at_level_landlock_a_range_does_not_help() -> None:
    probe = host(lacking(Level.LANDLOCK, "unique uid", required=False))
    row = told(probe, replace(USER, subordinate_ids=WHY))[1]["unique uid"]
    assert row.seen == "level landlock: something else"
    assert "subuid" not in row.fix


# --- severity ---


def test_without_strict_a_host_is_degraded_and_the_next_level_counts() -> None:
    namespaced = {
        **unreached(Level.STRICT, "proc: Operation not permitted (proc)"),
        **unreached(Level.NETWORK, "proc: x"),
    }
    code, rows = told(host(namespaced), USER)
    assert code == 1
    assert rows["level strict"].state is State.MISSING
    assert rows["level landlock"].state is State.OK
    assert rows["pid namespace"].seen == "seen at level landlock"


def test_without_any_isolating_level_it_is_as_bad_as_can_be() -> None:
    nothing = {level: ProbeResult(level, False, "seccomp: no such library") for level in REACHED}
    code, rows = told(HostProbe(nothing, ()), replace(HOST, libseccomp="cannot find it"))
    assert code == 2
    assert all(rows[f"level {level}"].state is State.MISSING for level in REACHED)
    assert "libseccomp2" in rows["level strict"].fix
    assert rows["libseccomp"].state is State.MISSING


@pytest.mark.parametrize(
    ("level", "state", "code"), [(Level.NETWORK, State.DEGRADED, 1), (Level.LANDLOCK, State.NOTE, 0)]
)
def test_a_weaker_level_that_is_not_reached_matters_less(level: Level, state: State, code: int) -> None:
    found, rows = told(host(unreached(level, "landlock: Function not implemented")))
    assert (found, rows[f"level {level}"].state) == (code, state)


def test_a_protection_that_a_reached_level_lacks_degrades_it() -> None:
    code, rows = told(host(lacking(Level.STRICT, "private file locks", required=False)), USER)
    assert code == 1
    assert rows["private file locks"].state is State.DEGRADED
    assert rows["private file locks"].seen == "level strict: something else"
    assert "overlay" in rows["private file locks"].fix


def test_a_protection_that_a_level_needs_is_named_with_its_fix() -> None:
    changes = {k: v for level in REACHED for k, v in lacking(level, "no supplementary groups", required=True).items()}
    code, rows = told(host(changes), USER)
    assert code == 2
    assert rows["level strict"].seen == "not reached: no supplementary groups: something else"
    assert "--clear-groups" in rows["level strict"].fix
    assert rows["no supplementary groups"].state is State.MISSING


# --- single rows ---


def test_without_a_memory_controller_swap_matters() -> None:
    code, rows = told(
        host(controllers=frozenset({"pids"})), replace(HOST, swap_bytes=5 << 20, cgroup_refusal="not ours")
    )
    assert code == 1
    assert rows["memory controller"].seen == "not ours"
    assert "Delegate=yes" in rows["memory controller"].fix
    assert rows["swap"].seen == "5 MiB of swap, without a limit for a cell"
    assert "swap" not in told(host(), replace(HOST, swap_bytes=5 << 20))[1]


def test_an_interpreter_of_the_host_that_is_not_inside_is_noted() -> None:
    code, rows = told(host(), replace(HOST, interpreters={"node": "/opt/node/bin/node"}))
    assert (code, rows["interpreter node"].state) == (0, State.NOTE)
    assert "/opt/node/bin/node" in rows["interpreter node"].seen


def test_without_python3_inside_it_says_what_was_not_tried() -> None:
    _, rows = told(host({Level.STRICT: replace(REACHED[Level.STRICT], calls_tried=False)}))
    assert rows["system calls tried"].state is State.NOTE


def test_terminals_are_noted() -> None:
    _, rows = told(host(), replace(HOST, typing_into_terminals=1))
    assert rows["dev.tty.legacy_tiocsti"].fix == "sysctl dev.tty.legacy_tiocsti=0"
    assert "dev.tty.legacy_tiocsti" not in told(host(), replace(HOST, typing_into_terminals=0))[1]


def test_an_old_landlock_degrades() -> None:
    code, rows = told(host(), replace(HOST, landlock_abi=4))
    assert (code, rows["Landlock version"].state) == (1, State.DEGRADED)
    assert told(host(), replace(HOST, landlock_abi=0))[1]["Landlock version"].state is State.MISSING


def test_settings_of_user_namespaces_are_for_those_without_root() -> None:
    assert "user namespaces" not in told(host())[1]
    assert told(host(), USER)[1]["user namespaces"].seen == "user.max_user_namespaces = 10000"
    assert told(host(), replace(USER, user_namespaces=0))[1]["user namespaces"].state is State.MISSING


# --- advice ---

ADVICE = [
    ("[Errno 28] No space left on device: 'clone3'", {"user_namespaces": 0}, "user.max_user_namespaces"),
    ("[Errno 1] Operation not permitted: 'clone3'", {"unprivileged_user_namespaces": 0}, "unprivileged_userns_clone=1"),
    ("mount-namespace: Operation not permitted (unshare)", {"apparmor_user_namespaces": 1}, "AppArmor"),
    ("namespaces: Operation not permitted (unshare)", {}, "container"),
    ("mount-namespace: Operation not permitted (unshare)", {"uid": 0}, "CAP_SYS_ADMIN"),
    ("proc: Operation not permitted (proc)", {"masked_proc": ("/proc/kcore",)}, "/proc/kcore"),
    ("landlock: Operation not supported", {"landlock_abi": 0}, "lsm="),
    ("reaper-domain: Landlock ABI 6 scopes signals", {"landlock_abi": 4}, "6.12"),
    ("seccomp: cannot load libseccomp", {"libseccomp": "not found"}, "libseccomp2"),
    ("anything", {"native_cell": "the program is missing"}, "the program is missing"),
    ("work-tmpfs: Cannot allocate memory", {}, ""),
]


@pytest.mark.parametrize(("because", "change", "part"), ADVICE)
def test_advice_names_what_to_change(because: str, change: dict[str, object], part: str) -> None:
    text = advice(because, replace(USER, **change))  # type: ignore[arg-type]
    assert (part in text) if part else text == ""


# --- looking around ---


def test_this_host_can_be_looked_at() -> None:
    around = look_around("/usr/bin:/bin")
    assert around.native_cell == around.libseccomp == ""
    assert around.interpreters is not None
    assert around.interpreters["sh"] == "/bin/sh"


def test_a_proc_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    around = look_around("", tmp_path)
    assert (around.user_namespaces, around.masked_proc, around.swap_bytes) == (None, (), 0)


def test_settings_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "sys/user").mkdir(parents=True)
    (tmp_path / "sys/user/max_user_namespaces").write_text("12\n")
    (tmp_path / "swaps").write_text(
        "Filename Type Size Used Priority\n/dev/sda2 partition 2048 0 -2\n/swap file 1 0 -3\n"
    )
    around = look_around("", tmp_path)
    assert (around.user_namespaces, around.swap_bytes) == (12, 2049 * 1024)
    assert swap_of("") == 0


def test_masks_of_proc_are_mounts_below_it() -> None:
    lines = [
        "22 27 0:21 / /proc rw - proc proc rw",
        "30 22 0:25 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw",
        "31 22 0:26 /null /proc/kcore rw - devtmpfs udev rw",
        "broken",
    ]
    assert masks_of("\n".join(lines)) == ("/proc/kcore",)
