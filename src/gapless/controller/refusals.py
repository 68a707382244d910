"""Hosts and strangers that are turned away: each is counted, and a line is logged once a minute for each of them
(once an hour where all say the same).

A host that is refused comes back for ever, and a stranger may come back a thousand times a second; neither may fill
the disk or hide other lines.
"""

from collections import OrderedDict

from gapless.controller.roster import Refusal, RefusalCode
from gapless.observe.log import get_logger
from gapless.observe.metrics import Metrics

LOG_EVERY_S = 60.0
LOG_RARELY_S = 3600.0
"""... where every host of an old cluster says the same, for as long as nobody acts."""
_REMEMBERED = 1000
"""Refused ones that are told apart; beyond that the oldest is forgotten, and logged anew when it comes back."""


class Refusals:
    """Counts and logs refusals."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged: OrderedDict[tuple[RefusalCode, str, str], tuple[float, int]] = OrderedDict()

    def note(self, refusal: Refusal, *, host: str, peer: str, now: float) -> bool:
        """Count it; log it unless the same was logged less than a minute ago. Returns whether it was logged."""
        self._metrics.refusals.labels(code=refusal.code.value).inc()
        who = (refusal.code, host, peer)
        logged_s, unlogged = self._logged.get(who, (float("-inf"), 0))
        if now - logged_s < (LOG_RARELY_S if refusal.code is RefusalCode.CLUSTER else LOG_EVERY_S):
            self._logged[who] = (logged_s, unlogged + 1)
            return False
        get_logger().warning(
            f"Refused a control link: {refusal.reason}",
            code=refusal.code.value,
            host=host or None,
            peer=peer,
            more=unlogged or None,
        )
        self._logged[who] = (now, 0)
        self._logged.move_to_end(who)
        while len(self._logged) > _REMEMBERED:
            self._logged.popitem(last=False)
        return True
