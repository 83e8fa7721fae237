#!/usr/bin/env python3
"""Proves the floors of the house: who may include whom, and who may ask the kernel for anything.

Arrows point down only:
    main -> hub -> redis -> replication -> {fanout, protocol, ring's and store's interface} -> base
Prints each breach as FILE:LINE: what is wrong; the status is 1 if there was one.
"""

import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Who may include what: a folder, or a single header of it.
INTERFACES = ["ring/ring.h", "ring/wheel.h", "store/store.h"]
BASE = ["engine/base/"]
REPLICATION = ["engine/fanout/", "engine/protocol/"] + INTERFACES + BASE
REDIS = ["engine/replication/"] + REPLICATION
HUB = ["engine/redis/"] + REDIS
ALLOWED = {
    "engine/base/": BASE,
    "engine/protocol/": ["engine/protocol/"] + BASE,
    "engine/fanout/": ["engine/fanout/"] + BASE,
    "engine/replication/": ["engine/replication/"] + REPLICATION,
    "engine/redis/": ["engine/redis/"] + REDIS,
    "engine/hub/": ["engine/hub/"] + HUB,
    "engine/host.c": ["engine/host.h", "engine/hub/"] + HUB,
    "engine/host.h": ["engine/hub/"] + HUB,
    "engine/main.c": ["engine/host.h", "engine/hub/"] + HUB,
    "ring/": ["ring/"] + BASE,
    "store/": ["store/"] + BASE,
    "bench/": ["bench/", "engine/protocol/"] + BASE,
}

# A library's header stands in these files only.
ONLY_IN = {
    "liburing.h": ["ring/uring.c", "ring/probe.c", "bench/limit.c"],
    "rocksdb/c.h": ["store/rocks.c"],
    "microhttpd.h": ["engine/hub/http.c"],
    "uthash.h": ["engine/base/table.h"],
}

# The rest of engine/ is given bytes and time, and asks nobody for them.
MAY_ASK_THE_KERNEL = [
    "engine/main.c", "engine/host.c", "engine/hub/http.c", "engine/base/journal.c"]
KERNEL = re.compile(
    r"^(unistd|fcntl|poll|signal|time|pthread|threads|sched|dirent|netdb|termios|syslog|spawn|"
    r"aio|mqueue|semaphore|ifaddrs|ucontext|net/.*|arpa/.*|netinet/.*|linux/.*|"
    r"sys/(?!uio\.h|queue\.h|types\.h|param\.h|cdefs\.h).*)\.h$|^sys/(socket|time)\.h$")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
TYPEDEF = re.compile(r"^\s*typedef\s+(struct|union)\b")

breaches = []


def breach(path, line, text):
    breaches.append(f"{path}:{line}: {text}")


def sources():
    for folder in ("engine", "ring", "store", "bench"):
        for parent, folders, names in os.walk(os.path.join(ROOT, folder)):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(parent, name), ROOT)


def rule_of(path):
    for prefix, allowed in ALLOWED.items():
        if path == prefix or (prefix.endswith("/") and path.startswith(prefix)):
            return allowed
    return None


def includes_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            found = INCLUDE.match(line)
            if found:
                yield number, found.group(1) == '"', found.group(2)
            if TYPEDEF.match(line):
                breach(path, number, "a typedef for a struct hides what it is")


def check_own(path, allowed, line, target):
    if not os.path.exists(os.path.join(ROOT, target)):
        breach(path, line, f"includes {target}, which is not a path from the repository's root")
    elif not any(target == a or (a.endswith("/") and target.startswith(a)) for a in allowed):
        breach(path, line, f"includes {target}: that arrow does not point down")


def check_system(path, line, target):
    if target in ONLY_IN and path not in ONLY_IN[target]:
        breach(path, line, f"includes {target}: only {' and '.join(ONLY_IN[target])} may")
    if path.startswith("engine/") and path not in MAY_ASK_THE_KERNEL and KERNEL.match(target):
        breach(path, line, f"includes {target}: the engine is given bytes and time, it asks for none")


def check_twin(path, own):
    """A .c includes its own header first."""
    twin = path[:-2] + ".h"
    if path.endswith(".c") and os.path.exists(os.path.join(ROOT, twin)):
        if not own or own[0] != twin:
            breach(path, 1, f"does not include its own header, {twin}, first")


def check_circles(graph):
    state = {}

    def visit(path, way):
        if state.get(path) == "done":
            return
        if state.get(path) == "open":
            circle = way[way.index(path):] + [path]
            breach(path, 1, "headers include each other: " + " -> ".join(circle))
            return
        state[path] = "open"
        for target in graph.get(path, []):
            visit(target, way + [path])
        state[path] = "done"

    for path in graph:
        visit(path, [])


def check_alone(headers):
    """Each header compiles without another one before it."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return
    command = [compiler, "-std=gnu11", "-D_GNU_SOURCE", "-I", ROOT, "-fsyntax-only", "-x", "c", "-"]
    for header in headers:
        text = f'#include "{header}"\n'
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            breach(header, 1, "does not compile alone: " + done.stderr.strip().split("\n")[0])


def main():
    graph = {}
    headers = []
    for path in sources():
        allowed = rule_of(path)
        own = []
        if allowed is None:
            breach(path, 1, "belongs to no floor: say in tests/check_layers.py what it may include")
            continue
        for line, is_own, target in includes_of(path):
            if is_own:
                own.append(target)
                check_own(path, allowed, line, target)
            else:
                check_system(path, line, target)
        check_twin(path, own)
        if path.endswith(".h"):
            graph[path] = own
            headers.append(path)
    check_circles(graph)
    check_alone(headers)
    print("\n".join(breaches) if breaches else f"{len(graph)} headers: every arrow points down")
    return 1 if breaches else 0


sys.exit(main())
