"""The kernel's interfaces: netlink, nftables, conntrack, network namespaces, ARP. Nothing else speaks to it."""
