"""The part of a host that stays: holds the control link, keeps the plan on disk, supervises the agent."""
