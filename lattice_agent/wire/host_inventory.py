"""POST /api/agent/inventory: what the host is, in detail (docs/protocol.md, ``facts.inventory``).

Sizes are bytes. Lists are bounded: the agent leaves out what is beyond, the server refuses it.
"""

from typing import Annotated, Final

from pydantic import Field

from lattice_agent.wire.base import Items, Time, Uint, WireModel
from lattice_agent.wire.fact import Fact, FactModel, Gap

TEXT_BYTES: Final = 256
"""UTF-8 bytes of any text in an inventory."""
MAX_FLAGS: Final = 16
MAX_DISKS: Final = 256
MAX_FILESYSTEMS: Final = 256
MAX_INTERFACES: Final = 256
MAX_ADDRESSES: Final = 16
MAX_ACCELERATORS: Final = 64
MAX_EVIDENCE: Final = 16
MAX_GAPS: Final = 32

Count = Uint | None


class Cpu(FactModel):
    """The processors of the machine, or those that its hypervisor shows."""

    model: Annotated[
        str,
        Fact(
            "name of the processor",
            "/proc/cpuinfo `model name`, `Hardware`, `Processor`; on arm `CPU part`, by a table",
        ),
    ] = ""
    vendor: Annotated[
        str, Fact("maker of the processor", "/proc/cpuinfo `vendor_id`; on arm `CPU implementer` by its table")
    ] = ""
    sockets: Annotated[
        Count, Fact("physical packages", "/sys/devices/system/cpu/cpu*/topology/physical_package_id", unit="packages")
    ] = None
    cores: Annotated[
        Count,
        Fact("physical cores in all packages", "/sys/devices/system/cpu/cpu*/topology/core_cpus_list", unit="cores"),
    ] = None
    threads: Annotated[
        Count,
        Fact("logical CPUs that are online, whoever may use them", "/sys/devices/system/cpu/online", unit="CPUs"),
    ] = None
    max_mhz: Annotated[
        Count,
        Fact(
            "highest clock rate of any core",
            "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq",
            absent="the host does not scale frequencies, or hides it (usual in virtual machines)",
            unit="MHz",
        ),
    ] = None
    flags: Annotated[
        Items[str],
        Field(max_length=MAX_FLAGS),
        Fact(
            "instruction sets that decide what can run: aes, avx2, avx512f, vmx, svm, sve",
            "/proc/cpuinfo `flags`, `Features`",
            absent="the processor has none of them",
        ),
    ] = ()


class MemorySize(FactModel):
    """How much memory there is; how much is used is a metric."""

    total_bytes: Annotated[
        Count, Fact("memory the kernel manages", "/proc/meminfo `MemTotal`; lxcfs shows the container's", unit="bytes")
    ] = None
    swap_total_bytes: Annotated[Count, Fact("swap space", "/proc/meminfo `SwapTotal`", unit="bytes")] = None


class CgroupLimits(FactModel):
    """What the agent, and with it every task, is held to by the control group it lives in."""

    version: Annotated[
        Count,
        Fact(
            "cgroup version that the limits come from: 1 or 2",
            "/proc/self/cgroup, /proc/self/mountinfo",
            "container",
            absent="no cgroup file system is mounted",
        ),
    ] = None
    memory_limit_bytes: Annotated[
        Count,
        Fact(
            "least memory limit of the group and those above it that can be seen",
            "v2 memory.max, v1 memory.limit_in_bytes",
            "cgroup",
            absent="no limit, or no memory controller",
            unit="bytes",
        ),
    ] = None
    cpu_quota_cores: Annotated[
        float | None,
        Field(ge=0),
        Fact(
            "least CPU time per time of the group and those above it",
            "v2 cpu.max, v1 cpu.cfs_quota_us / cpu.cfs_period_us",
            "cgroup",
            absent="no limit, or no cpu controller",
            unit="cores",
        ),
    ] = None
    pids_limit: Annotated[
        Count,
        Fact(
            "least limit of processes and threads of the group and those above it",
            "pids.max",
            "cgroup",
            absent="no limit, or no pids controller",
            unit="tasks",
        ),
    ] = None
    effective_cpus: Annotated[
        float | None,
        Field(ge=0),
        Fact(
            "CPUs that the agent and its tasks can use at once",
            "the lesser of sched_getaffinity(2), which follows cpusets, and the quota",
            "cgroup",
            unit="cores",
        ),
    ] = None
    effective_memory_bytes: Annotated[
        Count,
        Fact(
            "memory that the agent and its tasks can use together",
            "the lesser of `memory.total_bytes` and the limit",
            "cgroup",
            unit="bytes",
        ),
    ] = None


