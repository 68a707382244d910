"""Everything that is done to a fleet on purpose.

What: to `machines`, by `control` (the controller and its database), `operators` and users (`routers`), and in
`coincidences`. When: `schedule`, until the `ending`. Faults may overlap in any way.
"""
