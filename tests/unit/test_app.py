"""The pieces of the composition root that decide something."""

from pathlib import Path

import pytest

from lattice_agent.app import _most_telling
from lattice_agent.config import ControlPlaneSettings
from lattice_agent.errors import ServiceFailedError, StateLockedError
from lattice_agent.execution import _selfcheck_environment, agent_command


def test_a_task_can_check_the_control_plane_as_the_agent_does() -> None:
    plane = ControlPlaneSettings(base_url="https://c.example", ca_file=Path("/etc/ca.pem"), pins=("aaa", "bbb"))
    assert _selfcheck_environment(plane) == (("LATTICE_CA_FILE", "/etc/ca.pem"), ("LATTICE_PIN_SHA256", "aaa,bbb"))
    assert _selfcheck_environment(ControlPlaneSettings(base_url="https://c.example")) == ()


def test_trap_10_the_agent_command_is_there() -> None:
    assert Path(agent_command()).name == "lattice-agent"
    assert Path(agent_command()).exists()


def test_our_own_error_decides_the_exit_code() -> None:
    ours = ServiceFailedError("service x crashed")
    assert _most_telling(BaseExceptionGroup("", [ExceptionGroup("", [ours])])) is ours


@pytest.mark.parametrize("other", [ValueError("a fault"), KeyboardInterrupt()])
def test_a_fault_beside_it_is_not_hidden(other: BaseException) -> None:
    group = BaseExceptionGroup("", [StateLockedError("held"), other])
    assert _most_telling(group) is group