class Hardware(FactModel):
    """What the firmware says the machine is; a hypervisor writes its own name here."""

    vendor: Annotated[str, Fact("maker of the machine", "/sys/class/dmi/id/sys_vendor")] = ""
    product: Annotated[
        str, Fact("model of the machine", "/sys/class/dmi/id/product_name; /proc/device-tree/model without DMI")
    ] = ""
    board: Annotated[str, Fact("model of the main board", "/sys/class/dmi/id/board_name")] = ""
    bios_vendor: Annotated[str, Fact("maker of the firmware", "/sys/class/dmi/id/bios_vendor")] = ""
    bios_version: Annotated[str, Fact("version of the firmware", "/sys/class/dmi/id/bios_version")] = ""
    bios_date: Annotated[str, Fact("date of the firmware, as it is written there", "/sys/class/dmi/id/bios_date")] = ""


class Disk(FactModel):
    """A drive. Partitions, loop devices, RAM disks, device-mapper and md devices, and empty drives are none."""

    name: Annotated[str, Fact("the kernel's name", "/sys/block", absent="never")] = ""
    model: Annotated[
        str,
        Fact(
            "model as the drive says it",
            "udev's ID_MODEL_ENC; /sys/block/*/device/model, of mmc device/name",
            absent="the drive has none (virtio)",
        ),
    ] = ""
    size_bytes: Annotated[Count, Fact("capacity", "/sys/block/*/size, in 512 bytes each", unit="bytes")] = None
    rotational: Annotated[
        bool | None, Fact("whether the kernel takes it for a spinning disk", "/sys/block/*/queue/rotational")
    ] = None
    transport: Annotated[
        str,
        Fact(
            "the way to it: nvme, sata, sas, usb, virtio, mmc, xen, hyperv, iscsi, fc, scsi",
            "the path /sys/block/* leads to",
        ),
    ] = ""
    serial: Annotated[
        str,
        Fact(
            "serial number",
            "udev's ID_SCSI_SERIAL, ID_SERIAL_SHORT; /sys/block/*/serial, */device/serial, */device/vpd_pg80",
            absent="the drive has none, or only root may read it",
        ),
    ] = ""


class FileSystem(FactModel):
    """A mounted file system on a block device (or zfs, btrfs); in a container also the overlay that is its root.

    Pseudo, network and FUSE ones are left out, and so are files that a container manager has mounted singly.
    """

    device: Annotated[str, Fact("what is mounted", "/proc/self/mountinfo, source", "container")] = ""
    mount_point: Annotated[
        str,
        Fact("where; of several mounts of a device `/`, the one of its root, or the shortest", "/proc/self/mountinfo",
             "container"),
    ] = ""  # fmt: skip
    type: Annotated[str, Fact("type of the file system", "/proc/self/mountinfo", "container")] = ""
    uuid: Annotated[
        str,
        Fact(
            "UUID of the file system",
            "/run/udev/data/b<major>:<minor>, /dev/disk/by-uuid",
            absent="udev does not run here",
        ),
    ] = ""
    read_only: Annotated[
        bool | None, Fact("whether it is mounted read-only here", "/proc/self/mountinfo", "container")
    ] = None
    size_bytes: Annotated[Count, Fact("size", "statfs(2) f_blocks", unit="bytes")] = None
    used_bytes: Annotated[Count, Fact("used, as df counts it", "statfs(2) f_blocks - f_bfree", unit="bytes")] = None
    available_bytes: Annotated[Count, Fact("free for ordinary users", "statfs(2) f_bavail", unit="bytes")] = None
    inodes: Annotated[
        Count, Fact("inodes", "statfs(2) f_files", absent="the file system has no fixed number (btrfs)", unit="inodes")
    ] = None
    inodes_used: Annotated[
        Count, Fact("used inodes", "statfs(2) f_files - f_ffree", absent="as `inodes`", unit="inodes")
    ] = None


