"""The line protocol as workers and people meet it, beside RESP on the same tenant.

By hand (nc), by the rules of a worker, and against those rules: manners, directions, limits, time-outs; and that both sides
of the hub hear each other, to the byte.
"""

import concurrent.futures
import signal
import subprocess
import threading
import time

import frame
from clients import Line, Resp, RespError, encode
from hub import SECONDS, wait_for

LIMIT = 16384


class ByHand(frame.HubCase):
    """netcat: no PING, no NAME, half-closing."""

    directives = ("--line-ping-interval", "100ms", "--line-ping-timeout", "300ms")

    def netcat(self, *words):
        process = subprocess.Popen([frame.need("nc"), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   bufsize=1)
        deadline = threading.Timer(SECONDS, process.kill)
        deadline.start()
        for cleanup in (process.stdout.close, process.wait, process.kill, deadline.cancel):
            self.addCleanup(cleanup)
        return process

    def line_without_pings(self, process):
        while True:
            line = process.stdout.readline()
            if not line.startswith("PING "):
                return line

    def test_a_person_is_greeted_answered_and_left_in_peace(self):
        with Resp(self.hub.port) as writer:
            writer.call("PUBLISH", "example.com", "POSITION events master 5 5")
            writer.call("PUBLISH", "example.com", 'RDATA caches w1 7 ["x"]')
        for words in (("127.0.0.1", str(self.hub.line_port)), ("-U", self.hub.line_socket_path)):
            process = self.netcat(*words)
            self.assertEqual(process.stdout.readline(), "SERVER example.com\n")
            self.assertRegex(process.stdout.readline(), r"^PING \d{13}\n$")
            pings = [process.stdout.readline() for _ in range(8)]  # twice the time-out, and not a word from us
            self.assertTrue(all(line.startswith("PING ") for line in pings), pings)
            process.stdin.write("REPLICATE \n")
            self.assertEqual(self.line_without_pings(process), "POSITION events master 5 5\n")
            self.assertEqual(self.line_without_pings(process), "POSITION caches w1 7 7\n")
            process.stdin.write("\n\nREPLICATE\n")  # blank lines, and the blank left out
            self.assertEqual(self.line_without_pings(process), "POSITION events master 5 5\n")
            self.assertEqual(self.line_without_pings(process), "POSITION caches w1 7 7\n")
            process.stdin.write("HELLO\n")
            self.assertEqual(self.line_without_pings(process), "ERROR invalid command: HELLO\n")
            process.stdin.close()  # nc waits for both sides to end
            self.assertEqual(process.stdout.readline(), "")

    def test_one_question_by_pipe_is_answered(self):
        done = subprocess.run([frame.need("nc"), "-N", "127.0.0.1", str(self.hub.line_port)], input="REPLICATE \nPING me\n",
                              stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
        self.assertIn("SERVER example.com\n", done.stdout)
        self.assertIn("PING me\n", done.stdout)

    def test_errors_say_what_was_wrong(self):
        for said, answer in (
                ("USER_SYNC w1", "ERROR failed to parse line: "),
                ("RDATA events", "ERROR invalid command: RDATA"),
                ("SERVER other.org", "ERROR invalid command: SERVER"),
                ("FEDERATION_ACK x", "ERROR failed to parse line: ")):
            worker = self.take(Line(self.hub.line_port, "by-hand"))
            worker.send(said)
            line = worker.read()
            self.assertTrue(line.startswith(answer), (said, line))
            self.assertEqual(worker.rest(), b"")


class Manners(frame.HubCase):
    """Time-outs, limits and what a worker may say."""

    directives = ("--line-ping-interval", "100ms", "--line-ping-timeout", "400ms", "--line-writers", "writer1", "w2")

    def test_a_worker_that_pings_and_falls_silent_is_told_and_closed(self):
        worker = self.take(Line(self.hub.line_port, "silent"))
        began = time.monotonic()
        worker.send("PING 1")
        text = worker.rest().decode()
        self.assertGreaterEqual(time.monotonic() - began, 0.35)
        self.assertTrue(text.endswith("ERROR ping timeout\n"), text)
        self.hub.wait_log('connection ends conn="line silent .*why="ping timeout"')

    def test_any_valid_command_keeps_a_worker_alive(self):
        worker = self.take(Line(self.hub.line_port, "alive"))
        worker.send("PING 1")
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            worker.read(pings=True)  # the hub's own, each 100 ms
            worker.send("REMOTE_SERVER_UP matrix.org")
        self.assertEqual(worker.barrier(), [])

    def test_the_barrier_answers_when_all_before_it_is_handled(self):
        worker = self.take(Line(self.hub.line_port, "barrier"))
        subscriber = self.take(Resp(self.hub.port))
        subscriber.subscribe("example.com")
        worker.send(*[f"USER_SYNC id1 @u{i}:example.com start {i}" for i in range(200)])
        self.assertEqual(worker.barrier(), [])
        self.assertEqual(self.hub.metrics()['millrace_users_syncing{tenant="example.com"}'], 200)
        self.assertEqual(subscriber.message(), b"USER_SYNC id1 @u0:example.com start 0")
        worker.send("CLEAR_USER_SYNC id1")
        self.assertEqual(worker.barrier(), [])
        self.assertEqual(self.hub.metrics()['millrace_users_syncing{tenant="example.com"}'], 0)

    def test_line_writers_may_write_what_they_are_named_for(self):
        writer, worker = self.take(Line(self.hub.line_port, "writer")), self.take(Line(self.hub.line_port, "worker"))
        subscriber = self.take(Resp(self.hub.port, resp=3))
        subscriber.subscribe("example.com")
        worker.barrier()
        writer.send("POSITION typing writer1 4 4", 'RDATA typing writer1 5 ["!r:x", []]', "POSITION typing w2 1 1")
        writer.barrier()
        expected = ["POSITION typing writer1 4 4", 'RDATA typing writer1 5 ["!r:x", []]', "POSITION typing w2 1 1"]
        self.assertEqual([worker.read() for _ in expected], expected)
        self.assertEqual([subscriber.message().decode() for _ in expected], expected)
        writer.send('RDATA typing writer2 6 ["!r:x", []]')
        self.assertIn(b"ERROR invalid command: RDATA\n", writer.rest())

    def test_line_writers_change_at_run_time(self):
        admin = self.take(Resp(self.hub.port))
        self.assertEqual(admin.call("CONFIG", "SET", "line-writers", "other"), "OK")
        with Line(self.hub.line_port, "w") as writer:
            writer.send("RDATA typing other 1 x")
            self.assertEqual([line for line in writer.barrier() if "typing other" not in line], [])
            writer.send("RDATA typing writer1 9 x")
            self.assertIn(b"ERROR invalid command: RDATA\n", writer.rest())
        self.assertEqual(admin.call("CONFIG", "SET", "line-writers", "writer1 w2"), "OK")

    def test_a_line_at_the_limit_is_taken_and_one_above_it_is_not(self):
        worker = self.take(Line(self.hub.line_port, "long"))
        subscriber = self.take(Resp(self.hub.port))
        subscriber.subscribe("example.com")
        line = "REMOTE_SERVER_UP " + "x" * (LIMIT - 17)
        self.assertEqual(len(line), LIMIT)
        worker.send(line)
        self.assertEqual(worker.barrier(), [])
        self.assertEqual(subscriber.message().decode(), line)
        for tail in (b"", b"\n"):
            worker = self.take(Line(self.hub.line_port, "too-long"))
            worker.raw(b"REMOTE_SERVER_UP " + b"x" * (LIMIT - 16) + tail)
            self.assertTrue(worker.rest().endswith(b"ERROR Line length exceeded\n"))

    def test_invalid_utf8_closes(self):
        for data in (b"NAME \xff\n", b"NAME \xc0\xaf\n", b"NAME \xed\xa0\x80\n", b"NAME \xf5\x80\x80\x80\n"):
            worker = self.take(Line(self.hub.line_port, "bytes"))
            worker.raw(data)
            self.assertIn(b"ERROR failed to parse line", worker.rest())

    def test_a_line_in_pieces_and_many_lines_at_once(self):
        worker = self.take(Line(self.hub.line_port, "pieces"))
        for byte in b"NAME in-pieces\nPING piece\n":
            worker.raw(bytes([byte]))
        while worker.read(pings=True) != "PING piece":
            pass
        worker.send(*["REMOTE_SERVER_UP a.org"] * 5000)
        self.assertEqual(worker.barrier(), [])

    def test_replicate_may_come_before_a_name_and_in_the_same_write(self):
        worker = self.take(Line(self.hub.line_port))
        worker.send("REPLICATE ", "NAME late", "PING done")
        lines = []
        while not lines or lines[-1] != "PING done":
            lines.append(worker.read(pings=True))
        self.assertEqual(lines[0], "SERVER example.com")
        with Resp(self.hub.port) as admin:
            self.assertIn(b"name=late", admin.call("CLIENT", "LIST"))

    def test_an_error_of_the_peer_closes_and_hides_tokens(self):
        worker = self.take(Line(self.hub.line_port, "complains"))
        worker.send("ERROR I do not like you")
        self.hub.wait_log("I do not like you")
        other = self.take(Line(self.hub.line_port, "complains-more"))
        other.send('ERROR bad line: USER_IP @a:b ["syt_secret_token"]')
        self.hub.wait_log("USER_IP line, which is not shown")
        self.assertNotIn("syt_secret_token", self.hub.log())


class BothSides(frame.HubCase):
    """What one side says the other hears."""

    def test_what_resp_publishes_every_line_worker_hears_unchanged(self):
        workers = [self.take(Line(self.hub.line_port, "a")), self.take(Line(self.hub.line_socket_path, "b"))]
        for worker in workers:
            worker.barrier()
        rows = ['RDATA events master 11 ["ev", ["$x", "m.room.message", null]]',
                'RDATA  two blanks', "RDATA receipts master 12 {\"ключ\": \"значение 🙂\"}",
                'RDATA caches w1 13 ["get_user", [" trailing "]] ', "POSITION typing master 3 9", "REMOTE_SERVER_UP ä.example",
                'RDATA receipts master 14 [1,   2,\t3]', "RDATA receipts master 15 " + "[" + "9" * (LIMIT - 27) + "]"]
        heard = [row for row in rows if not row.startswith("RDATA  two")]
        with Resp(self.hub.port) as writer:
            for row in rows:
                self.assertIsInstance(writer.call("PUBLISH", "example.com", row), int)
        for worker in workers:
            lines = [worker.read() for _ in range(len(heard))]
            while heard[0] not in lines:  # a POSITION of the hub's own may stand before a writer's first row
                lines.append(worker.read())
            lines += worker.barrier()
            self.assertEqual([line for line in lines if line in heard], heard)
            own = [line for line in lines if line not in heard]
            self.assertTrue(all(line.startswith("POSITION ") for line in own), own)

    def test_a_row_that_no_line_can_carry_becomes_a_position(self):
        worker = self.take(Line(self.hub.line_port, "small"))
        worker.barrier()
        with Resp(self.hub.port) as writer:
            writer.call("PUBLISH", "example.com", "POSITION device_lists master 20 20")
            writer.call("PUBLISH", "example.com", "RDATA device_lists master 21 " + "x" * LIMIT)
            writer.call("PUBLISH", "example.com", b'RDATA device_lists master 22 ["\xff"]')
        self.assertEqual(worker.barrier(), ["POSITION device_lists master 20 20", "POSITION device_lists master 21 21",
                                            "POSITION device_lists master 22 22"])

    def test_what_only_synapse_knows_never_reaches_a_line_worker(self):
        worker = self.take(Line(self.hub.line_port, "old"))
        worker.barrier()
        with Resp(self.hub.port) as writer:
            for line in ('LOCK_RELEASED ["w1","l","k"]', "NEW_ACTIVE_TASK t1", "SOMETHING new in 2.0", "USER_SYNC i @u:x start 1",
                         "REPLICATE ", "", "PING 5", "SERVER evil", "ERROR boo", "NAME x\nERROR injected"):
                writer.call("PUBLISH", "example.com", line)
            writer.call("PUBLISH", "example.com/USER_IP", 'USER_IP @u:x ["tok", "1.2.3.4", "ua", null, 1]')
        self.assertEqual(worker.barrier(), [])

    def test_what_workers_say_resp_hears_and_other_workers_do_not(self):
        worker, other = self.take(Line(self.hub.line_port, "one")), self.take(Line(self.hub.line_port, "two"))
        other.barrier()
        main = self.take(Resp(self.hub.port))
        main.subscribe("example.com", "example.com/USER_IP")
        said = ["USER_SYNC abc @u:example.com start 17", "USER_SYNC abc @u:example.com DEV end 18", "CLEAR_USER_SYNC abc",
                "FEDERATION_ACK sender1 44", "FEDERATION_ACK 45", "REMOVE_PUSHER app key @u:example.com",
                'USER_IP @u:example.com ["syt_tok", "::1", "agent x", "DEV", 1600000000000]']
        worker.send(*said)
        worker.barrier()
        self.assertEqual(other.barrier(), [])
        got = [main.read() for _ in said]
        self.assertEqual([reply[2].decode() for reply in got], said)
        self.assertEqual([reply[1] for reply in got], [b"example.com"] * 6 + [b"example.com/USER_IP"])

    def test_remote_server_up_reaches_all_but_its_origin(self):
        worker, other = self.take(Line(self.hub.line_port, "one")), self.take(Line(self.hub.line_port, "two"))
        main = self.take(Resp(self.hub.port))
        main.subscribe("example.com")
        other.barrier()
        worker.send("REMOTE_SERVER_UP matrix.org")
        self.assertEqual(worker.barrier(), [])
        self.assertEqual(other.read(), "REMOTE_SERVER_UP matrix.org")
        self.assertEqual(main.message(), b"REMOTE_SERVER_UP matrix.org")

    def test_batches_of_two_writers_arrive_whole_on_both_sides(self):
        worker = self.take(Line(self.hub.line_port, "w"))
        worker.barrier()
        subscriber = self.take(Resp(self.hub.port))
        subscriber.subscribe("example.com")
        a, b = self.take(Resp(self.hub.port)), self.take(Resp(self.hub.port))
        for writer, instance in ((a, "wa"), (b, "wb")):
            writer.call("PUBLISH", "example.com", f"POSITION to_device {instance} 1 1")
        a.call("PUBLISH", "example.com", "RDATA to_device wa batch a1")
        b.call("PUBLISH", "example.com", "RDATA to_device wb batch b1")
        a.call("PUBLISH", "example.com", "RDATA to_device wa batch a2")
        b.call("PUBLISH", "example.com", "RDATA to_device wb 2 b2")
        a.call("PUBLISH", "example.com", "RDATA to_device wa 2 a3")
        expected = ["POSITION to_device wa 1 1", "POSITION to_device wb 1 1", "RDATA to_device wb batch b1",
                    "RDATA to_device wb 2 b2", "RDATA to_device wa batch a1", "RDATA to_device wa batch a2",
                    "RDATA to_device wa 2 a3"]
        self.assertEqual(worker.barrier(), expected)
        self.assertEqual([subscriber.message().decode() for _ in expected], expected)

    def test_one_order_for_all_while_two_writers_and_a_worker_speak(self):
        worker = self.take(Line(self.hub.line_port, "w"))
        worker.barrier()
        subscribers = [self.take(Resp(self.hub.port)), self.take(Resp(self.hub.socket_path, resp=3))]
        for subscriber in subscribers:
            subscriber.subscribe("example.com")
        speaker = self.take(Line(self.hub.line_port, "speaker"))

        def write(instance):
            with Resp(self.hub.port) as writer:
                writer.raw(b"".join(encode("PUBLISH", "example.com", f"RDATA receipts {instance} {i + 100} []")
                                    for i in range(1000)))
                return all(not isinstance(writer.read(), RespError) for _ in range(1000))

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            writing = [pool.submit(write, name) for name in ("o1", "o2")]
            speaker.send(*[f"REMOTE_SERVER_UP s{i}.org" for i in range(500)])
            self.assertTrue(all(future.result(SECONDS) for future in writing))
        speaker.barrier()
        heard = [[subscriber.message().decode() for _ in range(2500)] for subscriber in subscribers]
        self.assertEqual(heard[0], heard[1])
        lines = [line for line in worker.barrier() if not line.startswith("POSITION ")]
        self.assertEqual(lines, heard[0])

    def test_many_workers_hear_the_same(self):
        workers = [self.take(Line(self.hub.line_port, f"many{i}")) for i in range(50)]
        for worker in workers:
            worker.barrier()
        with Resp(self.hub.port) as writer:
            writer.call("PUBLISH", "example.com", "POSITION presence master 1 1")
            writer.raw(b"".join(encode("PUBLISH", "example.com", f"RDATA presence master {i} [{i}]") for i in range(2, 202)))
            for _ in range(200):
                writer.read()
        expected = ["POSITION presence master 1 1"] + [f"RDATA presence master {i} [{i}]" for i in range(2, 202)]
        for worker in workers:
            self.assertEqual(worker.barrier(), expected)


class Ends(frame.OwnHubCase):
    """How connections and listeners end."""

    def test_workers_are_told_of_the_end_and_get_what_was_published(self):
        hub = self.make(store=False).start()
        worker = self.take(Line(hub.line_port, "told"))
        worker.barrier()
        with Resp(hub.port) as writer:
            writer.raw(b"".join(encode("PUBLISH", "example.com", f"RDATA caches w {i} []") for i in range(1000)))
            for _ in range(1000):
                writer.read()
        hub.signal(signal.SIGTERM)
        lines = worker.rest().decode().splitlines()
        self.assertEqual([line for line in lines if line.startswith("RDATA")], [f"RDATA caches w {i} []" for i in range(1000)])
        self.assertEqual(lines[-1], "ERROR server is shutting down")
        self.assertEqual(hub.wait_exit(), 0)

    def test_a_worker_that_never_reads_is_dropped_and_others_are_unharmed(self):
        hub = self.make("--client-output-buffer-limit", "pubsub", "1mb", "0", "0", store=False).start()
        stuck, good = self.take(Line(hub.line_socket_path, "stuck")), self.take(Line(hub.line_port, "good"))
        stuck.barrier()
        good.barrier()
        writer = self.take(Resp(hub.port))
        number = 0
        deadline = time.monotonic() + SECONDS
        while hub.metrics()['millrace_connections_dropped_total{reason="output"}'] == 0:
            self.assertLess(time.monotonic(), deadline)
            writer.raw(b"".join(encode("PUBLISH", "example.com", f"RDATA caches w {number + i} " + "y" * 15000)
                                for i in range(20)))
            number += 20
            for _ in range(20):
                writer.read()
            lines = [line for line in good.barrier() if line.startswith("RDATA")]
            self.assertEqual([int(line.split(" ")[3]) for line in lines], list(range(number - 20, number)))
        hub.wait_log('connection ends conn="line stuck .*client-output-buffer-limit')
        hub.stop()

    def test_without_a_server_name_there_is_no_line_listener(self):
        hub = self.make("--server-name", "", store=False).start()
        self.assertIsNone(hub.line_port)
        self.assertIsNotNone(hub.port)
        wait_for(lambda: hub.get("/readyz")[0] == 200, "ready")
        hub.stop()


if __name__ == "__main__":
    frame.main()
