"""The control plane's own faults: its disk is full, it has no descriptor, its callers are slow."""

import logging
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.faults.mounts import Mounts, fill, own_mounts, small_disk
from tests.faults.observed import Watch, cpu_s, resident_kib
from tests.faults.table import apart, note
from tests.rigs.extent import extent
from tests.rigs.real_processes import Site, wait_until
from tests.rigs.server_process import ROOT, Running, serving, started
from tests.rigs.steered_plane import LIMIT_S, Plane, register_operator
