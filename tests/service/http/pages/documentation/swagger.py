"""Swagger UI as its users work with it: an operation is unfolded, tried out and executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.service.live_server import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def operations(address: str) -> dict[str, dict[str, Any]]:
    """Return each operation and its path, by the operation's id."""
    paths = httpx.get(f"{address}openapi.json", timeout=PATIENCE_SECONDS).json()["paths"]
    return {
        operation["operationId"]: {**operation, "path": path}
        for path, methods in paths.items()
        for operation in methods.values()
    }


def documented_success(operation: dict[str, Any]) -> str:
    responses: dict[str, Any] = operation["responses"]
    return next(status for status in responses if status.startswith("2"))


def opened(page: Page, operation: str) -> Locator:
    """The form of one operation, unfolded and ready to be filled in."""
    block = page.locator(f".opblock[id$='-{operation}']")
    block.locator(".opblock-summary-control").first.click()
    block.locator(".try-out__btn").click()
    return block


def executed(block: Locator) -> tuple[str, str]:
    """Press "Execute" and return the status and the address of the request."""
    block.locator(".btn.execute").click()
    answer = block.locator(".live-responses-table")
    answer.wait_for()
    status = answer.locator("tbody .response-col_status").first.inner_text().split()[0]
    return status, block.locator(".request-url pre").inner_text()


def folded(page: Page, operation: str) -> None:
    """Fold an operation's answer up, because Swagger UI redraws whatever is unfolded again and again."""
    block = page.locator(f".opblock[id$='-{operation}']")
    block.locator(".opblock-summary-control").first.dispatch_event("click")  # quicker than a pointer's
    block.locator(".opblock-body").wait_for(state="detached")
