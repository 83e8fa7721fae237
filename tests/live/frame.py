"""The frame of a live test program: unittest underneath, names as sentences, the engine, seeds, skips.

    live_redis.py [--engine auto|uring|epoll] [--seed N] [--list] [part of a test's name ...]

Status: 0 all passed, 1 something failed, 77 nothing failed and a test was skipped.
"""

import argparse
import random
import sys
import time
import unittest

from hub import Hub, tool

SKIPPED = 77
options = argparse.Namespace(engine="auto", seed=None)


def seeded():
    """A source of chance; its seed is printed."""
    print(f"seed {options.seed} (replay: --seed {options.seed})", flush=True)
    return random.Random(options.seed)


class HubCase(unittest.TestCase):
    """One hub for all tests of the class; it must end well."""

    directives = ()
    store = False
    hub = None

    @classmethod
    def setUpClass(cls):
        cls.hub = Hub(*cls.directives, store=cls.store).start()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.hub.stop()
        finally:
            cls.hub.discard()

    def setUp(self):
        self.assertTrue(self.hub.running(), "the hub has ended before this test")

    def tearDown(self):
        if not self.hub.running():
            self.fail("the hub has ended:\n" + self.hub.log()[-4000:])

    def take(self, thing):
        """A connection or the like that is closed when the test ends."""
        self.addCleanup(thing.close)
        return thing


class OwnHubCase(unittest.TestCase):
    """Each test makes the hubs it needs."""

    def make(self, *directives, **more):
        hub = Hub(*directives, **more)
        self.addCleanup(hub.discard)
        return hub

    def take(self, thing):
        self.addCleanup(thing.close)
        return thing


def need(name):
    """The path of a tool; the test is skipped where there is none."""
    path = tool(name)
    if path is None:
        raise unittest.SkipTest(f"no {name}")
    return path


class Timed(unittest.TextTestResult):
    """Says of each test how long it took."""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        self.stream.write(f"{time.monotonic() - self.began:.2f} s ")
        super().addSuccess(test)

    def getDescription(self, test):
        return getattr(test, "_testMethodName", str(test))


def collect(words):
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    tests = [test for group in suite for test in group]
    wanted = [test for test in tests if not words or any(word in test.id() for word in words)]
    return unittest.TestSuite(wanted), wanted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default="auto", choices=["auto", "uring", "epoll"])
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000_007)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("words", nargs="*")
    parser.parse_args(namespace=options)
    Hub.engine = options.engine
    suite, tests = collect(options.words)
    if options.list:
        print("\n".join(test.id().split(".", 1)[1] for test in tests))
        sys.exit(0)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Timed).run(suite)
    sys.exit(1 if not result.wasSuccessful() or not tests else SKIPPED if result.skipped else 0)
