"""From TOML to LocalPolicy: every key is reachable, every wrong one named."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from lattice_agent.errors import PolicyError
from lattice_agent.exec import policy_file
from lattice_agent.exec.local_policy import Bounds, InterpreterRule, LevelRule, LocalPolicy, ScriptRule
from lattice_agent.exec.plan import MIB, Level
from lattice_agent.exec.policy_file import examine_policy, parse_policy

DOCUMENT = Path(__file__).parents[3] / "docs" / "policy.md"


DIGEST = "0123456789abcdef" * 4


def test_an_empty_file_is_the_default_policy_but_a_file() -> None:
    assert parse_policy({}) == LocalPolicy(from_file=True)


ALL_BOUNDS = """
    max_timeout_s = 60
    max_output_bytes = 1000
    memory_bytes = 33554432
    processes = 32
    cpu_percent = 150
    file_bytes = 1048576
    data_bytes = 268435456
"""
READ_BOUNDS = Bounds(
    max_timeout_s=60,
    max_output_bytes=1000,
    memory_bytes=32 * MIB,
    processes=32,
    cpu_percent=150,
    file_bytes=1048576,
    data_bytes=268435456,
)
OF_HOST = "\n".join(line for line in ALL_BOUNDS.splitlines() if "memory" not in line and "cpu" not in line)


def test_every_key_is_read() -> None:
    text = f"""
        min_level = "landlock"
        default_level = "network"
        only_listed_scripts = true
        host_linger_s = 90
        allow_agent_replacement = true
        allow_supplementary_groups = true
        [limits]
        {ALL_BOUNDS}
        [levels.strict]
        allowed = true
        environment = ["LANG", "LC_ALL", "LANG"]
        read_only = ["/srv/a", "/opt/b", "/srv/a"]
        writable = ["/srv/c"]
        work_bytes = 1048576
        work_inodes = 16
        work_disk = "/var/tmp/cells"
        {ALL_BOUNDS}
        [levels.network]
        work_bytes = 2097152
        [levels.landlock]
        network = true
        read_only = ["/srv/d"]
        memory_bytes = 16777216
        [levels.host]
        allowed = false
        environment = ["NO_PROXY"]
        {OF_HOST}
        [interpreters.sh]
        path = "/bin/bash"
        [interpreters.python3]
        {ALL_BOUNDS}
        [interpreters.node]
        allowed = false
        [[scripts]]
        sha256 = "{DIGEST.upper()}"
        level = "strict"
        interpreter = "bash"
        {ALL_BOUNDS}
        [[scripts]]
        sha256 = "{DIGEST[::-1]}"
        allowed = false
    """
    assert parse_policy(tomllib.loads(text)) == LocalPolicy(
        from_file=True,
        min_level=Level.LANDLOCK,
        default_level=Level.NETWORK,
        only_listed_scripts=True,
        host_linger_s=90.0,
        allow_agent_replacement=True,
        allow_supplementary_groups=True,
        bounds=READ_BOUNDS,
        levels={
            Level.STRICT: LevelRule(
                allowed=True,
                bounds=READ_BOUNDS,
                environment=("LANG", "LC_ALL"),
                read_only=("/srv/a", "/opt/b"),
                writable=("/srv/c",),
                work_bytes=MIB,
                work_inodes=16,
                work_disk="/var/tmp/cells",
            ),
            Level.NETWORK: LevelRule(work_bytes=2 * MIB),
            Level.LANDLOCK: LevelRule(network=True, read_only=("/srv/d",), bounds=Bounds(memory_bytes=16 * MIB)),
            Level.HOST: LevelRule(
                allowed=False,
                environment=("NO_PROXY",),
                bounds=dataclasses.replace(READ_BOUNDS, memory_bytes=None, cpu_percent=None),
            ),
        },
        interpreters={
            "sh": InterpreterRule(path="/bin/bash"),
            "python3": InterpreterRule(bounds=READ_BOUNDS),
            "node": InterpreterRule(allowed=False),
        },
        scripts={
            DIGEST: ScriptRule(level=Level.STRICT, interpreter="bash", bounds=READ_BOUNDS),
            DIGEST[::-1]: ScriptRule(allowed=False),
        },
    )


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("host_linger = 1", "host_linger", "host_linger_s"),
        ("[limit]\nprocesses = 1", "limit", "limits"),
        ("[limits]\nmax_timeout = 1", "limits.max_timeout", "limits.max_timeout_s"),
        ("[interpreters.python]\nallowed = true", "interpreters.python", "interpreters.python3"),
        ("[interpreters.sh]\nallow = true", "interpreters.sh.allow", "interpreters.sh.allowed"),
        ("zzz = 1", "zzz", ""),
        ("only_listed_script = true", "only_listed_script", "only_listed_scripts"),
        ("[levels.strickt]", "levels.strickt", "levels.strict"),
        ("[levels.strict]\nreadonly = []", "levels.strict.readonly", "levels.strict.read_only"),
        ("[[scripts]]\nsha = ''", "scripts[0].sha", "scripts[0].sha256"),
        # what has no effect at a level is no key of it
        ("[levels.strict]\nnetwork = true", "levels.strict.network", ""),
        ("[levels.network]\nnetwork = true", "levels.network.network", ""),
        ("[levels.landlock]\nwork_bytes = 1048576", "levels.landlock.work_bytes", ""),
        ("[levels.landlock]\nwork_inodes = 100", "levels.landlock.work_inodes", ""),
        ("[levels.host]\nmemory_bytes = 16777216", "levels.host.memory_bytes", ""),
        ("[levels.host]\nread_only = []", "levels.host.read_only", ""),
        ("[levels.host]\nwritable = []", "levels.host.writable", ""),
        ("[levels.host]\nwork_disk = '/x'", "levels.host.work_disk", ""),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(text: str, key: str, nearest: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(f"unknown key {key}; the nearest valid one is {nearest}")):
        parse_policy(tomllib.loads(text))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("host_linger_s = -1", "host_linger_s"),
        ("host_linger_s = true", "host_linger_s"),
        ("host_linger_s = nan", "host_linger_s"),
        ("host_linger_s = 3601", "host_linger_s"),
        ("allow_agent_replacement = 1", "allow_agent_replacement"),
        ("limits = 3", "limits"),
        ("[limits]\nmax_timeout_s = 901", "limits.max_timeout_s"),
        ("[limits]\nmax_timeout_s = 1.5", "limits.max_timeout_s"),
        ("[limits]\nprocesses = true", "limits.processes"),
        ("[limits]\nmax_output_bytes = 0", "limits.max_output_bytes"),
        ("interpreters = []", "interpreters"),
        ("[interpreters]\nsh = '/bin/sh'", "interpreters.sh"),
        ("[interpreters.sh]\nallowed = 'no'", "interpreters.sh.allowed"),
        ("[interpreters.sh]\npath = 'bash'", "interpreters.sh.path"),
        ("[interpreters.sh]\nprocesses = 0", "interpreters.sh.processes"),
        ("min_level = 'Strict'", "min_level"),
        ("min_level = 3", "min_level"),
        ("default_level = ''", "default_level"),
        ("only_listed_scripts = 'yes'", "only_listed_scripts"),
        ("allow_supplementary_groups = 1", "allow_supplementary_groups"),
        ("levels = 1", "levels"),
        ("[levels]\nstrict = true", "levels.strict"),
        ("[levels.strict]\nallowed = 1", "levels.strict.allowed"),
        ("[levels.strict]\nmemory_bytes = 16777215", "levels.strict.memory_bytes"),
        ("[levels.strict]\nwork_bytes = 1048575", "levels.strict.work_bytes"),
        ("[levels.strict]\nwork_inodes = 15", "levels.strict.work_inodes"),
        ("[levels.strict]\nread_only = '/srv'", "levels.strict.read_only"),
        ("[levels.strict]\nread_only = [1]", "levels.strict.read_only[0]"),
        ("[levels.strict]\nwork_disk = '/dev/shm'", "levels.strict.work_disk"),
        ("[levels.strict]\nenvironment = 'LANG'", "levels.strict.environment"),
        ("scripts = {}", "scripts"),
        ("scripts = [1]", "scripts[0]"),
        ("[[scripts]]\nlevel = 'host'", "scripts[0].sha256"),
        ("[[scripts]]\nsha256 = '0123'", "scripts[0].sha256"),
        (f"[[scripts]]\nsha256 = '{DIGEST}g'", "scripts[0].sha256"),
        (f"[[scripts]]\nsha256 = '{DIGEST}'\ninterpreter = 'perl'", "scripts[0].interpreter"),
        (f"[[scripts]]\nsha256 = '{DIGEST}'\n[[scripts]]\nsha256 = '{DIGEST.upper()}'", "scripts[1].sha256"),
        # valid by itself, not together
        ("default_level = 'host'", "default_level"),
        ("min_level = 'network'\ndefault_level = 'landlock'", "default_level"),
        ("default_level = 'strict'\n[levels.strict]\nallowed = false", "default_level"),
        (
            f"[levels.host]\nallowed = false\n[[scripts]]\nsha256 = '{DIGEST}'\nlevel = 'host'",
            f"level of the script {DIGEST}",
        ),
        ("[levels.strict]\nread_only = ['/a', '/b']\nwritable = ['/b']", "levels.strict.writable"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(text: str, key: str) -> None:
    with pytest.raises(PolicyError, match=f"policy: {re.escape(key)} must be "):
        parse_policy(tomllib.loads(text))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("srv", "an absolute path"),
        ("", "an absolute path"),
        ("/srv\0/x", "an absolute path"),
        ("/srv\n", "an absolute path"),
        ("/", "a path below /"),
        ("//", "write '/'"),
        ("/srv/", "write '/srv'"),
        ("/srv//a", "write '/srv/a'"),
        ("//srv", "write '/srv'"),
        ("/srv/../etc", "write '/etc'"),
        ("/srv/./a", "write '/srv/a'"),
        ("/proc", "outside of /proc"),
        ("/proc/1/root", "outside of /proc"),
        ("/sys/fs/cgroup", "outside of /proc, /sys"),
        ("/dev/shm", "outside of /proc, /sys, /dev"),
        ("/tmp", "outside of"),
        ("/tmp/shared", "outside of"),
        ("/var/tmp/x", "outside of"),
    ],
)
@pytest.mark.parametrize("key", ["read_only", "writable"])
def test_a_path_that_no_cell_can_be_given_is_refused(key: str, path: str, told: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(f"policy: levels.strict.{key}[1] must be ")) as error:
        parse_policy({"levels": {"strict": {key: ["/srv/fine", path]}}})
    assert told in str(error.value)
    assert repr(path) in str(error.value)


@pytest.mark.parametrize("path", ["/process", "/system", "/development", "/tmpfiles", "/var/tmpl", "/a b", "/é"])
def test_a_path_that_only_looks_like_one_is_fine(path: str) -> None:
    parsed = parse_policy({"levels": {"network": {"read_only": [path]}}})
    assert parsed.level_rule(Level.NETWORK).read_only == (path,)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "sets it for each task") for name in ("PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "PWD")),
        *(
            (name, "belongs to the agent")
            for name in ("LATTICE_NODE_TOKEN", "LATTICE_PROXY_USAGE_SECRET", "LATTICE_X", "NOTIFY_SOCKET")
        ),
        *((name, "password") for name in ("HTTPS_PROXY", "http_proxy", "ALL_PROXY")),
        *(
            (name, "holds a secret")
            for name in (
                *("GITHUB_TOKEN", "my_secret", "DB_PASSWORD", "PGPASSWD", "CREDENTIALS_DIRECTORY", "API_KEY", "KEY"),
                *("AWS_ACCESS_KEY_ID", "SSH_PRIVATE_KEY"),
            )
        ),
        *(
            (name, "load other code")
            for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "NODE_OPTIONS", "PYTHONPATH", "IFS")
        ),
    ],
)
def test_a_variable_that_scripts_must_not_have_is_refused(name: str, reason: str) -> None:
    with pytest.raises(PolicyError, match=r"levels\.host\.environment\[0\] must be a variable that") as error:
        parse_policy({"levels": {"host": {"environment": [name]}}})
    assert name in str(error.value)
    assert reason in error.value.hint()


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "A\0", "Ä", 1])
def test_a_variable_must_have_a_name(name: object) -> None:
    with pytest.raises(PolicyError, match="must be the name of an environment variable"):
        parse_policy({"levels": {"strict": {"environment": [name]}}})


@pytest.mark.parametrize("name", ["LANG", "LC_ALL", "TZ", "NO_PROXY", "DEPLOY_STAGE", "KEYBOARD", "MONKEY", "_x1"])
def test_an_ordinary_variable_may_be_passed_on(name: str) -> None:
    parsed = parse_policy({"levels": {"strict": {"environment": [name]}}})
    assert parsed.level_rule(Level.STRICT).environment == (name,)


def test_everything_that_is_wrong_is_found_and_the_first_is_raised() -> None:
    data = tomllib.loads(
        "min_level = 'x'\nzzz = 1\n[limits]\nprocesses = 0\n[levels.host]\nread_only = []\nallowed = 2"
    )
    _, problems = examine_policy(data)
    told = [re.split(" must| key|;", str(problem))[1 if "unknown" in str(problem) else 0] for problem in problems]
    assert told == [
        "policy: min_level",
        " zzz",
        "policy: limits.processes",
        " levels.host.read_only",
        "policy: levels.host.allowed",
    ]
    with pytest.raises(PolicyError, match=re.escape(str(problems[0]))):
        parse_policy(data)


def examples() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("example", examples(), ids=lambda text: text.split("\n")[0][:40])
def test_every_example_of_the_document_is_valid(example: str) -> None:
    parse_policy(tomllib.loads(example))


def documented_keys() -> dict[str, set[str]]:
    """Table of the document to its keys: the first column of the rows below each ``##`` heading."""
    keys: dict[str, set[str]] = {}
    heading = ""
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        elif line.startswith("| `"):
            keys.setdefault(heading, set()).update(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return keys


def test_the_document_has_every_key_and_no_other() -> None:
    bounds = {field.name for field in dataclasses.fields(Bounds)}
    of = documented_keys()
    tables = {"limits", "levels", "interpreters", "scripts"}
    assert of["Top of the file"] | tables == set(policy_file._TOP)
    assert of["[limits]"] == bounds
    assert of["[levels.NAME]"] | bounds == set().union(*policy_file._LEVELS.values())
    assert of["[interpreters.NAME]"] | bounds == set(policy_file._INTERPRETER)
    assert of["[[scripts]]"] | bounds == set(policy_file._SCRIPT)
