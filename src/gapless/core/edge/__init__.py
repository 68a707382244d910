"""What a host decides by itself, no controller near: its lease, others' leases, takeovers, what it opens and closes."""
