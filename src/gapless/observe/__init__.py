"""How Gapless tells what it does: structured logs and metrics."""
