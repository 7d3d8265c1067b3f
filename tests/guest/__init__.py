"""What runs in the virtual machine of tools/guest/run, as root and as nobody, each in a delegated group of a unit."""
