"""Of which routers connections are told to whom, and what is still to be told. The processes are in `gapless.flows`."""
