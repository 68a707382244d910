"""A router with everything, whether it works, and a setting of its namespace."""

import subprocess

from kernel_fixtures import FLOATING_IP, NAMESPACE, OUTSIDE, Wires, router

WHOLE = router((FLOATING_IP, "10.0.0.5"))


def works(wires: Wires) -> bool:
    """Both directions through NAT, and between tenant networks."""
    return (
        wires.reaches("vm1", OUTSIDE)
        and wires.reaches("vm2", OUTSIDE)
        and wires.reaches("outside", FLOATING_IP)
        and wires.reaches("vm2", "10.0.0.5")
    )


def sysctl(key: str, value: str) -> None:
    command = ["ip", "netns", "exec", NAMESPACE, "sysctl", "-q", "-w", f"net.{key}={value}"]
    subprocess.run(command, check=True, timeout=10)
