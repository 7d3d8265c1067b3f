"""Do the tests notice? The modules that decide are changed in one place at a time; of each such mutant some test has to
fail.

    python -m tests.mutants [MODULE...] [--sample N] [--seed K] [--jobs 2] [--write-docs]

``operators`` says which changes are made, ``change`` what one is, ``subjects`` which modules and which of their tests;
``trial`` runs the tests of one mutant in a process of its own, ``run`` many of them; ``equivalent`` reads the list of
those changes that change nothing, and ``report`` says what came of it all.
"""
