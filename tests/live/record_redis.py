"""Records what a redis-server answers, for live_same_as_redis.py.

    record_redis.py FIXTURE [redis-server]

Starts a redis-server of its own on a unix socket, plays the requests of the fixture, and writes the file anew with the
answers. What a request brings to other connections becomes a line without a request.
"""

import os
import select
import subprocess
import sys
import tempfile
import time

from same import Step, connect, load, store

SILENCE = 0.05  # this long without a byte, and the answer is taken for whole


def drain(connection):
    """(bytes, whether the server closed)"""
    received = b""
    while select.select([connection], [], [], SILENCE)[0]:
        data = connection.recv(65536)
        if not data:
            return received, True
        received += data
    return received, False


def play(steps, path):
    recorded = []
    connections = {}
    case = None
    for step in steps:
        if step.case != case:
            for connection in connections.values():
                connection.close()
            connections, case = {}, step.case
        if not step.request:
            continue
        if step.connection not in connections:
            connections[step.connection] = connect(path)
        connections[step.connection].sendall(step.request)
        answer, closed = drain(connections[step.connection])
        recorded.append(Step(case, step.connection, step.request, answer, closed))
        if closed:
            connections.pop(step.connection).close()
        for name, connection in sorted(connections.items()):
            if name != step.connection:
                heard, closed = drain(connection)
                if heard or closed:
                    recorded.append(Step(case, name, b"", heard, closed))
    return recorded


def main():
    fixture = sys.argv[1]
    server = sys.argv[2] if len(sys.argv) > 2 else "redis-server"
    comments, steps = load(fixture)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "redis.sock")
        process = subprocess.Popen([server, "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder],
                                   stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not os.path.exists(path) and time.monotonic() < deadline:
                time.sleep(0.01)
            store(fixture, comments, play(steps, path))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
