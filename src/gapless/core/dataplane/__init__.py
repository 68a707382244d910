"""What a router should look like in a kernel, what is to be done to get there, and whether it forwards."""
