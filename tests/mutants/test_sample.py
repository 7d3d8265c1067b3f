"""A sample of all mutants, drawn anew whenever the code changes: as many are noticed as of all of them have to be."""

import subprocess
import sys

import pytest

from tests.rigs.evidence import REPOSITORY

OUTER_LIMIT_S = 1_200


@pytest.mark.long
def test_of_a_sample_of_all_mutants_the_tests_notice_nine_in_ten() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--sample", "60"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=OUTER_LIMIT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "mutants    60" in run.stdout.splitlines()[-1]
