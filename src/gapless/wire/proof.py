"""How both ends of a control link prove that they have the cluster's key without sending it.

Mutual challenge and response (as in ISO/IEC 9798-4): each side's HMAC-SHA-256 covers its role, both nonces, the
cluster's id and all that a Hello says, so a proof can be replayed neither in another session nor as the other side's.
"""

import hashlib
import hmac
import secrets

import msgspec

from gapless.model.host import HostFacts, Incarnation

NONCE_BYTES = 32
KEY_BYTES = 32


def fresh_nonce() -> str:
    """32 random bytes, in hex."""
    return secrets.token_hex(NONCE_BYTES)


def _proof(key: bytes, role: str, cluster: str, nonces: tuple[str, str], facts: HostFacts, born: Incarnation) -> str:
    said = msgspec.json.encode((role, cluster, *nonces, facts, born))
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def host_proof(
    key: bytes, *, cluster: str, server_nonce: str, host_nonce: str, facts: HostFacts, incarnation: Incarnation
) -> str:
    """What a Hello carries, in hex."""
    return _proof(key, "host", cluster, (server_nonce, host_nonce), facts, incarnation)


def server_proof(
    key: bytes, *, cluster: str, server_nonce: str, host_nonce: str, facts: HostFacts, incarnation: Incarnation
) -> str:
    """What a Welcome carries, in hex."""
    return _proof(key, "server", cluster, (server_nonce, host_nonce), facts, incarnation)


def is_valid(expected: str, got: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(expected.encode(), got.encode())
