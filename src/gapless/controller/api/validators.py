"""Checks of single values, in Neutron's words.

A validator takes what the caller sent and returns the value to go on with, in canonical form (`True` for "true", lower
case for a MAC address), or raises Malformed. It knows nothing of other attributes, and nothing of the store.

Wording and leniency are those of neutron-lib's `api/validators` and `api/converters`, so that scripts which read error
messages go on working. Two things differ: only IPv4 is accepted, and the message says so; and a name is a text for
people, without control characters.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NoReturn
from uuid import UUID

Validator = Callable[[Any], Any]
"""What was sent -> what to go on with; raises Malformed."""

NAME_MAX = 255
DESCRIPTION_MAX = 255
PROJECT_ID_MAX = 255
DEVICE_MAX = 255
MOST_ITEMS = 1000
"""Of one list: more than anybody needs, and few enough to be compared with each other while others wait."""

_MAC = re.compile(r"[0-9a-f]{2}([:-]?)[0-9a-f]{2}(\1[0-9a-f]{2}){4}", re.IGNORECASE)
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
_MULTICAST = IPv4Network("224.0.0.0/4")


class Malformed(Exception):
    """A value cannot be used; the text is the reason, without its full stop. Never leaves the API layer."""


class Unconvertible(Malformed):
    """... because it is of the wrong kind altogether, which Neutron words without the attribute's name."""


def anything(value: Any) -> Any:
    """For attributes that callers only read."""
    return value


def boolean(value: Any) -> bool:
    """A boolean, or one of the words oslo.utils takes for one, in any case."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Unconvertible(f"'{value}' cannot be converted to boolean")


def only_false(feature: str) -> Validator:
    """A boolean that says no to something Gapless does not have; naming `feature` where yes was said."""

    def check(value: Any) -> bool:
        if boolean(value):
            raise Malformed(f"{feature} is not supported")
        return False

    return check


def only_empty(feature: str) -> Validator:
    """Null or an empty list, object or string, for something Gapless does not have; naming `feature` otherwise."""

    def check(value: Any) -> None:
        if value not in (None, [], {}, ""):
            raise Malformed(f"{feature} is not supported")

    return check


def integer(least: int, most: int) -> Validator:
    """A whole number between two limits, both included; digits in a string are taken for it."""

    def check(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            raise Malformed(f"'{value}' is not an integer") from None
        if isinstance(value, bool) or (isinstance(value, float) and value != number):
            raise Malformed(f"'{value}' is not an integer")
        if number < least:
            raise Malformed(f"'{number}' is too small - must be at least '{least}'")
        if number > most:
            raise Malformed(f"'{number}' is too large - must be no larger than '{most}'")
        return number

    return check


def none_for(nothing: Any, check: Validator) -> Validator:
    """A value that means "choose one" stands for none; everything else goes through `check`."""
    return lambda value: None if str(value) == str(nothing) else check(value)


def time_for(name: str) -> Validator:
    """A point in time (ISO 8601; UTC, where it names no zone), made what times are shown as."""

    def check(value: Any) -> str:
        try:
            given = datetime.fromisoformat(value)
            known = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
            return known.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
        except (TypeError, ValueError, OverflowError):
            raise Unconvertible(f"The input {name} must be in the following format: YYYY-MM-DDTHH:MM:SSZ") from None

    return check


def one_of(*values: Any) -> Validator:
    """One of a few values; a number may be sent as its digits."""
    by_text = {str(value): value for value in values}

    def check(value: Any) -> Any:
        if isinstance(value, bool) or str(value) not in by_text:
            raise Malformed(f"{value} is not in {list(values)}")
        return by_text[str(value)]

    return check


def text(longest: int) -> Validator:
    """A string of at most `longest` characters."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise Malformed(f"'{value}' is not a valid string")
        if len(value) > longest:
            raise Malformed(f"'{value}' exceeds maximum length of {longest}")
        return value

    return check


def name(value: Any) -> str:
    """A name: anything that may be a text for people, spaces at its ends and what joins letters (Cf) included.

    Control characters (Cc) and halves of surrogate pairs (Cs) are in no such text, and are refused. What else a
    terminal would obey is escaped by whoever prints it. The empty name is a name.
    """
    sent: str = text(NAME_MAX)(value)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in sent):
        raise Malformed(f"'{sent}' is not a valid string")
    return sent


