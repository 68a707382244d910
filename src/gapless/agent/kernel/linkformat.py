"""What messages of rtnetlink about links are made of: kinds, attributes, flags (linux/if_link.h, rtnetlink(7))."""

import struct

NEWLINK, DELLINK, GETLINK = 16, 17, 18

IFINFO = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, which of these are to change."""
UP, NO_ARP = 0x1, 0x80

ADDRESS, IFNAME, MTU, MASTER = 1, 3, 4, 10
LINKINFO, IFALIAS, GROUP, EXT_MASK = 18, 20, 27, 29
INFO_KIND, INFO_DATA, INFO_SLAVE_KIND, INFO_SLAVE_DATA = 1, 2, 4, 5
PORT_FLOODS_MULTICASTS = 27
SKIP_STATISTICS = 1 << 3
"""In EXT_MASK."""
