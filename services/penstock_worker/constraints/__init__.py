"""Masks of the tokens that a sequence's constraint allows next, computed in a process of their own.

llguidance bounds much of its work itself, but not all: some grammars keep it busy for minutes within all of its limits,
and some overflow its stack. So it never runs in the replica: what computes masks can be killed, and started again.
"""
