"""The recorded answers of a redis-server: reading and writing the file."""

import re
import socket


class Step:
    """One request and what it brought; without a request: what came by somebody else's doing."""

    def __init__(self, case, connection, request, answer=b"", closed=False):
        self.case = case
        self.connection = connection
        self.request = request
        self.answer = answer
        self.closed = closed

    def line(self):
        return "\t".join([self.case, self.connection, escape(self.request), escape(self.answer),
                          "closed" if self.closed else ""])


def escape(data):
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def unescape(text):
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")


def load(path):
    """(the comment lines at the top, the steps)"""
    comments, steps = [], []
    with open(path, encoding="ascii") as file:
        for line in file.read().splitlines():
            if line.startswith("#"):
                comments.append(line)
                continue
            case, connection, request, answer, then = line.split("\t")
            steps.append(Step(case, connection, unescape(request), unescape(answer), then == "closed"))
    return comments, steps


def store(path, comments, steps):
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(comments + [step.line() for step in steps]) + "\n")


def connect(where):
    """To a port or to the path of a unix socket."""
    if isinstance(where, int):
        return socket.create_connection(("127.0.0.1", where))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(where)
    return connection


def without_numbers(answer):
    """HELLO tells the connection's number, which is nobody's promise."""
    return re.sub(rb"(\$2\r\nid\r\n:)\d+", rb"\1N", answer)
