"""What tests say they need (markers), and what happens where it is not there: skipped here, failed in CI.

Property tests are ``sized`` without saying so.
"""

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from tests.rigs.extent import extent

collect_ignore = ["hosts"]  # recorded hosts link in circles as sysfs does, and hold no tests
PROGRAMS = {
    "needs_netns": ("ip", "nft", "unshare"),
    "needs_node": ("node",),
    "needs_inspection": ("lscpu", "lsblk", "findmnt", "ip", "free", "df", "nproc", "systemd-detect-virt"),
    "needs_v2ray": ("v2ray", "v2ctl"),
    "needs_chromium": ("chromium",),
}
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def pytest_configure() -> None:
    """A run in the background of a shell or under nohup ignores these, and so would the programs that tests interrupt.
    A handler that does nothing protects the run as well, and is not inherited over an exec."""
    if importlib.util.find_spec("hypothesis"):  # the virtual machine of ``make guest`` goes without it
        from hypothesis import settings

        # No test measures time: an example that takes long says nothing on a machine that others use as well.
        settings.register_profile("untimed", deadline=None, max_examples=extent(25, 100))
        settings.load_profile("untimed")
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


def _missing(marker: str) -> str:
    """What a marker's test lacks on this machine; empty if nothing."""
    if marker in ("needs_root", "needs_netns") and os.geteuid() != 0:
        return "uid 0"
    if marker == "needs_fuse" and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse"
    return ", ".join(name for name in PROGRAMS.get(marker, ()) if shutil.which(name, path=SEARCH) is None)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.sized)
        for marker in ("needs_root", "needs_fuse", *PROGRAMS):
            if item.get_closest_marker(marker) and (lacks := _missing(marker)):
                item.add_marker(pytest.mark.skip(reason=f"needs {lacks}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be: {report.longrepr}"
    return report
