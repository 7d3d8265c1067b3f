"""Print the environment, in which something may have been left."""

import os

from attempts import report

for name, value in os.environ.items():
    report(name, value)