def non_empty_text(longest: int) -> Validator:
    """A string that says something."""
    check_text = text(longest)

    def check(value: Any) -> str:
        sent: str = check_text(value)
        if not sent.strip():
            raise Malformed(f"'{sent}' Blank strings are not permitted")
        return sent

    return check


def uuid(value: Any) -> str:
    """A UUID in any form that Python reads, returned in the canonical one: lower case, with hyphens."""
    if isinstance(value, str):
        canonical = _canonical_uuid(value)
        if canonical is not None:
            return canonical
    raise Malformed(f"'{value}' is not a valid UUID")


def mac_address(value: Any) -> str:
    """A unicast MAC address, returned as six lower-case pairs with colons."""
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise Malformed(f"'{value}' is not a valid MAC address")
    digits = re.sub(r"[:-]", "", value).lower()
    if digits in ("0" * 12, "f" * 12):
        raise Malformed(f"'{value}' is not a valid MAC address")
    mac = ":".join(digits[at : at + 2] for at in range(0, 12, 2))
    if int(digits[:2], 16) & 1:
        raise Malformed(f"MAC address {mac} is a multicast address, which is not supported")
    return mac


def ip_address(value: Any) -> str:
    """An IPv4 address in dotted decimal without leading zeros, which some systems read as octal."""
    if not isinstance(value, str):
        raise Malformed(f"'{value}' is not a valid IP address")
    try:
        return str(IPv4Address(value))
    except AddressValueError:
        _refuse_address(value)


def subnet(value: Any) -> str:
    """An IPv4 network in CIDR notation; host bits are cut off, as Neutron does for a subnet's `cidr`."""
    if not isinstance(value, str) or "/" not in value:
        raise Malformed(f"'{value}' is not a valid IP subnet")
    network = _network(value, f"'{value}' is not a valid IP subnet")
    if network.overlaps(_MULTICAST) and network.prefixlen > 0:
        raise Malformed(f"Subnet {network} overlaps with multicast range {_MULTICAST}, which is not supported")
    return str(network)


def route_cidr(value: Any) -> str:
    """A destination of a route: CIDR notation, no host bits, not loopback."""
    if not isinstance(value, str) or "/" not in value:
        raise Malformed(f"'{value}' is not a valid CIDR")
    network = _network(value, f"'{value}' is not a valid CIDR")
    if str(network.network_address) != value.partition("/")[0]:
        raise Malformed(f"'{value}' is not a valid CIDR")
    if network.is_loopback:
        raise Malformed(f"'{value}' is not a routable CIDR")
    return str(network)


def or_none(check: Validator) -> Validator:
    """The same, or null."""
    return lambda value: None if value is None else check(value)


def or_nothing(check: Validator) -> Validator:
    """The same; null, {} and [] all stand for null."""
    return lambda value: check(value) if value else None


