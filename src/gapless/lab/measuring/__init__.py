"""What is measured in a lab, and by which processes: probes, frames on the wire, connections, where routers are."""
