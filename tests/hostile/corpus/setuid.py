"""Gain privileges by programs that are set-user-id, set-group-id or carry capabilities."""

import os
import subprocess

from attempts import report

place = os.environ["PROGRAMS"]


def output(*arguments):
    """What it says; nothing where it cannot even be executed."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, check=False).stdout.strip()
    except PermissionError:
        return ""


def verdict(gained):
    return "works" if gained else "EPERM"


report("set-user-id", verdict(output(f"{place}/set-user-id", "-u") == "0"))
report("set-group-id", verdict(output(f"{place}/set-group-id", "-g") == "0"))
effective = [line for line in output(f"{place}/capable", "/proc/self/status").splitlines() if "CapEff" in line]
report("file capabilities", verdict(effective and int(effective[0].split()[1], 16)))
