"""A publisher and its subscribers, one of each protocol, that run all the time and notice every loss.

Beside a test that does its worst to the hub: each message is published when the one before has arrived everywhere, so a
loss, a duplicate, a change of order or a standstill shows at once, and the longest round trip is known.
"""

import threading
import time

from clients import Closed, Line, Resp
from hub import SECONDS


class Witness:
    def __init__(self, hub, password=None, pause=0.001):
        self.hub = hub
        self.pause = pause
        self.publisher = Resp(hub.port, password)
        self.resp2 = Resp(hub.port, password)
        self.resp3 = Resp(hub.socket_path, password, resp=3)
        self.line = Line(hub.line_port, "witness")
        for subscriber in (self.resp2, self.resp3):
            subscriber.subscribe("example.com")
        self.line.barrier()
        self.count = 0
        self.slowest = 0.0
        self.error = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.ended.wait(self.pause):
                self.round()
        except (AssertionError, Closed, OSError) as error:
            self.error = error

    def round(self):
        self.count += 1
        row = f"RDATA witness stand {self.count} [{self.count}]"
        began = time.monotonic()
        self.publisher.send("PUBLISH", "example.com", row)
        for name, subscriber in (("RESP2", self.resp2), ("RESP3", self.resp3)):
            self.expect(name, subscriber, lambda s=subscriber: s.message().decode(), row)
        self.expect("line", self.line, self.line.read, row)
        receivers = self.publisher.read()
        assert isinstance(receivers, int) and receivers >= 3, receivers
        self.slowest = max(self.slowest, time.monotonic() - began)

    def expect(self, name, subscriber, read, row):
        """The next row of ours must be this one; what others publish in between is theirs."""
        while True:
            got = read()
            if " witness stand " not in got or got.startswith("POSITION "):
                continue
            assert got == row, f"{name} got {got!r} instead of {row!r}"
            return

    def check(self, rounds=3):
        """It is unharmed: some more rounds go by."""
        target = self.count + rounds
        deadline = time.monotonic() + SECONDS
        while self.count < target and self.error is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self.error is None, f"the witness was harmed in round {self.count}: {self.error!r}"
        assert self.count >= target, f"the witness stands still in round {self.count}"

    def finish(self):
        self.check()
        self.ended.set()
        self.thread.join(SECONDS)
        assert self.error is None, repr(self.error)
        for connection in (self.publisher, self.resp2, self.resp3, self.line):
            connection.close()
