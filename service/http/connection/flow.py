"""Flow control that bounds what is read ahead."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl


class ReadAheadFlow(FlowControl):
    """uvicorn's flow control, which reads nothing more while much of what was read is not parsed yet."""

    def __init__(self, transport: Any, ahead: bytearray) -> None:
        super().__init__(transport)
        self._ahead = ahead

    def resume_reading(self) -> None:
        if len(self._ahead) <= HIGH_WATER_LIMIT:
            super().resume_reading()
