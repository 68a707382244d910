"""Decisions: synchronous and deterministic; no I/O, no clock, no logging. Time comes in as an argument."""
