"""docs/facts.md, made from the messages.

``python -m lattice_agent.facts.document > docs/facts.md``
"""

import sys
import typing
from collections.abc import Iterator
from typing import Any, Final

from lattice_agent.wire.base import WireModel
from lattice_agent.wire.fact import Fact
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.host_inventory import HostInventory
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.metrics_detail import MetricsDetail

_HEAD: Final = """\
# Facts and metrics

<!-- Made by `python -m lattice_agent.facts.document`; a test compares them. -->

What the agent tells about its host. `host_facts` and `metrics` go to every control plane, with hello and with each
heartbeat. `inventory` and `metrics_detail` go to those that announce `facts.inventory` and `metrics.detail`
(docs/protocol.md). `lattice-agent facts` and `lattice-agent metrics` print the same on the node.

Nothing is guessed: what cannot be read is left out (in `host_facts` and `metrics`, which are older, it is "" or 0), and
a family that fails or takes longer than 2 s is named under `gaps` with the reason. No command is run for any of it.

**Scope** says whose figure a field is: *host*, the machine's, the same in every container on it; *container*, of the
namespaces the agent lives in; *cgroup*, of its control group; *agent*, its own.

## Which interfaces count

`net_rx_bytes` and its kin are the traffic of the host's own links. A byte for a container crosses eth0, a bridge and a
veth; a sum over all would count it three times. Counted are interfaces with a device behind them (PCI, USB, virtio,
SDIO); a bond instead of its members; a synthetic interface (Hyper-V) instead of the virtual function below it. In a
container nothing has a device behind it; there every interface counts whose name is not one of lo, bridges, tunnels,
VPNs and container managers. `[facts] interfaces` names exactly those that count instead, and
`exclude_interfaces` those that never do; the rule is then not asked about them.

## Rates

Over the time between two samples, by the monotonic clock. Each consumer has samples of its own: a reading on demand
does not shorten the interval of the heartbeat's. A counter that fell (reset, wrap, another device of the same name)
or grew faster than any hardware can adds nothing. Time of virtual machines that a CPU ran is counted once.

## When the inventory is read

Once a minute every family is asked for a fingerprint that costs some microseconds; only a family whose fingerprint has
moved is read again, and file systems are asked how full they are. It is sent when something has changed, and after ten
minutes. Each change is one line in the log, such as `inventory: disks[sdb]: new`.

## Where other tools say something else

| tool | says | we say | why |
| --- | --- | --- | --- |
| `lsblk` | loop, RAM, zram, device-mapper, md, optical and empty devices | none of them | they are no drives; what is on them is under `filesystems` |
| `lsblk`, `findmnt` | UUID also as root without udev, from the device itself | only what udev knows | the agent opens no raw device |
| `lsblk` | transport empty for virtio, mmc, xen and hyperv drives; without udev no model, serial and transport | their name; what sysfs says of them | it is known from the device's path and files |
| `df`, `findmnt` | bind mounts, several mounts of one file system | one of them | space would be counted twice |
| `df` | `Use%` of what ordinary users can have | bytes only | `disk_used` of the base wire counts root's reserve as used, `used_bytes` does not, like `df` |
| `free` | `used` = total - available (procps 4), or total - free - buffers - cache (procps 3) | total - available | one meaning on every host |
| `nproc` | honours `OMP_NUM_THREADS` | does not | a setting of one program |
| `lscpu` | CPUs that are offline, caches, vulnerabilities | CPUs that are online | |
| `ip addr` | lo; scope, lifetime | without lo; address and prefix length | |
| psutil `cpu_percent` | like ours; guest time is taken out of user and nice | the same | |
| psutil `net_io_counters` | sum over all interfaces | over those that count | above |
| `systemd-detect-virt` | executes CPUID | reads what CPUID led the kernel to do (clock sources, devices) | no machine code; a hypervisor that leaves no trace but the `hypervisor` flag is not named |
| `facter`, `ohai` | `is_virtual`, `blockdevice_*` of everything | above | |
"""  # noqa: E501 - rows of a Markdown table cannot be broken


def render() -> str:
    """The whole page."""
    return "".join((_HEAD, *_sections()))


def _sections() -> Iterator[str]:
    yield "\n## host_facts\n" + _table(HostFacts)
    yield "\n## metrics\n" + _table(Metrics)
    yield from _message("inventory", HostInventory)
    yield from _message("metrics_detail", MetricsDetail)


def _message(name: str, message: type[WireModel]) -> Iterator[str]:
    yield f"\n## {name}\n\n{_sentence(message)}\n"
    for family, field in message.model_fields.items():
        group = _model_in(field.annotation)
        if group is not None and _facts_of(group):
            yield f"\n### {name}.{family}\n\n{_sentence(group)}\n{_table(group)}"


def _table(group: type[WireModel]) -> str:
    head = "\n| field | unit | meaning | source | scope | absent means |\n| --- | --- | --- | --- | --- | --- |\n"
    return head + "".join(_rows(group, ""))


def _rows(group: type[WireModel], prefix: str) -> Iterator[str]:
    for name, field in group.model_fields.items():
        fact = next((item for item in field.metadata if isinstance(item, Fact)), None)
        if fact is not None:
            cells = (f"`{prefix}{name}`", fact.unit, fact.meaning, fact.source, fact.scope, fact.absent)
            yield f"| {' | '.join(_cell(cell) for cell in cells)} |\n"
        inner = _model_in(field.annotation)
        if inner is not None and prefix == "":
            yield from _rows(inner, f"{name}.")


def _cell(text: str) -> str:
    return text.replace("|", "&#124;").replace("*", "\\*")


def _facts_of(group: type[WireModel]) -> bool:
    return any(isinstance(item, Fact) for field in group.model_fields.values() for item in field.metadata)


def _model_in(annotation: Any) -> type[WireModel] | None:
    """The model that a field holds, alone, optional or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, WireModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)


def _sentence(model: type[WireModel]) -> str:
    return " ".join((model.__doc__ or "").split())


if __name__ == "__main__":
    sys.stdout.write(render())
