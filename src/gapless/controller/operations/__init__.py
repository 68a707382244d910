"""What users may do to networks, subnets, ports, routers and floating IPs, with Neutron's semantics.

Each resource has one class with `create`, `update`, `delete`, `get` and `list`; routers have four actions more. All
take the session of a transaction (`Store.transaction`, or `Store.reading` for `get` and `list`) and dicts of Neutron's
attribute names. The API has checked types, required and unknown attributes; an attribute that was not given is not in
the dict. Refusals are the classes in `faults`; whatever raises leaves a transaction to be rolled back, which `Store`
does, so an operation happens as a whole or not at all.

`session.info` collects which routers changed (`changes`), to be told to the planner after the commit.
"""
