# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""Stands between a client and a server, and cuts the line at the moment that it is told."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Passes bytes on, whatever is in them. Use as a context manager.

    Attributes:
        port: where it listens.
        lose: what is cut, once: "answer" at the next bytes from the server, which the client never gets; "request" at
            those from the client, which the server never gets; "silently" at those too, and the server is not told.
        closed: nobody is let in any more.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.lose = ""
        self.closed = False
        self._kept: list[socket.socket] = []

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._socket.close()
        for one in self._kept:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._socket.accept()
            except OSError:
                return
            if self.closed:
                client.close()
            else:
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._server))
        other = {client: server, server: client}
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            for end in other:
                selector.register(end, selectors.EVENT_READ)
            while self._once(selector, other, client):
                pass
        client.close()
        if server not in self._kept:
            server.close()

    def _once(
        self, selector: selectors.BaseSelector, other: dict[socket.socket, socket.socket], client: socket.socket
    ) -> bool:
        for key, _events in selector.select():
            end = key.fileobj
            assert isinstance(end, socket.socket)
            data = end.recv(65536)
            lost = ("request", "silently") if end is client else ("answer",)
            if self.lose in lost:
                if self.lose == "silently":
                    self._kept.append(other[end])
                self.lose = ""
                return False
            if not data:
                return False
            other[end].sendall(data)
        return True
