"""Clients of both protocols, as thin as they can be: what is on the wire stays visible to a test.

Resp takes and gives Redis' requests and replies (RESP2 and RESP3), Line the line protocol's lines. Both block, with a
deadline on every read. They check framing and nothing else: judging is the tests' affair.
"""

import socket

from hub import SECONDS


class Closed(Exception):
    """The peer has closed the connection."""


class RespError(str):
    """-ERR ..."""


class Push(list):
    """A push of RESP3."""


def connect(address, seconds):
    """`address` is a port of this machine or a path."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(seconds)
    sock.connect(address if isinstance(address, str) else ("127.0.0.1", address))
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def as_bytes(word):
    return word if isinstance(word, bytes) else str(word).encode()


def encode(*words):
    """A request: an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in map(as_bytes, words):
        parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
    return b"".join(parts)


class Connection:
    def __init__(self, address, seconds=SECONDS):
        self.socket = connect(address, seconds)
        self.buffer = bytearray()
        self.at = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def raw(self, data):
        self.socket.sendall(data)
        return self

    def fill(self):
        try:
            data = self.socket.recv(256 * 1024)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(bytes(self.buffer[self.at:]))
        self.buffer += data

    def line_bytes(self, end):
        start = self.at
        while True:
            found = self.buffer.find(end, start)
            if found >= 0:
                line = bytes(self.buffer[self.at:found])
                self.at = found + len(end)
                self.drop_read()
                return line
            start = max(self.at, len(self.buffer) - len(end) + 1)
            self.fill()

    def take(self, count):
        while len(self.buffer) - self.at < count:
            self.fill()
        data = bytes(self.buffer[self.at:self.at + count])
        self.at += count
        self.drop_read()
        return data

    def drop_read(self):
        if self.at > 1024 * 1024 or self.at == len(self.buffer):
            del self.buffer[:self.at]
            self.at = 0

    def rest(self):
        """Everything until the peer closes."""
        try:
            while True:
                self.fill()
        except Closed:
            data = bytes(self.buffer[self.at:])
            self.buffer.clear()
            self.at = 0
            return data

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()


class Resp(Connection):
    """`client.call("GET", "k")`; replies: str (simple), bytes (bulk), int, None, list, dict, set, bool, float, Push,
    RespError."""

    def __init__(self, address, password=None, resp=2, seconds=SECONDS):
        super().__init__(address, seconds)
        if password is not None:
            assert self.call("AUTH", password) == "OK"
        if resp == 3:
            assert isinstance(self.call("HELLO", 3), dict)

    def send(self, *words):
        return self.raw(encode(*words))

    def call(self, *words):
        self.send(*words)
        return self.read()

    def read(self):
        line = self.line_bytes(b"\r\n")
        kind, text = line[:1], line[1:]
        if kind in (b"*", b">", b"~"):
            if text == b"-1":
                return None
            items = [self.read() for _ in range(int(text))]
            return Push(items) if kind == b">" else set(items) if kind == b"~" else items
        if kind == b"%":
            return {key_of(self.read()): self.read() for _ in range(int(text))}
        if kind in (b"$", b"="):
            if text == b"-1":
                return None
            data = self.take(int(text) + 2)
            assert data[-2:] == b"\r\n", data[-20:]
            return data[4:-2] if kind == b"=" else data[:-2]
        if kind == b"+":
            return text.decode()
        if kind == b"-":
            return RespError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"_":
            return None
        if kind == b"#":
            return text == b"t"
        if kind == b",":
            return float(text)
        raise AssertionError(f"no RESP: {line!r}")

    def subscribe(self, *channels, verb="SUBSCRIBE"):
        """Subscribe and take the acknowledgements."""
        self.send(verb, *channels)
        return [self.read() for _ in channels]

    def message(self):
        """The payload of the next message, of whatever kind."""
        reply = self.read()
        assert isinstance(reply, list) and reply[0] in (b"message", b"pmessage", b"smessage"), reply
        return reply[-1]


def key_of(value):
    return tuple(value) if isinstance(value, list) else value


class Line(Connection):
    """A line worker. Lines are str without their end; PINGs of the hub are left out unless asked for."""

    def __init__(self, address, name=None, seconds=SECONDS):
        super().__init__(address, seconds)
        self.marks = 0
        if name is not None:
            self.greeting = [self.read(), self.read(pings=True)]
            self.send(f"NAME {name}")

    def send(self, *lines):
        return self.raw(b"".join(as_bytes(line) + b"\n" for line in lines))

    def read(self, pings=False):
        while True:
            line = self.line_bytes(b"\n").decode()
            if pings or not line.startswith("PING "):
                return line

    def barrier(self):
        """Everything said so far is handled; returns the lines that came meanwhile."""
        self.marks += 1
        word = f"PING mark-{self.marks}"
        self.send(word)
        lines = []
        while True:
            line = self.read(pings=True)
            if line == word:
                return lines
            if not line.startswith("PING "):
                lines.append(line)

    def replicate(self):
        """REPLICATE and the POSITIONs that answer it, {(stream, instance): "prev new"}."""
        self.send("REPLICATE ")
        positions = {}
        for line in self.barrier():
            words = line.split(" ")
            if words[0] == "POSITION":
                positions[words[1], words[2]] = " ".join(words[3:])
        return positions
