"""Serving the application on a socket of this machine."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

from jobs.explore.app import application
from jobs.explore.explorer import Explorer
from schemas.errors import UsageError
from warehouse.files.layout import Warehouse

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any free one.

    Raises:
        UsageError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror}; give another --port, or 0"
        ) from None
    listener.listen()
    return listener


def server(app: Starlette) -> uvicorn.Server:
    """Return a server of the application, that says nothing of each request."""
    return uvicorn.Server(
        uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
    )


@contextmanager
def serving(warehouse: Warehouse) -> Iterator[str]:
    """Serve the explorer of a warehouse while the context lasts; give its address."""
    running = server(application(Explorer.over(warehouse), hosts=LOOPBACK, token=None))
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()
        listener.close()