def empty_for_none(check: Validator) -> Validator:
    """The same; null stands for the empty list."""
    return lambda value: [] if value is None else check(value)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping."""

    check: Validator
    required: bool = False


def mapping(**keys: Key) -> Validator:
    """An object with these keys and no others."""
    required = [key for key, spec in keys.items() if spec.required]

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Malformed(f"'{value}' is not a dictionary")
        if any(key not in value for key in required):
            raise Malformed(
                "Validation of dictionary's keys failed. "
                f"Expected keys: {_as_set(required)} Provided keys: {_as_set(value)}"
            )
        if unknown := [str(key) for key in value if key not in keys]:
            raise Malformed(f"Unexpected keys supplied: {', '.join(unknown)}")
        return {key: keys[key].check(item) for key, item in value.items()}

    return check


def unique_texts(longest: int) -> Validator:
    """A list of different strings."""
    check_text = text(longest)

    def check(value: Any) -> list[str]:
        sent = [check_text(item) for item in _listed(value, "'{}' is not a list")]
        if doubled := [item for at, item in enumerate(sent) if item in sent[:at]]:
            raise Malformed(f"Duplicate items in the list: '{', '.join(dict.fromkeys(doubled))}'")
        return sent

    return check


def fixed_ips(value: Any) -> list[dict[str, str]]:
    """Addresses of a port: objects with `subnet_id`, `ip_address` or both."""
    refusal = "Invalid data format for fixed IP: '{}'"
    if not all(isinstance(item, dict) for item in _listed(value, refusal)):
        raise Malformed(refusal.format(value))
    sent = [_FIXED_IP(item) for item in value]
    addresses = [item["ip_address"] for item in sent if "ip_address" in item]
    if doubled := _first_double(addresses):
        raise Malformed(f"Duplicate IP address '{doubled}'")
    return sent


def allocation_pools(value: Any) -> list[dict[str, str]]:
    """Ranges of addresses: objects with `start` and `end`."""
    sent = _listed(value, "Invalid data format for IP pool: '{}'")
    return [_exactly(item, {"start": ip_address, "end": ip_address}) for item in sent]


def nameservers(value: Any) -> list[str]:
    """Addresses of name servers, each once."""
    sent = []
    for host in _listed(value, "Invalid data format for nameserver: '{}'"):
        try:
            sent.append(ip_address(host))
        except Malformed as error:
            raise Malformed(f"'{host}' is not a valid nameserver. {error}") from None
    if doubled := _first_double(sent):
        raise Malformed(f"Duplicate nameserver '{doubled}'")
    return sent


def routes(value: Any) -> list[dict[str, str]]:
    """Routes: objects with `destination` and `nexthop`, each pair once."""
    given = _listed(value, "Invalid data format for hostroute: '{}'")
    sent = [_exactly(item, {"destination": route_cidr, "nexthop": ip_address}) for item in given]
    for at, route in enumerate(sent):
        if route in sent[:at]:
            raise Malformed(f"Duplicate hostroute '{route}'")
    return sent


_FIXED_IP = mapping(subnet_id=Key(uuid), ip_address=Key(ip_address))


def _listed(value: Any, refusal: str) -> list[Any]:
    """The value, if it is a list and not too long; `refusal` has a place for what is none."""
    if not isinstance(value, list):
        raise Malformed(refusal.format(value))
    if len(value) > MOST_ITEMS:
        raise Malformed(f"a list may have {MOST_ITEMS} items, and not {len(value)}")
    return value


def _exactly(value: Any, checks: Mapping[str, Validator]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"Invalid input. '{value}' must be a dictionary with keys: {list(checks)}")
    if value.keys() != checks.keys():
        raise Malformed(
            f"Validation of dictionary's keys failed. Expected keys: {_as_set(checks)} Provided keys: {_as_set(value)}"
        )
    return {key: check(value[key]) for key, check in checks.items()}


def _as_set(keys: Collection[Any]) -> str:
    return "{" + ", ".join(repr(key) for key in sorted(keys, key=str)) + "}"


def _first_double(values: list[str]) -> str | None:
    return next((value for at, value in enumerate(values) if value in values[:at]), None)


def _network(value: str, refusal: str) -> IPv4Network:
    try:
        address, _, prefix = value.partition("/")
        if not (prefix.isascii() and prefix.isdecimal()):
            raise ValueError(value)
        return IPv4Network((IPv4Address(address), int(prefix)), strict=False)
    except ValueError:
        try:
            IPv6Network(value, strict=False)
        except ValueError:
            raise Malformed(refusal) from None
        raise Malformed(f"'{value}' is an IPv6 network, and only IPv4 is supported") from None


def _refuse_address(value: str) -> NoReturn:
    octets = value.split(".")
    if len(octets) == 4 and all(_is_octet(octet) for octet in octets):
        recommended = ".".join(str(int(octet)) for octet in octets)
        raise Malformed(f"'{value}' is not an accepted IP address, '{recommended}' is recommended")
    try:
        IPv6Address(value)
    except AddressValueError:
        raise Malformed(f"'{value}' is not a valid IP address") from None
    raise Malformed(f"'{value}' is an IPv6 address, and only IPv4 is supported")


def _is_octet(text: str) -> bool:
    """With zeros before it or without; what is longer could be a number that Python does not read at all."""
    return len(text) < 10 and text.isascii() and text.isdecimal() and int(text) < 256


@lru_cache(maxsize=4096)
def _canonical_uuid(value: str) -> str | None:
    try:
        return str(UUID(value))
    except ValueError:
        return None
