"""Decisions: synchronous and deterministic; no I/O, no clock, no logging. Time comes in as an argument.

edge/       what a host decides by itself, no controller near: lease, arbiter, takeover, and the beat that joins them
planner/    what the controller decides: which host each router is bound to, who may succeed, why it stays where it is
ledger/     what the planner knows, and the few ways to change it: hosts, routers, rights, and what follows for plans
dataplane/  what a router should look like in a kernel, what that differs by from what is there, and whether it forwards
flows/      of which routers connections are told to whom, and what is still to be told

`events` and `effects` are all that can happen to the planner and all that it can ask for; `edge.beatevents` is the same
for a host's beat. `hostplan` is what the one tells the other: a snapshot, then one change after another.
"""
