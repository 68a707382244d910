"""What travels between processes. Every message carries what makes it refusable: version, epoch, incarnation."""
