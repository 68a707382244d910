"""What an experiment found, whether that is as it should be, and how people are told."""
