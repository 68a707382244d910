"""The part of a host that works: builds, repairs and removes routers in the kernel. It may die at any moment."""
