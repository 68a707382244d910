"""Hosts and their leases in one thread, on virtual time, from a seed: the real beats, with everything around made up.

A seed makes a fleet and a list of faults (`faults`). `run` lives through it and checks the oracles (`oracles`) whenever
a kernel begins to forward.
"""
