"""What a flows process counts, for its log and its sentinel."""

from dataclasses import dataclass

from gapless.wire.flowlink import FlowFigures


@dataclass(slots=True)
class Figures:
    """Since the start of the process, but for `streams` and `lag_s`, which are of now."""

    heard: int = 0
    told: int = 0
    applied: int = 0
    refused: int = 0
    unread: int = 0
    left_out: int = 0
    overruns: int = 0
    copies: int = 0
    turned_away: int = 0
    streams: int = 0
    lag_s: float = 0.0

    def report(self) -> FlowFigures:
        """For the sentinel; the lag begins anew."""
        lag_ms, self.lag_s = round(self.lag_s * 1000, 1), 0.0
        return FlowFigures(
            heard=self.heard,
            told=self.told,
            applied=self.applied,
            refused=self.refused,
            unread=self.unread,
            left_out=self.left_out,
            overruns=self.overruns,
            copies=self.copies,
            turned_away=self.turned_away,
            streams=self.streams,
            lag_ms=lag_ms,
        )
