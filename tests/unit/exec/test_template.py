"""The root that cells are made from, collected in a process apart and looked at from inside it."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lattice_agent.exec import template
from lattice_agent.exec.blueprint import HOST_IDS, NETWORK, ONE_ID, STRICT, Blueprint
from lattice_agent.exec.kernel import privileges
from lattice_agent.exec.step import carry_out
from tests.rigs.cells import NOBODY, a_place, apart

pytestmark = pytest.mark.needs_root

IDS = range(70_000, 70_002)


def collected(
    look: Callable[[], object], plan: Blueprint | None = None, *, read_only: tuple[bytes, ...] = (), user: bool = False
) -> object:
    """What is seen in a template."""

    def story() -> str:
        if user:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            privileges.libc.call("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self belongs to it again
        stage = template.Stage(plan or Blueprint(STRICT, read_only=read_only), IDS, ids=ONE_ID if user else HOST_IDS)
        carry_out(template.steps_for(stage), stage)
        return json.dumps(look())

    return json.loads(apart(story))


def tree(top: str) -> dict[str, str]:
    """What lies below, without what is bound from the host: path to kind."""
    found = {}
    for base, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(base, name)
            mode = os.lstat(path).st_mode
            found[path.removeprefix(top)] = f"-> {os.readlink(path)}" if stat.S_ISLNK(mode) else stat.filemode(mode)
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    with a_place() as place:
        (place / "file").write_text("text")
        yield place


def test_its_root_has_four_directories_and_the_hosts_root_is_gone() -> None:
    def look() -> object:
        return sorted(os.listdir("/")), os.getcwd(), sorted(os.listdir("/.."))

    names = ["empty", "lower", "mount", "sources"]
    assert collected(look) == [names, "/", names]


def test_what_a_cell_sees_below_its_own_mounts() -> None:
    found = collected(lambda: tree(template.LOWER))
    assert isinstance(found, dict)
    directories = {path for path, kind in found.items() if kind.startswith("d")}
    wanted = {"/proc", "/tmp", "/etc", "/dev", "/var"}
    assert {path for path in directories if path.count("/") == 1} == wanted | {
        path for path in template.SYSTEM_DIRECTORIES if Path(path).is_dir() and not Path(path).is_symlink()
    }
    links = {path: found[path] for path in template.SYSTEM_DIRECTORIES if Path(path).is_symlink()}
    assert links == {path: f"-> {os.readlink(path)}" for path in links}
    assert [found[path] for path in ("/var/tmp", "/dev/shm", "/dev/stdout")] == [
        "-> /tmp",
        "-> /tmp",
        "-> /proc/self/fd/1",
    ]
    devices = {path for path, kind in found.items() if kind.startswith("c")}
    assert devices == {f"/dev/{name}" for name in template.DEVICES}
    assert all(found[path] == "crw-rw-rw-" for path in devices)
    modes = {kind for path, kind in found.items() if path.startswith("/etc/") and not kind.startswith("->")}
    assert modes == {"drwxr-xr-x", "-r--r--r--"}


def test_nothing_of_the_hosts_users_is_in_it() -> None:
    def look() -> object:
        names = ("passwd", "group", "hosts")
        return [Path(f"{template.LOWER}/etc/{name}").read_text().splitlines() for name in names]

    found = collected(look)
    assert isinstance(found, list)
    passwd, group, hosts = found
    assert [line.split(":")[0] for line in passwd] == ["root", "nobody", "script70000", "script70001"]
    assert [line.split(":")[0] for line in group] == ["root", "nogroup", "script70000", "script70001"]
    assert passwd[2].split(":")[2:4] == ["70000", "70000"]
    assert {line.split()[0] for line in hosts} == {"127.0.0.1", "::1"}


def test_etc_is_an_allowlist() -> None:
    def look() -> object:
        top = f"{template.LOWER}/etc"
        return sorted(os.listdir(top)), [os.path.lexists(f"{top}/{name}") for name in ("shadow", "ssl/private", "ssh")]

    found = collected(look)
    assert isinstance(found, list)
    names, forbidden = found
    allowed = {*template.ETC_FILES, *(name.split("/")[0] for name in template.ETC_DIRECTORIES)}
    assert set(names) <= allowed | {"passwd", "group", "hosts"}
    assert forbidden == [False] * 3


def test_with_the_network_the_hosts_names_are_there_and_a_place_for_its_resolver() -> None:
    def look() -> object:
        return Path(f"{template.LOWER}/etc/hosts").read_text(), os.path.getsize(f"{template.LOWER}/etc/resolv.conf")

    assert collected(look, Blueprint(NETWORK)) == [Path("/etc/hosts").read_text(), 0]


def test_nothing_of_it_can_be_written_to_but_what_is_named_so(place: Path) -> None:
    writable, text = os.fsencode(place / "writable"), place / "file"
    (place / "writable").mkdir()
    plan = Blueprint(STRICT, read_only=(os.fsencode(text),), writable=(writable,))

    def look() -> object:
        seen = []
        places = (template.LOWER, template.SOURCES + "/usr", template.SOURCES + os.fsdecode(writable))
        for directory in places:
            try:
                Path(directory, "new").touch()
            except OSError as error:
                seen.append(str(error.strerror))
            else:
                seen.append("written")
        try:
            Path(f"{template.SOURCES}{text}").write_text("other")
        except OSError as error:
            seen.append(str(error.strerror))
        return [*seen, Path(f"{template.SOURCES}{text}").read_text()]

    refused = "Read-only file system"
    assert collected(look, plan) == [refused, refused, "written", refused, "text"]
    assert (place / "writable" / "new").exists()


def test_what_is_bound_gives_no_privileges_and_opens_no_devices(place: Path) -> None:
    plan = Blueprint(STRICT, read_only=(os.fsencode(place),))

    def look() -> object:
        flags = (os.statvfs(template.SOURCES + path).f_flag for path in ("/usr", os.fspath(place)))
        return [bool(each & os.ST_NOSUID and each & os.ST_NODEV and each & os.ST_RDONLY) for each in flags]

    assert collected(look, plan) == [True, True]


def test_in_a_user_namespace_devices_and_proc_are_bound_instead() -> None:
    def look() -> object:
        kinds = [stat.filemode(os.stat(f"{template.SOURCES}/dev/{name}").st_mode)[0] for name in template.DEVICES]
        with open(f"{template.SOURCES}/dev/null", "w") as null:
            null.write("devices open")
        return kinds, os.path.exists(f"{template.SOURCES}/proc/self/uid_map")

    assert collected(look, user=True) == [["c"] * len(template.DEVICES), True]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"/nowhere/at/all", r"sources: No such file or directory \(/nowhere/at/all\)"),
        (b"/etc/passwd/x", r"sources: Not a directory \(/etc/passwd/x\)"),
    ],
)
def test_a_source_that_is_not_there_is_named(path: bytes, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        collected(lambda: None, read_only=(path,))


def test_a_host_with_too_much_to_copy_gets_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "STAGE_BYTES", 1 << 16)
    monkeypatch.setattr(template, "ETC_FILES", ("services", "ld.so.cache"))
    with pytest.raises(AssertionError, match="root-files: No space left on device"):
        collected(lambda: None)


def test_its_steps_are_described_with_the_values_that_run() -> None:
    plan = Blueprint(STRICT, read_only=(b"/opt/tools",), writable=(b"/srv/data",))
    stage = template.Stage(plan, IDS, ids=HOST_IDS)
    words = {step.name: step.describe(stage) for step in template.steps_for(stage)}
    assert next(iter(words)) == "mount-namespace"
    assert "/opt/tools" in words["sources"]
    assert words["sources"].endswith("writable /srv/data")
    assert all(step.reason for step in template.TEMPLATE_STEPS)


def test_what_has_a_mount_of_its_own_in_a_cell() -> None:
    plan = Blueprint(STRICT, read_only=(b"/srv/b", b"/opt"), writable=(b"/srv/a",))
    assert template.bound_places(plan, user_namespace=False) == ["/opt", "/srv/a", "/srv/b"]
    own = template.bound_places(plan, user_namespace=True)
    assert set(own) == {"/opt", "/srv/a", "/srv/b", "/proc", *(f"/dev/{name}" for name in template.DEVICES)}


def test_paths_with_odd_names_are_told_apart(place: Path) -> None:
    odd = os.fsencode(place) + b"/\xff \n"
    os.mkdir(odd)

    def look() -> object:
        return os.path.isdir(template.SOURCES.encode() + odd)

    assert collected(look, read_only=(odd,)) is True
