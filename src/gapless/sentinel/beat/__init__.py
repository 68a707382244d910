"""The host's fast path: what the kernel is told so that a host forwards while, and only while, it may."""
