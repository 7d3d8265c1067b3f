"""Agents and a control plane in one program and in virtual time, with everything that can go wrong between them.

``python -m tests.sim --help``; docs/simulation.md says what is modelled, what is not, and what is checked.
"""
