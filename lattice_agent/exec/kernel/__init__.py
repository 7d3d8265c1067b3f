"""One file per kernel interface. Standard library and python-prctl only: the spawner and its forks live on these."""
