"""This file lets nobody but the person at this computer look: a web server on the loopback that checks who asks.

A page of another site could reach a server on the loopback through the visitor's browser, by a name that it lets point
there (DNS rebinding), or by opening a web socket. So every request must name this computer as its host, and every web
socket must come from a page of this server.
"""

from __future__ import annotations

import http
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from robotctl.errors import MissingPartError

if TYPE_CHECKING:
    import viser

LOOPBACK = "127.0.0.1"
NAMES = frozenset({"localhost", LOOPBACK, "::1"})


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def admitted(host: str | None, origin: str | None, names: frozenset[str] = NAMES) -> bool:
    """Whether a request may be answered: its Host header, and its Origin header if it has one."""
    if host is None or _name(f"//{host}") not in names:
        return False
    return origin is None or (_name(origin) in names and urlsplit(origin).netloc == host)


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


@contextmanager
def server(host: str = LOOPBACK, port: int = 0) -> Iterator[viser.ViserServer]:
    """A guarded server of viser, on the next free port from `port` on; MissingPartError without viser."""
    try:
        import fast_simplification  # noqa: F401
        import rich
        import viser
    except ImportError as error:
        raise MissingPartError(f"pages need {error.name}: pip install 'robotctl[web]'") from None
    aloud, rich.print = rich.print, lambda *_, **__: None  # it announces itself, and this page has its own words
    try:
        with guarded(NAMES if is_loopback(host) else NAMES | {host}):
            made = viser.ViserServer(host=host, port=port, verbose=False)
        try:
            yield made
        finally:
            made.stop()
    finally:
        rich.print = aloud


@contextmanager
def guarded(names: frozenset[str] = NAMES) -> Iterator[None]:
    """Servers of websockets that are started meanwhile refuse whatever is not `admitted`."""
    import websockets.asyncio.server as library
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    original = library.serve

    def serve(*args: Any, process_request: Callable[..., Any] | None = None, **options: Any) -> Any:
        def checked(connection: Any, request: Any) -> Any:
            try:
                host, origin = request.headers.get("Host"), request.headers.get("Origin")
            except Exception:  # two Host headers: who asks like that is not a browser
                host, origin = None, None
            if not admitted(host, origin, names):
                return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", Headers(), b"for this computer alone\n")
            return None if process_request is None else process_request(connection, request)

        return original(*args, process_request=checked, **options)

    library.serve = serve  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        library.serve = original  # type: ignore[misc]