class Interface(FactModel):
    """A network interface of the agent's network namespace; lo is left out."""

    name: Annotated[str, Fact("its name", "/proc/net/dev, /sys/class/net", "container", absent="never")] = ""
    physical: Annotated[
        bool | None,
        Fact("whether its bytes count as the host's traffic", "the rule of `net_rx_bytes` and of [facts]", "container"),
    ] = None
    state: Annotated[
        str, Fact("operational state: up, down, dormant, …", "/sys/class/net/*/operstate", "container")
    ] = ""
    mac: Annotated[
        str, Fact("address it uses now", "/sys/class/net/*/address", "container", absent="it has none (tun, wg)")
    ] = ""
    permanent_mac: Annotated[
        str,
        Fact(
            "address burnt into it",
            "ethtool ioctl GPERMADDR; */bonding_slave/perm_hwaddr; */address if addr_assign_type is 0",
            "container",
            absent="a virtual interface, or only its present address is known",
        ),
    ] = ""
    mtu: Annotated[Count, Fact("largest packet", "/sys/class/net/*/mtu", "container", unit="bytes")] = None
    speed_mbps: Annotated[
        Count,
        Fact("speed of the link", "/sys/class/net/*/speed", "container", absent="no link, or none with a speed",
             unit="Mbit/s"),
    ] = None  # fmt: skip
    driver: Annotated[
        str, Fact("kernel driver", "/sys/class/net/*/device/driver", "container", absent="no device behind it")
    ] = ""
    master: Annotated[
        str, Fact("bond or bridge that it belongs to", "/sys/class/net/*/master", "container", absent="none")
    ] = ""
    addresses: Annotated[
        Items[str],
        Field(max_length=MAX_ADDRESSES),
        Fact(
            "addresses with prefix length (192.0.2.7/24), link-local ones included",
            "getifaddrs(3) through psutil; of a recorded host /proc/net/if_inet6 and /proc/net/fib_trie",
            "container",
            absent="none",
        ),
    ] = ()


class Accelerator(FactModel):
    """A PCI device of class display controller (03) or processing accelerator (12, 0b40)."""

    slot: Annotated[str, Fact("PCI address", "/sys/bus/pci/devices", absent="never")] = ""
    kind: Annotated[str, Fact("display or accelerator", "/sys/bus/pci/devices/*/class")] = ""
    vendor_id: Annotated[str, Fact("PCI vendor, four hex digits", "/sys/bus/pci/devices/*/vendor")] = ""
    device_id: Annotated[str, Fact("PCI device, four hex digits", "/sys/bus/pci/devices/*/device")] = ""
    model: Annotated[
        str,
        Fact(
            "name of the device",
            "/proc/driver/nvidia/gpus/*/information; pci.ids",
            absent="no pci.ids is installed, or it does not know the device",
        ),
    ] = ""
    driver: Annotated[str, Fact("kernel driver", "/sys/bus/pci/devices/*/driver", absent="none is bound")] = ""


