"""The configuration in use, and whether the last reload was refused. Only `reload` changes it."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.config import Config
from gateway.core.attention import Refusal, RunningConfig


class Running:
    """Built with the configuration that the process starts by."""

    def __init__(self, config: Config, now: float) -> None:
        """`now` is Unix seconds, UTC."""
        self.config = config
        """The settings that are in effect. Those that need a restart stay what they were at the start."""
        self.loaded_at = now
        self.refusal: Refusal | None = None

    def use(self, config: Config, now: float) -> None:
        """Note that the gateway uses another configuration from now on."""
        self.config, self.loaded_at, self.refusal = config, now, None

    def refuse(self, actor: str, detail: str, now: float) -> None:
        """Note that a reload was refused, and who asked for it."""
        self.refusal = Refusal(time=_instant(now), actor=actor, detail=detail)

    def state(self) -> RunningConfig:
        """Describe it for `gateway status`."""
        loaded_at = _instant(self.loaded_at)
        return RunningConfig(file=str(self.config.file), sha256=self.config.sha256, loaded_at=loaded_at, refused=self.refusal)


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)
