"""A millraced of the tests' own: started on ports that the kernel chooses, watched, stopped, killed.

Called by every live test. Knows the daemon from outside only: its arguments, log lines, exit status, /metrics and /proc.
Each hub lives in a folder of its own below the temporary one; nothing is left behind. Whatever is waited for is a
condition with a deadline: wait_for() says in its error what did not happen, and a hub adds the end of its log.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECONDS = 20  # the deadline of what usually takes milliseconds; sanitizers on a busy machine are slow
LOG_TAIL = 4000


def program(variable, name):
    """Path of a program of ours: from the environment, as CTest sets it, or from a build folder."""
    path = os.environ.get(variable) or os.path.join(os.environ.get("MILLRACE_BUILD", "."), name)
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{name} is not at {path}: set {variable}")
    return path


def tool(name):
    """Path of a program that the machine may lack, or None."""
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep +
                        os.path.join(SOURCE, "build", "tools"))


def wait_for(question, what, seconds=SECONDS, pause=0.005):
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(pause)


def is_sanitized(path):
    """"address" or "thread", if the program was built so; else None."""
    with open(path, "rb") as file:
        data = file.read()
    if b"__asan_init" in data:
        return "address"
    return "thread" if b"__tsan_init" in data else None


class Hub:
    """One daemon and its folder; may be started again in it."""

    engine = "auto"  # of all hubs that do not say otherwise: --engine of the test program

    def __init__(self, *directives, folder=None, engine=None, store=True):
        self.path = program("MILLRACED", "millraced")
        self.sanitizer = is_sanitized(self.path)
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="millrace-live-")
        self.directory = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.socket_path = os.path.join(self.folder, "resp.sock")
        self.line_socket_path = os.path.join(self.folder, "line.sock")
        self.directives = ["--engine", engine or Hub.engine, "--port", "-1", "--line-port", "-1", "--http-port", "-1",
                           "--server-name", "example.com", "--unixsocket", self.socket_path, "--line-unixsocket",
                           self.line_socket_path, "--dir", self.directory]
        if not store:
            self.directives += ["--store", "none"]
        self.directives += [str(word) for word in directives]
        self.process = None
        self.log_start = 0

    # ---- life ----

    def launch(self, *more):
        """Start it and return at once."""
        assert self.process is None
        environment = dict(os.environ)
        for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"):
            # Freed memory that is kept for reports would be counted as the hub's.
            more_options = "quarantine_size_mb=4:malloc_context_size=12" if name == "ASAN_OPTIONS" else ""
            environment[name] = ":".join(filter(None, [environment.get(name, "exitcode=99"), more_options]))
        environment.pop("JOURNAL_STREAM", None)
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen([self.path, *self.directives, *[str(word) for word in more]],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                            cwd=self.folder)
        return self

    def start(self, *more):
        """Start it and wait until it takes connections."""
        self.launch(*more)
        try:
            self.wait_log(r" ready ")
            self.port = self.listening("resp")
            self.line_port = self.listening("line")
            self.http_port = self.listening("http")
        except BaseException:
            self.discard()
            raise
        return self

    def listening(self, protocol):
        found = re.search(rf"listening protocol={protocol} address=\S*:(\d+)$", self.log(), re.M)
        return int(found.group(1)) if found else None

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_exit(self, seconds=SECONDS):
        """Its exit status; the hub may then be started again."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the hub does not end within {seconds} s\n{self.log()[-LOG_TAIL:]}") from None
        self.process = None
        return status

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=SECONDS):
        """SIGTERM; the exit status must be 0 and no sanitizer may have complained."""
        self.signal(signal.SIGTERM)
        status = self.wait_exit(seconds)
        assert status == 0, f"exit status {status}\n{self.log()[-LOG_TAIL:]}"
        self.check_log()

    def kill(self):
        """kill -9."""
        self.signal(signal.SIGKILL)
        self.wait_exit()

    def check_log(self):
        found = re.search(r"runtime error|AddressSanitizer|LeakSanitizer|ThreadSanitizer|Assertion", self.log(True))
        assert not found, self.log(True)[-3 * LOG_TAIL:]

    def discard(self):
        """End it however it stands, and remove its folder."""
        if self.running():
            self.process.kill()
            self.process.wait()
        self.process = None
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what it says ----

    def log(self, whole=False):
        """What it has logged since its last start, or ever."""
        with open(self.log_path, "rb") as log:
            log.seek(0 if whole else self.log_start)
            return log.read().decode("utf-8", "backslashreplace")

    def wait_log(self, pattern, seconds=SECONDS):
        """The match of `pattern` (multi-line) in the log, once it is there."""
        def look():
            text = self.log()
            found = re.search(pattern, text, re.M)
            if not found and not self.running():
                raise AssertionError(f"the hub ended without logging {pattern!r}\n{text[-LOG_TAIL:]}")
            return found
        try:
            return wait_for(look, f"{pattern!r} in the log", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-LOG_TAIL:]}") from None

    def get(self, path):
        """(status, text) of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self):
        """{'name' or 'name{label="value"}': number}"""
        status, text = self.get("/metrics")
        assert status == 200, text
        return parse_metrics(text)

    def wait_metric(self, name, good, seconds=SECONDS):
        """The value of a metric, once good(value)."""
        last = [None]
        def look():
            last[0] = self.metrics().get(name)
            return last[0] is not None and good(last[0])
        try:
            wait_for(look, name, seconds, 0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last[0]}") from None
        return last[0]

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def parse_metrics(text):
    numbers = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            numbers[name] = float(value)
    return numbers