class Virtualization(FactModel):
    """What the host runs in, in the words of systemd-detect-virt."""

    vm: Annotated[
        str,
        Fact(
            "hypervisor: kvm, qemu, amazon, google, microsoft, vmware, oracle, xen, …; none",
            "DMI, /sys/hypervisor, clock sources, /sys/class/ptp, /sys/bus/vmbus, SMBIOS, device tree, /proc/sysinfo",
            absent="there is a hypervisor (by the processor, SMBIOS, the device tree or the monitor) without a name",
        ),
    ] = ""
    monitor: Annotated[
        str,
        Fact("the virtual machine monitor, where it can be told: firecracker, cloud-hypervisor, qemu",
             "ACPI OEM id, DMI", absent="cannot be told"),
    ] = ""  # fmt: skip
    container: Annotated[
        str,
        Fact(
            "docker, podman, lxc, lxc-libvirt, systemd-nspawn, wsl, openvz, proot, rkt, pouch, kubernetes, "
            "container-other; none",
            "$container, /run/host/container-manager, /run/systemd/container, marker files, /proc/1/cgroup, mountinfo",
            "container",
        ),
    ] = ""
    evidence: Annotated[
        Items[str],
        Field(max_length=MAX_EVIDENCE),
        Fact("what each of them was told by: source and value", "as above", "container", absent="nothing was found"),
    ] = ()


class System(FactModel):
    """The operating system."""

    name: Annotated[str, Fact("the distribution's own name", "/etc/os-release PRETTY_NAME", "container")] = ""
    id: Annotated[str, Fact("distribution", "/etc/os-release ID", "container")] = ""
    version: Annotated[
        str, Fact("its version", "/etc/os-release VERSION_ID", "container", absent="a rolling distribution")
    ] = ""
    kernel: Annotated[str, Fact("kernel release", "/proc/sys/kernel/osrelease")] = ""
    arch: Annotated[str, Fact("architecture, in Go's spelling", "uname(2); /proc/sys/kernel/arch")] = ""
    boot_id: Annotated[str, Fact("changes with every boot", "/proc/sys/kernel/random/boot_id")] = ""
    machine_id_hash: Annotated[
        str,
        Fact(
            "tells copies of an image apart without naming the machine: HMAC-SHA256 with the machine id as key",
            "/etc/machine-id",
            "container",
            absent="the system has none (yet)",
        ),
    ] = ""
    systemd: Annotated[
        bool | None, Fact("whether systemd is the init", "/run/systemd/system", "container", absent="never")
    ] = None


class Clock(FactModel):
    """Whether stamps of this host can be believed."""

    time_zone: Annotated[
        str, Fact("IANA name", "/etc/localtime (a link), /etc/timezone", "container", absent="a copy without a name")
    ] = ""
    synchronised: Annotated[
        bool | None,
        Fact(
            "whether the kernel takes its clock as synchronised",
            "adjtimex(2): maximum error below 16 s, as timedatectl judges",
            absent="cannot be asked (recorded host, other systems)",
        ),
    ] = None


class Packages(FactModel):
    """What software is counted by."""

    manager: Annotated[
        str,
        Fact("dpkg, rpm, apk, pacman or portage", "its database", "container", absent="none of them has a database"),
    ] = ""
    installed: Annotated[
        Count,
        Fact(
            "installed packages",
            "/var/lib/dpkg/status, rpmdb.sqlite, /lib/apk/db/installed, /var/lib/pacman/local, /var/db/pkg",
            "container",
            absent="the database cannot be counted (rpm before sqlite)",
            unit="packages",
        ),
    ] = None


class HostInventory(FactModel):
    """Everything; a family that is not there is named among the gaps, or has nothing to say."""

    collected_at: Time = None
    cpu: Cpu | None = None
    memory: MemorySize | None = None
    cgroup: CgroupLimits | None = None
    hardware: Hardware | None = None
    disks: Annotated[Items[Disk], Field(max_length=MAX_DISKS)] = ()
    filesystems: Annotated[Items[FileSystem], Field(max_length=MAX_FILESYSTEMS)] = ()
    interfaces: Annotated[Items[Interface], Field(max_length=MAX_INTERFACES)] = ()
    accelerators: Annotated[Items[Accelerator], Field(max_length=MAX_ACCELERATORS)] = ()
    virtualization: Virtualization | None = None
    system: System | None = None
    clock: Clock | None = None
    packages: Packages | None = None
    gaps: Annotated[Items[Gap], Field(max_length=MAX_GAPS)] = ()


class HostInventoryReport(WireModel):
    """The request."""

    node_id: str = ""
    inventory: HostInventory = HostInventory()
