"""A hub answers as redis-server 7.0.15 does, to the byte, in several hundred cases.

The answers were recorded once (record_redis.py), so no redis-server is needed. Left out is what differs on purpose:
INFO, CONFIG's directives, COMMAND's documentation, DEBUG, and the order of KEYS.
"""

import itertools
import os

import frame
from hub import SECONDS, SOURCE
from same import connect, load, without_numbers

FIXTURE = os.path.join(SOURCE, "tests", "fixtures", "redis-7.0.15.txt")
UNEXPECTED = b"<more bytes>"


class SameAsRedis(frame.HubCase):
    directives = ("--proto-max-bulk-len", "512mb", "--maxmemory", "0")

    def receive(self, connection, step):
        """As many bytes as were recorded, fewer only where the hub closes or falls silent."""
        received = b""
        try:
            while len(without_numbers(received)) < len(without_numbers(step.answer)) or step.closed:
                data = connection.recv(65536)
                if not data:
                    return received
                received += data
        except ConnectionResetError:
            pass  # closed with bytes of ours unread
        except TimeoutError:
            received += b"<silence>"
        return received

    def play(self, steps, where):
        connections = {}
        try:
            for number, step in enumerate(steps):
                if step.connection not in connections:
                    connections[step.connection] = connect(where)
                    connections[step.connection].settimeout(SECONDS)
                connection = connections[step.connection]
                if step.request:
                    connection.sendall(step.request)
                got = self.receive(connection, step)
                self.assertEqual(without_numbers(got), without_numbers(step.answer),
                                 f"case {step.case}, step {number}: {step.request!r}")
                if step.closed:
                    connections.pop(step.connection).close()
            for name, connection in connections.items():
                connection.shutdown(1)
                self.assertEqual(connection.recv(100), b"", f"case {steps[0].case}: connection {name} got more")
        finally:
            for connection in connections.values():
                connection.close()

    def play_all(self, where):
        _, steps = load(FIXTURE)
        self.assertGreater(len(steps), 500)
        for case, group in itertools.groupby(steps, key=lambda step: step.case):
            with self.subTest(case=case):
                self.play(list(group), where)

    def test_every_recorded_answer_is_given_by_tcp(self):
        self.play_all(self.hub.port)

    def test_every_recorded_answer_is_given_by_the_unix_socket(self):
        self.play_all(self.hub.socket_path)


if __name__ == "__main__":
    frame.main()
