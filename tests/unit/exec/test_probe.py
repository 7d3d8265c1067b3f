"""The probe: what it says of this host, what each absence looks like, and hosts that lack something."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace

import prctl
import pytest
import trio

from lattice_agent.exec import cell_steps, probe_script
from lattice_agent.exec.kernel import landlock
from lattice_agent.exec.launch import start_spawner
from lattice_agent.exec.local_policy import INTERPRETERS
from lattice_agent.exec.plan import Level, Limits, Profile
from lattice_agent.exec.probe import PROBED, HostProbe, expected, probe_host
from lattice_agent.exec.probe_script import Facts, read_facts
from lattice_agent.exec.probe_seen import Outside, Seen, parse_mount
from lattice_agent.exec.protections import EVERYWHERE, PROTECTIONS, SCOPING_ABI, Protection, judge
from lattice_agent.exec.runner import open_runner
from lattice_agent.report.runtime import TELLING
from tests.hostile.rig import fork_spawner
from tests.hostile.world import REPOSITORY, World
from tests.rigs.cells import a_reachable_program

OUTER_S = 40
NOBODY = 65534
LIMITS = Limits(wall_s=5, output_bytes=1000, cpu_s=5, processes=32)

# --- facts of a well confined script, from which each test takes one away ---

STATUS = """\
Uid:\t1900000000\t1900000000\t1900000000\t1900000000
Gid:\t1900000000\t1900000000\t1900000000\t1900000000
Groups:\t
PPid:\t1
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t1"""
MOUNTS = """\
83 73 0:50 / / ro,nosuid,relatime - overlay overlay ro,lowerdir=/lower
86 83 0:53 / /usr ro,nosuid,nodev,relatime - overlay overlay ro,lowerdir=/lower/usr
74 83 0:57 / /proc ro,nosuid,nodev,noexec,relatime - proc proc rw,hidepid=invisible
75 83 0:58 / /tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=65536k,nr_inodes=8192,mode=700
93 74 0:50 /dev/null /proc/keys ro,nosuid,relatime - overlay overlay ro,lowerdir=/lower"""
NAMESPACES = "pid:[1] mnt:[2] net:[3] ipc:[4] uts:[5] cgroup:[6] user:[7]"
LINES = {
    "status": STATUS.splitlines(),
    "mount": MOUNTS.splitlines(),
    "limit": [
        "Max core file size        0                    0                    bytes",
        "Max open files            256                  256                  files",
        "Max stack size            8388608              8388608              bytes",
        "Max locked memory         0                    0                    bytes",
        "Max msgqueue size         0                    0                    bytes",
        "Max pending signals       1024                 1024                 signals",
        "Max nice priority         0                    0",
        "Max realtime priority     0                    0",
        "Max processes             32                   32                   processes",
    ],
    "stat": ["2 (sh) R 1 1 1 0 -1 4194560 70 0"],
    "oom_score_adj": ["1000"],
    "hostname": ["cell"],
    "directory": ["/tmp/work"],
    "umask": ["0077"],
    "root": ["/bin", "/dev", "/etc", "/lib", "/proc", "/tmp", "/usr", "/var", "/.[!.]*"],
    "etc": ["hosts", "passwd", "ssl"],
    "dev": ["fd", "full", "null", "zero"],
    "process": ["/proc/1", "/proc/2"],
    "descriptor": ["0 null", "1 pipe", "2 pipe"],
    "interface": ["Inter-|   Receive", " face |bytes", "    lo:       0       0"],
    "tcp_rmem": [cell_steps.TCP_BUFFERS],
    "tcp_wmem": [cell_steps.TCP_BUFFERS],
    "loopback": ["up"],
    "namespaces": [NAMESPACES],
}  # fmt: skip
CALLS = {
    "tried": [
        "keyctl EPERM", "unshare EPERM", "clone3 ENOSYS", "memfd_create EPERM", "socket-netlink EPERM",
        "socket-alg EAFNOSUPPORT", "socket-inet done", "typing EPERM", "listener ECONNREFUSED", "abstract ECONNREFUSED",
    ],
    "securebits": ["235"],
    "landlock_layers": ["15"],
}  # fmt: skip
OUTSIDE = Outside(
    uid=0,
    namespaces={"pid": "101", "mnt": "102", "net": "103", "ipc": "104", "uts": "105", "cgroup": "106", "user": "7"},
    landlock_abi=7,
    landlock_layers=16,
)


def seen(**changes: object) -> Seen:
    """A cell of level strict as root makes it, but for the changes."""
    fine = Seen(
        Profile(Level.STRICT), "/tmp/work", LIMITS, OUTSIDE, expected(), Facts(dict(LINES)), calls=Facts(dict(CALLS))
    )
    return replace(fine, **changes)  # type: ignore[arg-type]


def facts(key: str, *values: str) -> dict[str, object]:
    return {"facts": Facts({**LINES, key: list(values)})}


def status(name: str, value: str) -> dict[str, object]:
    lines = [f"{name}:\t{value}" if line.startswith(name + ":") else line for line in LINES["status"]]
    return facts("status", *lines)


def mounts(old: str, new: str) -> dict[str, object]:
    assert old in MOUNTS
    return facts("mount", *MOUNTS.replace(old, new).splitlines())


def calls(old: str, new: str) -> dict[str, object]:
    assert old in CALLS["tried"]
    return {"calls": Facts({**CALLS, "tried": [new if line == old else line for line in CALLS["tried"]]})}


def test_what_is_well_confined_lacks_nothing() -> None:
    verdict = judge(seen())
    assert verdict.lacks == ()
    wanted = {protection.name for protection in PROTECTIONS if Level.STRICT in protection.required | protection.told}
    assert set(verdict.verified) == wanted
    assert {"unique-uid", "landlock-abi-7", "memory-watch", "pids-limit"} <= set(verdict.features)


ABSENT = [
    ("pid namespace", status("PPid", "77")),
    ("mount namespace", mounts("/usr ro,nosuid,nodev,relatime -", "/usr ro,nosuid,nodev,relatime shared:7 -")),
    ("mount namespace", {"host_changed": "the host's / is another one"}),
    ("network namespace", facts("interface", "a|", "b|", " lo: 0", "  eth0: 1")),
    ("network namespace", facts("loopback")),
    ("network namespace", facts("tcp_wmem", "4096 16384 4194304")),
    ("uts namespace", facts("hostname", "node7")),
    ("minimal root", facts("root", *LINES["root"], "/root")),
    ("minimal root", facts("etc", *LINES["etc"], "shadow")),
    ("minimal root", facts("dev", *LINES["dev"], "mem")),
    ("minimal root", facts("root")),
    ("read-only files", mounts("/usr ro,", "/usr rw,")),
    ("read-only files", mounts("/tmp rw,nosuid,", "/tmp rw,")),
    ("read-only files", facts("mount")),
    ("own /proc", mounts(",hidepid=invisible", "")),
    ("own /proc", facts("uncovered", "/proc/keys")),
    ("own /proc", facts("process", "/proc/1", "/proc/2", "/proc/400")),
    ("private file locks", mounts("/usr ro,nosuid,nodev,relatime - overlay", "/usr ro,nosuid,nodev,relatime - ext4")),
    ("work directory limits", mounts("size=65536k", "size=65537k")),
    ("work directory limits", mounts("nr_inodes=8192,", "")),
    ("work directory limits", mounts("size=65536k,nr_inodes=8192", "nr_inodes=0")),
    ("own work directory", facts("directory", "/")),
    ("own work directory", facts("umask", "0022")),
    ("Landlock", facts("can", "write /dev/zero")),
    ("Landlock", {"outside": replace(OUTSIDE, landlock_abi=0)}),
    ("unprivileged ids", status("Uid", "0\t0\t0\t0")),
    ("unprivileged ids", status("Gid", "5\t5\t0\t5")),
    ("no supplementary groups", status("Groups", "27 1900000000")),
    ("no capabilities", status("CapBnd", "0000000000000020")),
    ("no capabilities", status("CapAmb", "0000000000000001")),
    ("no new privileges", status("NoNewPrivs", "0")),
    ("locked securebits", {"calls": Facts({**CALLS, "securebits": ["0"]})}),
    ("own session", facts("stat", "2 (a) R b) R 1 1 0 0 -1")),
    ("own session", facts("stat", "2 (sh) R 1 1 1 34816 -1")),
    ("nothing inherited", facts("descriptor", "0 null", "1 pipe", "2 pipe", "77 other")),
    ("system call filter", status("Seccomp", "0")),
    ("system call filter", {"outside": replace(OUTSIDE, seccomp_filters=1)}),  # a container's, not a cell's
    ("dangerous calls refused", calls("keyctl EPERM", "keyctl EFAULT")),
    ("dangerous calls refused", {"calls": Facts({})}),
    ("no typing into terminals", calls("typing EPERM", "typing ENOTTY")),
    ("no other sockets", calls("socket-netlink EPERM", "socket-netlink done")),
    ("host services out of reach", calls("listener ECONNREFUSED", "listener done")),
    ("abstract sockets out of reach", calls("abstract ECONNREFUSED", "abstract done")),
    ("nested Landlock domains", {"calls": Facts({**CALLS, "landlock_layers": ["16"]})}),
    ("init out of reach", facts("can", "signal the init of the cell")),
    ("limits of a process", facts("limit", *(line.replace("256 ", "1024 ") for line in LINES["limit"]))),
    ("limit on processes", facts("limit", *LINES["limit"][:-1])),
    ("memory limit", {"memory": "a script that used too much was not killed: exited"}),
    ("no hidden memory", calls("memfd_create EPERM", "memfd_create done")),
    ("killed first", facts("oom_score_adj", "0")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), ABSENT, ids=[f"{name}-{n}" for n, (name, _) in enumerate(ABSENT)])
def test_each_absence_is_told(name: str, change: dict[str, object]) -> None:
    assert name in {lack.protection.name for lack in judge(seen(**change)).lacks}


OF_A_USER = replace(OUTSIDE, uid=62_000, namespaces={**OUTSIDE.namespaces, "user": "107"})
RANGE_MAP = ("      1000      62000          1", "      1001    2007424        128")


@pytest.mark.parametrize(
    ("uid", "uid_map", "outside", "unique"),
    [
        (1001, RANGE_MAP, OF_A_USER, True),
        (1128, RANGE_MAP, OF_A_USER, True),
        (1000, RANGE_MAP, OF_A_USER, False),  # on disk
        (1129, RANGE_MAP, OF_A_USER, False),
        (1000, ("1000 62000 1",), OF_A_USER, False),  # one id
        (1000, ("1000 1000 1",), OF_A_USER, False),  # of a namespace below another
        (1000, ("1000 1000 1",), replace(OF_A_USER, uid=1000), False),
        (1001, ("1000 1000 1", "1001 1001 128"), OF_A_USER, False),  # below another one: of what, is not known
        (1001, ("0 0 4294967295",), OF_A_USER, False),
        (1001, RANGE_MAP, OUTSIDE, False),  # the user namespace is the host's
        (1001, RANGE_MAP, replace(OF_A_USER, uid=62_001), False),
        (1001, (*RANGE_MAP, "what"), OF_A_USER, False),
        (1001, (), OF_A_USER, False),
        (0, ("1000 62000 1", "0 2007424 128"), OF_A_USER, False),
    ],
)
def test_a_uid_of_a_range_is_told_from_the_agents_own(
    uid: int, uid_map: tuple[str, ...], outside: Outside, unique: bool
) -> None:
    user = replace(outside, uid=62_000) if outside is OUTSIDE else outside
    lines = {**LINES, "uid_map": list(uid_map)}
    lines["status"] = [f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}", *LINES["status"][1:]]
    verdict = judge(seen(outside=user, facts=Facts(lines)))
    assert ("unique-uid" in verdict.features) == unique
    assert ("shared-host-uid" in verdict.features) != unique


@pytest.mark.parametrize("kind", ["pid", "mnt", "net", "ipc", "uts", "cgroup"])
def test_a_namespace_of_the_host_is_told(kind: str) -> None:
    inside = NAMESPACES.split()
    shared = " ".join(f"{kind}:[{OUTSIDE.namespaces[kind]}]" if link.startswith(kind) else link for link in inside)
    for change in (facts("namespaces", shared), facts("namespaces", " ".join(x for x in inside if kind not in x))):
        told = {lack.protection.name for lack in judge(seen(**change)).lacks}
        assert told == {f"{'mount' if kind == 'mnt' else 'network' if kind == 'net' else kind} namespace"}


def test_facts_that_are_not_there_are_not_taken_for_granted() -> None:
    verdict = judge(seen(facts=Facts({})))
    kept = {"memory limit", "Landlock", "init out of reach", "private file locks", "user namespace"}
    assert set(verdict.verified) - kept <= {protection.name for protection in PROTECTIONS if protection.by_calls}


def test_a_controller_takes_the_place_of_the_watcher() -> None:
    verdict = judge(seen(controllers=frozenset({"memory", "pids"}), **calls("memfd_create EPERM", "memfd_create done")))
    assert verdict.lacks == ()
    assert {"cgroup-v2-memory-max", "cgroup-v2-pids-max"} <= set(verdict.features)
    assert not {"memory-watch", "pids-limit"} & set(verdict.features)


def test_paths_that_a_profile_names_are_no_leak() -> None:
    profile = Profile(Level.STRICT, read_only=("/srv/data",), writable=("/var/spool/x",))
    more = facts("mount", *LINES["mount"], "99 83 0:9 / /var/spool/x rw,nosuid,nodev - ext4 /dev/sda rw")
    granted = Facts({**LINES, "root": [*LINES["root"], "/srv"], "mount": more["facts"].all("mount")})  # type: ignore[attr-defined]
    assert judge(seen(profile=profile, facts=granted)).lacks == ()
    assert len(judge(seen(facts=granted)).lacks) == 2


# --- the table ---


def test_features_are_those_that_agent_runtime_knows() -> None:
    named = {p.feature for p in PROTECTIONS if isinstance(p.feature, str)} | {p.instead for p in PROTECTIONS}
    verdict = judge(seen())
    for feature in (named | set(verdict.features)) - {""}:
        assert any(feature == known or (known.endswith("-") and feature.startswith(known)) for known in TELLING), (
            feature
        )


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_every_protection_says_what_its_absence_means(protection: Protection) -> None:
    assert protection.consequence
    assert protection.fix
    assert protection.required | protection.told <= EVERYWHERE
    assert not protection.required & protection.told


def test_the_limit_lines_are_those_of_the_table() -> None:
    assert expected().limits.keys() >= {"Max open files", "Max stack size"}
    assert len(expected().limits) == len(cell_steps.STATIC_LIMITS)
    assert SCOPING_ABI == landlock.SCOPING_ABI


def test_a_mount_is_read_from_a_line_of_mountinfo() -> None:
    mount = parse_mount("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue")
    assert mount is not None
    assert (mount.point, mount.root, mount.options, mount.propagates) == ("/mnt2", "/mnt1", ("rw", "noatime"), True)
    assert (mount.kind, mount.of_filesystem["errors"]) == ("ext3", "continue")
    assert parse_mount("nonsense") is None


def test_output_of_any_form_is_read() -> None:
    read = read_facts(b"key a b\nkey c\n\n\xff\xfe x\nlonely")
    assert read.all("key") == ["a b", "c"]
    assert (read.one("lonely"), read.one("absent"), "lonely" in read, "absent" in read) == ("", "", True, False)


# --- real hosts ---


def probed(*, thorough: bool = False, allow_groups: bool = False) -> HostProbe:
    async def probe() -> HostProbe:
        with trio.fail_after(OUTER_S):
            async with open_runner(start_spawner() if os.geteuid() == 0 else fork_spawner()) as runner:
                return await probe_host(runner, thorough=thorough, allow_groups=allow_groups)

    return trio.run(probe)


@pytest.mark.needs_root
def test_as_root_every_level_is_reached() -> None:
    found = probed()
    assert {level: result.because for level, result in found.results.items()} == dict.fromkeys(PROBED, "")
    assert found.reached == set(Level)
    assert found.highest is Level.STRICT
    assert found.shared_uid == {Level.HOST}
    assert found.kept_groups == ()
    assert {"pid-namespace", "network-namespace", "unique-uid", "minimal-rootfs"} <= set(found.features(Level.STRICT))
    assert "network-namespace" not in found.features(Level.NETWORK)
    assert found.features(Level.HOST) == ()
    inside = {path.rpartition("/")[2] for path in found.results[Level.STRICT].programs}
    assert "sh" in inside <= set(INTERPRETERS)


@pytest.mark.needs_root
def test_a_thorough_probe_tries_system_calls_too() -> None:
    found = probed(thorough=True)
    by_calls = {protection.name for protection in PROTECTIONS if protection.by_calls}
    for level, result in found.results.items():
        assert result.calls_tried
        wanted = {p.name for p in PROTECTIONS if p.name in by_calls and level in p.required}
        assert wanted <= set(result.verified), level


@pytest.mark.needs_root
def test_nothing_is_left_of_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)  # a script at level landlock has to reach its directory in it
        monkeypatch.setattr(tempfile, "tempdir", place)
        before = set(os.listdir("/proc/self/fd"))
        assert probed(thorough=True).results[Level.LANDLOCK].reached
        assert set(os.listdir("/proc/self/fd")) == before
        assert os.listdir(place) == []


def as_user(uid: int, groups: list[int], tell: Callable[[], object]) -> object:
    """What ``tell`` returns (as JSON has it) in a fork with these ids."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            prctl.set_dumpable(1)
            os.write(write, json.dumps(tell()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(told)


@pytest.mark.needs_root
def test_an_ordinary_user_shares_its_uid_with_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell() -> object:
        found = probed()
        return [sorted(found.reached), sorted(found.shared_uid), found.kept_groups, found.features(Level.STRICT)]

    with a_reachable_program(monkeypatch):
        reached, shared, kept, features = as_user(NOBODY, [], tell)  # type: ignore[misc]
    assert reached == shared == sorted(Level)
    assert kept == []
    assert {"shared-host-uid", "user-namespace"} <= set(features)
    assert "unique-uid" not in features


@pytest.mark.long
@pytest.mark.needs_root
def test_groups_that_scripts_would_keep_are_for_the_caller_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell() -> object:
        found = {allowed: probed(allow_groups=allowed) for allowed in (False, True)}
        return [
            sorted(found[False].reached),
            sorted(found[True].reached),
            found[True].kept_groups,
            sorted(found[True].drops_groups),
            found[False].results[Level.STRICT].because,
            found[True].features(Level.STRICT),
        ]

    with a_reachable_program(monkeypatch):
        refused, allowed, kept, dropped, because, features = as_user(NOBODY, [4, 27], tell)  # type: ignore[misc]
    assert refused == ["host"]
    assert allowed == sorted(Level)
    assert kept == [4, 27]
    assert dropped == []
    assert because == "no supplementary groups: scripts keep the supplementary groups 4, 27"
    assert "kept-supplementary-groups" in features


def probed_in(world: World, uid: int, *prefix: str) -> dict[str, dict[str, object]]:
    process = world.start(
        [*prefix, sys.executable, "-m", "tests.rigs.probe_without", ""],
        uid=uid,
        environment={"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
    )
    output, _ = process.communicate(timeout=OUTER_S)
    told: dict[str, dict[str, object]] = json.loads(output.splitlines()[1])["levels"]
    return told


@pytest.mark.needs_root
@pytest.mark.needs_netns
def test_where_proc_is_masked_an_ordinary_user_has_landlock() -> None:
    """As in containers, which cover parts of /proc."""
    with World() as world:
        assert world.start(["mount", "-t", "tmpfs", "tmpfs", "/proc/tty"]).wait(OUTER_S) == 0
        told = probed_in(world, NOBODY)
    assert told["strict"]["because"] == "proc: Operation not permitted (mount proc)"
    assert not told["network"]["reached"]
    assert told["landlock"]["reached"], told["landlock"]["because"]


@pytest.mark.needs_root
@pytest.mark.needs_netns
def test_without_the_right_to_namespaces_root_has_landlock() -> None:
    with World() as world:
        told = probed_in(world, 0, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert told["strict"]["because"] == "mount-namespace: Operation not permitted (unshare)"
    assert told["landlock"]["reached"], told["landlock"]["because"]


def test_the_scripts_have_nothing_left_to_fill_in() -> None:
    text = probe_script.shell_script(["keys"], ["/bin/sh"]) + probe_script.hog_script()
    assert "@" not in text.replace("$@", "")
    compile(probe_script.PYTHON, "probe", "exec")
