"""Redis' own tools, and clients that speak RESP byte by byte, against a running hub.

What is promised to any client of Redis: redis-cli and redis-benchmark in the modes that make sense here, passwords, unix
sockets, limits, subscriptions of every kind, values at and above their limits, deep pipelines, half-closed connections.
"""

import concurrent.futures
import os
import stat
import subprocess
import time

import frame
from clients import Closed, Push, Resp, RespError, encode
from hub import SECONDS, wait_for

MB = 1024 * 1024


def run(*words, stdin=""):
    """(status, stdout + stderr) of a program that ends by itself."""
    done = subprocess.run([str(word) for word in words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60, check=False)
    return done.returncode, done.stdout


class RedisCli(frame.HubCase):
    """redis-cli as people use it."""

    def cli(self, *words, stdin=""):
        status, output = run(frame.need("redis-cli"), "-p", self.hub.port, *words, stdin=stdin)
        self.assertEqual(status, 0, output)
        return output

    def test_cli_sets_and_gets(self):
        self.assertEqual(self.cli("SET", "cli", "a value"), "OK\n")
        self.assertEqual(self.cli("GET", "cli"), "a value\n")
        self.assertEqual(self.cli("--no-raw", "GET", "cli"), '"a value"\n')
        self.assertEqual(self.cli("-n", 3, "GET", "cli"), "\n")
        self.assertEqual(self.cli("-u", f"redis://127.0.0.1:{self.hub.port}/0", "GET", "cli"), "a value\n")

    def test_cli_speaks_resp3(self):
        self.cli("SET", "cli3", "x")
        self.assertEqual(self.cli("-3", "GET", "cli3"), "x\n")
        self.assertEqual(self.cli("-3", "--json", "GET", "cli3"), '"x"\n')
        self.assertIn('"port"', self.cli("-3", "--json", "CONFIG", "GET", "port"))
        self.assertEqual(self.cli("--csv", "MGET", "cli3", "none"), '"x",NULL\n')

    def test_cli_repeats_and_reads_stdin(self):
        self.assertEqual(self.cli("-r", 3, "-i", "0.01", "PING"), "PONG\n" * 3)
        self.assertEqual(self.cli("-x", "SET", "stdin", stdin="from stdin"), "OK\n")
        self.assertEqual(self.cli("-X", "tag", "SET", "stdin2", "tag", stdin="also"), "OK\n")
        self.assertEqual(self.cli("GET", "stdin"), "from stdin\n")
        self.assertEqual(self.cli(stdin="SET k 1\nGET k\nSELECT 2\nGET k\n"), "OK\n1\nOK\n\n")

    def test_cli_shows_errors_and_says_so(self):
        self.assertIn("ERR unknown command", self.cli("FROBNICATE"))
        status, _ = run(frame.need("redis-cli"), "-e", "-p", self.hub.port, "FROBNICATE")
        self.assertNotEqual(status, 0)

    def test_cli_pipes_a_mass_of_commands(self):
        commands = b"".join(encode("SET", f"mass:{i}", i) for i in range(20000))
        done = subprocess.run([frame.need("redis-cli"), "-p", str(self.hub.port), "--pipe"], input=commands,
                              stdout=subprocess.PIPE, timeout=60, check=True)
        self.assertIn(b"errors: 0, replies: 20000", done.stdout)
        self.assertEqual(self.cli("GET", "mass:19999"), "19999\n")

    def test_cli_scans_and_looks_for_big_keys(self):
        self.cli("MSET", "scan:1", "a", "scan:2", "bb")
        self.assertEqual(sorted(self.cli("--scan", "--pattern", "scan:*").split()), ["scan:1", "scan:2"])
        self.assertIn("Biggest string", self.cli("--bigkeys"))

    def test_cli_asks_for_the_documentation_of_commands(self):
        self.assertIn("publish", self.cli("COMMAND", "DOCS", "PUBLISH").lower())
        self.assertGreater(int(self.cli("COMMAND", "COUNT")), 50)

    def test_cli_reports_latency_and_statistics(self):
        self.assertRegex(self.cli("--latency", "--raw", "-i", "0.05"), r"^\d+ \d+")
        with subprocess.Popen([frame.need("redis-cli"), "-p", str(self.hub.port), "--stat", "-i", "0.02"],
                              stdout=subprocess.PIPE, text=True) as process:
            lines = [process.stdout.readline() for _ in range(6)]
            process.kill()
        self.assertIn("clients", "".join(lines))
        self.assertRegex(lines[-1], r"\d+\s+\S+\s+\d+")

    def test_cli_is_refused_what_there_is_not_in_a_sentence(self):
        for words in (("--rdb", "/dev/null"), ("--replica",)):
            _, output = run(frame.need("redis-cli"), "-p", self.hub.port, *words)
            self.assertIn("ERR unknown command", output)

    def test_cli_subscribes_and_prints_messages(self):
        for protocol in ((), ("-3",)):
            with subprocess.Popen([frame.need("redis-cli"), "-p", str(self.hub.port), *protocol, "SUBSCRIBE", "cli.sub"],
                                  stdout=subprocess.PIPE, text=True) as process:
                wait_for(lambda: self.cli("PUBSUB", "NUMSUB", "cli.sub") == "cli.sub\n1\n", "the subscription")
                self.assertEqual(self.cli("PUBLISH", "cli.sub", "hello"), "1\n")
                seen = []
                while not seen or seen[-1] != "hello\n":
                    seen.append(process.stdout.readline())
                    self.assertTrue(seen[-1], seen)
                self.assertIn("subscribe\n", seen)
                process.kill()
            wait_for(lambda: self.cli("PUBSUB", "NUMSUB", "cli.sub") == "cli.sub\n0\n", "the end")

    def test_cli_uses_the_unix_socket(self):
        status, output = run(frame.need("redis-cli"), "-s", self.hub.socket_path, "ECHO", "by socket")
        self.assertEqual((status, output), (0, "by socket\n"))


class RedisBenchmark(frame.HubCase):
    """redis-benchmark, which checks nothing but that replies come: its other half is live_replay."""

    def bench(self, *words):
        status, output = run(frame.need("redis-benchmark"), "-p", self.hub.port, "-q", *words)
        self.assertEqual(status, 0, output)
        self.assertNotRegex(output, r"(?i)error|disconnect")
        self.assertIn("requests per second", output)

    def test_benchmark_of_verbs_on_fifty_connections(self):
        self.bench("-t", "ping,set,get,incr,mset", "-P", 16, "-c", 50, "-n", 20000, "-d", 200)

    def test_benchmark_publishes_to_a_subscriber_that_counts(self):
        subscriber = self.take(Resp(self.hub.port))
        subscriber.subscribe("bench")
        self.bench("-P", 16, "-c", 50, "-n", 20000, "publish", "bench", "x" * 90)
        for _ in range(20000):
            self.assertEqual(len(subscriber.message()), 90)

    def test_benchmark_by_socket_in_resp3_with_threads(self):
        self.bench("-3", "-t", "ping,set", "-n", 5000, "-c", 20)
        status, output = run(frame.need("redis-benchmark"), "-s", self.hub.socket_path, "-q", "-t", "set,get", "-n", 5000,
                             "--threads", 2, "-r", 1000)
        self.assertEqual(status, 0, output)

    def test_benchmark_without_keepalive_makes_a_connection_a_request(self):
        self.bench("-k", 0, "-t", "ping", "-n", 1000, "-c", 20)


class Hiredis(frame.HubCase):
    """The C library that most clients stand on; what it checks is in live_hiredis.c."""

    def test_hiredis_by_tcp_and_by_socket(self):
        path = os.path.join(os.environ.get("MILLRACE_BUILD", "."), "tests", "live_hiredis")
        if not os.access(path, os.X_OK):
            self.skipTest("live_hiredis is not built")
        for address in (str(self.hub.port), self.hub.socket_path):
            done = subprocess.run([path], env={**os.environ, "MILLRACE_ADDRESS": address}, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)


class Subscriptions(frame.HubCase):
    """Every way to subscribe, byte by byte."""

    def publish(self, channel, payload):
        with Resp(self.hub.port) as client:
            return client.call("PUBLISH", channel, payload)

    def test_every_channel_of_a_subscribe_is_registered_before_its_first_ack(self):
        names = [f"all.{i}" for i in range(200)]
        subscriber = self.take(Resp(self.hub.port))
        publisher = self.take(Resp(self.hub.port))
        subscriber.send("SUBSCRIBE", *names)
        self.assertEqual(subscriber.read(), [b"subscribe", b"all.0", 1])
        self.assertEqual(publisher.call("PUBLISH", names[-1], "last"), 1)
        for i in range(1, 200):
            self.assertEqual(subscriber.read(), [b"subscribe", names[i].encode(), i + 1])
        self.assertEqual(subscriber.read(), [b"message", b"all.199", b"last"])

    def test_patterns_and_channels_each_bring_their_message(self):
        subscriber = self.take(Resp(self.hub.port))
        self.assertEqual(subscriber.subscribe("p.one", "p.two"), [[b"subscribe", b"p.one", 1], [b"subscribe", b"p.two", 2]])
        self.assertEqual(subscriber.subscribe("p.*", "?.tw[n-p]", verb="PSUBSCRIBE"),
                         [[b"psubscribe", b"p.*", 3], [b"psubscribe", b"?.tw[n-p]", 4]])
        self.assertEqual(self.publish("p.two", "x"), 3)
        got = sorted((subscriber.read() for _ in range(3)), key=len)
        self.assertEqual(got[0], [b"message", b"p.two", b"x"])
        self.assertEqual(sorted(reply[1] for reply in got[1:]), [b"?.tw[n-p]", b"p.*"])
        self.assertEqual(subscriber.call("PUNSUBSCRIBE", "p.*"), [b"punsubscribe", b"p.*", 3])
        self.assertEqual(self.publish("p.three", "y"), 0)
        self.assertEqual(subscriber.call("UNSUBSCRIBE", "p.one"), [b"unsubscribe", b"p.one", 2])
        self.assertEqual(self.publish("p.one", "z"), 0)

    def test_several_channels_of_one_homeserver_keep_one_order(self):
        both = self.take(Resp(self.hub.port))
        both.subscribe("order.org", "order.org/USER_IP")
        one = self.take(Resp(self.hub.port))
        one.subscribe("order.org/USER_IP")
        publisher = self.take(Resp(self.hub.port))
        requests = [encode("PUBLISH", "order.org" + ("/USER_IP" if i % 3 == 0 else ""), i) for i in range(3000)]
        publisher.raw(b"".join(requests))
        self.assertEqual([int(both.message()) for _ in range(3000)], list(range(3000)))
        self.assertEqual([int(one.message()) for _ in range(1000)], list(range(0, 3000, 3)))
        self.assertEqual([publisher.read() for _ in range(6)], [2, 1, 1, 2, 1, 1])

    def test_shard_channels_are_apart_from_the_others(self):
        shard, plain = self.take(Resp(self.hub.port)), self.take(Resp(self.hub.port))
        self.assertEqual(shard.subscribe("apart", verb="SSUBSCRIBE"), [[b"ssubscribe", b"apart", 1]])
        plain.subscribe("apart")
        publisher = self.take(Resp(self.hub.port))
        self.assertEqual(publisher.call("SPUBLISH", "apart", "s"), 1)
        self.assertEqual(publisher.call("PUBLISH", "apart", "p"), 1)
        self.assertEqual(shard.read(), [b"smessage", b"apart", b"s"])
        self.assertEqual(plain.read(), [b"message", b"apart", b"p"])
        self.assertEqual(publisher.call("PUBSUB", "SHARDNUMSUB", "apart"), [b"apart", 1])

    def test_hello_3_while_subscribed_changes_the_form_of_what_follows(self):
        subscriber = self.take(Resp(self.hub.port))
        subscriber.subscribe("switch", "switch/more")
        subscriber.subscribe("swi*", verb="PSUBSCRIBE")
        self.assertEqual(self.publish("switch/more", "two"), 2)
        self.assertNotIsInstance(subscriber.read(), Push)
        self.assertNotIsInstance(subscriber.read(), Push)
        refused = subscriber.call("HELLO", 3)
        if isinstance(refused, RespError):  # as Redis has it: not in the middle of a subscription
            self.assertIn("HELLO", refused.upper())
            self.assertEqual(self.publish("switch", "still"), 2)
            subscriber.message()
            return
        self.assertEqual(refused[b"proto"], 3)
        self.assertEqual(self.publish("switch/more", "three"), 2)
        for _ in range(2):
            got = subscriber.read()
            self.assertIsInstance(got, Push)
            self.assertEqual(got[-1], b"three")
        self.assertEqual(subscriber.call("ECHO", "resp3 may speak"), b"resp3 may speak")
        self.assertIsInstance(subscriber.call("HELLO", 2), list)
        self.assertEqual(self.publish("switch", "back"), 2)
        got = [subscriber.read(), subscriber.read()]
        self.assertFalse([reply for reply in got if isinstance(reply, Push)])

    def test_a_resp2_subscriber_is_allowed_few_verbs_and_pings_its_own_way(self):
        subscriber = self.take(Resp(self.hub.port))
        subscriber.subscribe("few")
        self.assertEqual(subscriber.call("PING"), [b"pong", b""])
        self.assertEqual(subscriber.call("PING", "x"), [b"pong", b"x"])
        self.assertIn("only (P|S)SUBSCRIBE", subscriber.call("GET", "k"))
        self.assertEqual(subscriber.call("RESET"), "RESET")
        self.assertEqual(subscriber.call("PING"), "PONG")
        self.assertEqual(self.publish("few", "x"), 0)

    def test_replies_and_messages_of_a_resp3_client_stand_in_their_order(self):
        client = self.take(Resp(self.hub.port, resp=3))
        client.subscribe("mix")
        requests = []
        for i in range(500):
            requests += [encode("PUBLISH", "mix", i), encode("ECHO", f"e{i}")]
        client.raw(b"".join(requests))
        messages, replies = [], []
        while len(messages) < 500 or len(replies) < 1000:
            got = client.read()
            (messages if isinstance(got, Push) else replies).append(got)
        self.assertEqual([int(push[2]) for push in messages], list(range(500)))
        self.assertEqual(replies[1::2], [f"e{i}".encode() for i in range(500)])
        self.assertEqual(set(replies[0::2]), {1})

    def test_a_publisher_hears_itself_and_client_reply_off_is_silent(self):
        client = self.take(Resp(self.hub.port))
        client.send("CLIENT", "REPLY", "OFF")
        client.send("PUBLISH", "silent", "x")
        client.send("CLIENT", "REPLY", "ON")
        self.assertEqual(client.read(), "OK")
        client.send("CLIENT", "REPLY", "SKIP")
        client.send("ECHO", "skipped")
        self.assertEqual(client.call("ECHO", "heard"), b"heard")


class Passwords(frame.HubCase):
    """requirepass, by TCP and by socket, one argument and two; users and CONFIG SET of it."""

    directives = ("--requirepass", "ein langes pass", "--unixsocketperm", "700")

    def test_nothing_is_answered_before_the_password(self):
        client = self.take(Resp(self.hub.port))
        for words in (("PING",), ("GET", "k"), ("SUBSCRIBE", "c"), ("PUBLISH", "c", "x"), ("CONFIG", "GET", "*"),
                      ("FLUSHALL",), ("INFO",)):
            self.assertEqual(client.call(*words), "NOAUTH Authentication required.")
        self.assertRegex(client.call("HELLO", 3), "NOAUTH|HELLO must be called")
        self.assertEqual(client.call("AUTH", "wrong"),
                         "WRONGPASS invalid username-password pair or user is disabled.")
        self.assertIn("WRONGPASS", client.call("AUTH", "somebody", "ein langes pass"))
        self.assertIn("wrong number of arguments", client.call("AUTH"))
        self.assertEqual(client.call("AUTH", "ein langes pass"), "OK")
        self.assertEqual(client.call("PING"), "PONG")

    def test_user_default_hello_and_the_socket_take_it_too(self):
        client = self.take(Resp(self.hub.port))
        self.assertEqual(client.call("AUTH", "default", "ein langes pass"), "OK")
        client = self.take(Resp(self.hub.socket_path))
        self.assertIsInstance(client.call("HELLO", 3, "AUTH", "default", "ein langes pass", "SETNAME", "w"), dict)
        self.assertEqual(client.call("CLIENT", "GETNAME"), b"w")
        self.assertEqual(stat.S_IMODE(os.stat(self.hub.socket_path).st_mode), 0o700)

    def test_redis_cli_authenticates(self):
        cli = frame.need("redis-cli")
        words = ("-p", self.hub.port, "--no-auth-warning", "-a", "ein langes pass", "PING")
        self.assertEqual(run(cli, *words), (0, "PONG\n"))
        self.assertEqual(run(cli, "-s", self.hub.socket_path, "--user", "default", "--no-auth-warning", "--pass",
                             "ein langes pass", "PING"), (0, "PONG\n"))

    def test_a_changed_password_holds_for_those_who_come(self):
        client = self.take(Resp(self.hub.port, "ein langes pass"))
        self.assertEqual(client.call("CONFIG", "SET", "requirepass", "another"), "OK")
        newcomer = self.take(Resp(self.hub.port))
        self.assertIn("WRONGPASS", newcomer.call("AUTH", "ein langes pass"))
        self.assertEqual(newcomer.call("AUTH", "another"), "OK")
        self.assertEqual(client.call("PING"), "PONG")
        self.assertEqual(client.call("CONFIG", "SET", "requirepass", "ein langes pass"), "OK")

    def test_strangers_may_not_send_much(self):
        for request in (b"*11\r\n", b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"):
            stranger = self.take(Resp(self.hub.port))
            stranger.raw(request)
            self.assertRegex(stranger.read(), "unauthenticated (multi)?bulk length")
            self.assertEqual(stranger.rest(), b"")


class Clients(frame.HubCase):
    """CLIENT LIST, INFO, KILL, SETNAME, NO-EVICT and the like; maxclients; idle time-outs."""

    directives = ("--maxclients", "40")

    def list(self, client):
        rows = client.call("CLIENT", "LIST").decode().splitlines()
        return [dict(field.split("=", 1) for field in row.split(" ")) for row in rows]

    def test_client_list_tells_who_is_there(self):
        admin = self.take(Resp(self.hub.port))
        other = self.take(Resp(self.hub.socket_path))
        self.assertEqual(other.call("CLIENT", "SETNAME", "worker-1"), "OK")
        other.subscribe("a", "b")
        rows = {row["id"]: row for row in self.list(admin)}
        mine = rows[str(admin.call("CLIENT", "ID"))]
        self.assertEqual(mine["cmd"], "client|list")
        self.assertEqual(mine["addr"], "%s:%d" % admin.socket.getsockname())
        found = [row for row in rows.values() if row["name"] == "worker-1"]
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0]["sub"], "2")
        self.assertIn("P", found[0]["flags"])

    def test_client_kill_by_id_address_type_and_itself(self):
        admin = self.take(Resp(self.hub.port))
        victims = [self.take(Resp(self.hub.port)) for _ in range(3)]
        victims[2].subscribe("doomed")
        self.assertEqual(admin.call("CLIENT", "KILL", "ID", victims[0].call("CLIENT", "ID")), 1)
        self.assertEqual(victims[0].rest(), b"")
        self.assertEqual(admin.call("CLIENT", "KILL", "%s:%d" % victims[1].socket.getsockname()), "OK")
        self.assertEqual(victims[1].rest(), b"")
        self.assertEqual(admin.call("CLIENT", "KILL", "TYPE", "pubsub"), 1)
        self.assertEqual(victims[2].rest(), b"")
        self.assertIn("No such client", admin.call("CLIENT", "KILL", "1.2.3.4:5"))
        self.assertEqual(admin.call("CLIENT", "KILL", "ID", admin.call("CLIENT", "ID"), "SKIPME", "no"), 1)
        self.assertEqual(admin.rest(), b"")

    def test_maxclients_is_said_and_places_come_free(self):
        admin = self.take(Resp(self.hub.port))
        wait_for(lambda: len(self.list(admin)) == 1, "earlier connections to end")
        others = [self.take(Resp(self.hub.port)) for _ in range(39)]
        for client in others:
            self.assertEqual(client.call("PING"), "PONG")
        for address in (self.hub.port, self.hub.socket_path):
            with Resp(address) as refused:
                self.assertEqual(refused.rest(), b"-ERR max number of clients reached\r\n")
        with Resp(self.hub.line_port) as refused:
            self.assertEqual(refused.rest(), b"ERROR max number of clients reached\n")
        self.assertEqual(self.hub.metrics()["millrace_connections_refused_total"], 3)
        for client in others:
            client.close()
        wait_for(lambda: len(self.list(admin)) == 1, "the others to be gone")
        with Resp(self.hub.port) as late:
            self.assertEqual(late.call("PING"), "PONG")

    def test_an_idle_client_is_closed_and_a_subscriber_is_not(self):
        admin = self.take(Resp(self.hub.port))
        self.assertEqual(admin.call("CONFIG", "SET", "timeout", "1"), "OK")
        self.addCleanup(lambda: Resp(self.hub.port).call("CONFIG", "SET", "timeout", "0"))
        idle, subscriber = self.take(Resp(self.hub.port)), self.take(Resp(self.hub.port))
        subscriber.subscribe("patient")
        began = time.monotonic()
        self.assertEqual(idle.rest(), b"")
        self.assertGreater(time.monotonic() - began, 0.8)
        self.assertEqual(subscriber.call("PING"), [b"pong", b""])

    def test_a_timeout_holds_for_those_who_are_there_and_can_be_taken_back(self):
        admin, there = self.take(Resp(self.hub.port)), self.take(Resp(self.hub.port))
        self.assertEqual(admin.call("CONFIG", "SET", "timeout", "1"), "OK")
        self.assertEqual(there.rest(), b"")
        admin = self.take(Resp(self.hub.port))
        self.assertEqual(admin.call("CONFIG", "SET", "timeout", "0"), "OK")
        before = self.hub.metrics()["millrace_turns_total"]
        with self.assertRaises(TimeoutError):
            with Resp(self.hub.port, seconds=0.3) as idle:
                idle.read()
        self.assertLess(self.hub.metrics()["millrace_turns_total"] - before, 50, "timers that fire without end")


class Configuration(frame.HubCase):
    """CONFIG GET and SET of all that can be set."""

    changed = {"timeout": "7", "requirepass": "", "line-writers": "master w2", "line-length-max": "20000",
               "line-ping-interval": "4s", "line-ping-timeout": "30s", "user-sync-expiry": "6m", "batch-rows-max": "500",
               "batch-bytes-max": "1mb", "batch-age-max": "30s", "maxmemory": "32mb", "maxmemory-policy": "allkeys-lru",
               "log-bytes-max": "64mb", "client-output-buffer-limit": "pubsub 16mb 4mb 30",
               "client-query-buffer-limit": "2mb", "proto-max-bulk-len": "2mb", "send-bytes-max": "64kb",
               "loglevel": "verbose", "shutdown-timeout": "3s"}

    def pairs(self, client, pattern):
        reply = client.call("CONFIG", "GET", pattern)
        return dict(zip([word.decode() for word in reply[0::2]], [word.decode() for word in reply[1::2]]))

    def test_each_directive_takes_its_own_value_again_or_says_it_is_for_the_start(self):
        client = self.take(Resp(self.hub.port))
        before = self.pairs(client, "*")
        self.assertGreater(len(before), 40)
        mutable = set()
        for name, value in before.items():
            reply = client.call("CONFIG", "SET", name, value)
            if reply == "OK":
                mutable.add(name)
            else:
                self.assertRegex(reply, "ERR (CONFIG SET failed|Unknown option)")
        self.assertEqual(mutable - {"save", "appendonly", "notify-keyspace-events"}, set(self.changed))
        self.assertEqual(self.pairs(client, "*"), before)

    def test_every_mutable_directive_changes_and_changes_back(self):
        client = self.take(Resp(self.hub.port))
        for name, value in self.changed.items():
            before = self.pairs(client, name)[name]
            self.assertEqual(client.call("CONFIG", "SET", name, value), "OK", name)
            if value:
                self.assertNotEqual(self.pairs(client, name)[name], before, name)
            self.assertEqual(client.call("CONFIG", "SET", name, before), "OK", name)
            self.assertEqual(self.pairs(client, name)[name], before, name)

    def test_nonsense_is_refused_and_changes_nothing(self):
        client = self.take(Resp(self.hub.port))
        for name, value in (("timeout", "-1"), ("maxmemory", "lots"), ("maxmemory-policy", "best"),
                            ("client-output-buffer-limit", "pubsub 1mb"), ("line-ping-timeout", "1s"),
                            ("loglevel", "\x00"), ("port", "99999"), ("nonsense", "1")):
            before = self.pairs(client, name)
            self.assertIsInstance(client.call("CONFIG", "SET", name, value), RespError, name)
            self.assertEqual(self.pairs(client, name), before)

    def test_the_level_of_the_log_can_be_changed_at_run_time(self):
        client = self.take(Resp(self.hub.port))
        self.assertEqual(client.call("CONFIG", "SET", "loglevel", "verbose"), "OK")
        with Resp(self.hub.port) as guest:
            guest.call("CLIENT", "SETNAME", "seen-in-verbose")
        self.hub.wait_log("connection ends .*seen-in-verbose")
        self.assertEqual(client.call("CONFIG", "SET", "loglevel", "notice"), "OK")
        with Resp(self.hub.port) as guest:
            guest.call("CLIENT", "SETNAME", "unseen-in-notice")
        wait_for(lambda: b"unseen-in-notice" not in client.call("CLIENT", "LIST"), "the guest to be gone")
        self.assertNotIn("unseen-in-notice", self.hub.log())

    def test_info_tells_where_it_listens(self):
        client = self.take(Resp(self.hub.port))
        self.assertIn(f"tcp_port:{self.hub.port}\r\n", client.call("INFO", "server").decode())


class Sizes(frame.HubCase):
    """Large values and payloads: at a limit all is well, above it a sentence comes and others are unharmed."""

    directives = ("--proto-max-bulk-len", "2mb", "--client-query-buffer-limit", "4mb", "--maxmemory", "16mb")

    def test_a_megabyte_is_kept_and_given_back(self):
        client = self.take(Resp(self.hub.port))
        value = os.urandom(MB)
        self.assertEqual(client.call("SET", "big", value, "PX", 60000), "OK")
        self.assertEqual(client.call("GET", "big"), value)
        self.assertEqual(client.call("DEL", "big"), 1)

    def test_a_megabyte_is_published_to_all(self):
        subscribers = [self.take(Resp(self.hub.port)), self.take(Resp(self.hub.socket_path, resp=3))]
        for subscriber in subscribers:
            subscriber.subscribe("big")
        payloads = [os.urandom(MB - i) for i in range(8)]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            publisher = self.take(Resp(self.hub.port))
            sent = pool.submit(publisher.raw, b"".join(encode("PUBLISH", "big", p) for p in payloads))
            for subscriber in subscribers:
                self.assertEqual([subscriber.message() for _ in payloads], payloads)
            sent.result()
        self.assertEqual([publisher.read() for _ in payloads], [2] * 8)

    def test_at_the_limit_it_is_taken_above_it_is_refused(self):
        client = self.take(Resp(self.hub.port))
        self.assertEqual(client.call("SET", "limit", b"x" * (2 * MB)), "OK")
        self.assertEqual(client.call("STRLEN", "limit"), 2 * MB)
        self.assertEqual(client.call("DEL", "limit"), 1)
        other = self.take(Resp(self.hub.port))
        other.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (2 * MB + 1))
        self.assertEqual(other.read(), "ERR Protocol error: invalid bulk length")
        self.assertEqual(other.rest(), b"")
        self.assertEqual(client.call("PING"), "PONG")

    def test_a_request_above_the_query_buffer_closes_its_connection_only(self):
        client, greedy = self.take(Resp(self.hub.port)), self.take(Resp(self.hub.port))
        piece = b"$%d\r\n" % MB + b"y" * MB + b"\r\n"
        with self.assertRaises((Closed, OSError)):
            greedy.raw(b"*9\r\n" + piece * 4 + piece[:MB // 2])
            greedy.read()
        self.assertEqual(client.call("PING"), "PONG")
        self.hub.wait_log("client-query-buffer-limit")

    def test_a_full_cache_refuses_or_evicts_and_never_grows(self):
        client = self.take(Resp(self.hub.port))
        for policy in ("volatile-ttl", "noeviction", "allkeys-lru"):
            self.assertEqual(client.call("CONFIG", "SET", "maxmemory-policy", policy), "OK")
            for i in range(40):
                reply = client.call("SET", f"fill:{i}", b"z" * MB, "PX", 60000 + i)
                self.assertTrue(reply == "OK" or reply.startswith("OOM command not allowed"), reply)
                self.assertTrue(reply == "OK" or policy == "noeviction", (policy, reply))
            self.assertLessEqual(self.hub.metrics()["millrace_cache_bytes"], 16 * MB)
            client.call("FLUSHALL")
        client.call("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")


class Pipelines(frame.HubCase):
    """Many requests in one write, in many pieces, and by a client that has said its last word."""

    def test_ten_thousand_requests_in_one_write_are_answered_in_order(self):
        client = self.take(Resp(self.hub.port))
        requests = b"".join(encode("ECHO", i) for i in range(10000))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sent = pool.submit(client.raw, requests)
            self.assertEqual([int(client.read()) for _ in range(10000)], list(range(10000)))
            sent.result()

    def test_pipelines_of_mixed_verbs_on_many_connections(self):
        def play(number):
            with Resp(self.hub.port) as client:
                requests, expected = [], []
                for i in range(2500):
                    key = f"mixed:{number}:{i % 7}"
                    requests += [encode("SET", key, i), encode("GET", key), encode("NOPE"), b"PING inline\r\n"]
                    expected += ["OK", str(i).encode(), None, b"inline"]
                client.raw(b"".join(requests))
                got = [client.read() for _ in expected]
                return all(g == e or (e is None and g.startswith("ERR unknown command")) for g, e in zip(got, expected))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertEqual(list(pool.map(play, range(8))), [True] * 8)

    def test_requests_byte_by_byte_are_understood(self):
        client = self.take(Resp(self.hub.port))
        for byte in encode("SET", "slow", "value") + b"get slow\r\n":
            client.raw(bytes([byte]))
        self.assertEqual([client.read(), client.read()], ["OK", b"value"])

    def test_a_half_closed_client_gets_all_its_answers(self):
        for address in (self.hub.port, self.hub.socket_path):
            client = self.take(Resp(address))
            client.raw(b"".join(encode("ECHO", f"{i:0100d}") for i in range(2000)))
            client.half_close()
            self.assertEqual([int(client.read()) for _ in range(2000)], list(range(2000)))
            self.assertEqual(client.rest(), b"")

    def test_quit_is_answered_and_what_follows_it_is_not(self):
        client = self.take(Resp(self.hub.port))
        client.raw(encode("PING") + encode("QUIT") + encode("SET", "after", "quit"))
        self.assertEqual(client.rest(), b"+PONG\r\n+OK\r\n")
        with Resp(self.hub.port) as other:
            self.assertIsNone(other.call("GET", "after"))

    def test_one_who_never_reads_its_replies_is_cut_off_at_the_limit(self):
        client = self.take(Resp(self.hub.port))
        self.assertEqual(client.call("CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"), "OK")
        client.call("SET", "fat", b"f" * 100000)
        greedy = Resp(self.hub.port, seconds=2)
        self.addCleanup(greedy.close)
        with self.assertRaises((Closed, OSError)):
            for _ in range(400):
                greedy.raw(encode("GET", "fat") * 10)
            greedy.rest()
            raise Closed()
        self.hub.wait_log("connection ends .*client-output-buffer-limit")
        self.assertEqual(client.call("PING"), "PONG")
        self.assertEqual(client.call("CONFIG", "SET", "client-output-buffer-limit", "normal 128mb 0 0"), "OK")


class SlowConsumers(frame.OwnHubCase):
    """A subscriber that does not read: dropped at its limit, or what its backlog costs slows publishers."""

    def stuck(self, hub, channel, resp=2):
        """A subscriber whose kernel takes little, and which reads nothing."""
        client = self.take(Resp(hub.socket_path, resp=resp))
        client.subscribe(channel)
        return client

    def dropped_at_the_hard_limit(self, limits, pattern):
        hub = self.make("--client-output-buffer-limit", "pubsub", *limits, store=False).start()
        victim = self.stuck(hub, "slow")
        publisher = self.take(Resp(hub.port))
        good = self.take(Resp(hub.port, resp=3))
        good.subscribe("slow")
        sent = 0
        deadline = time.monotonic() + SECONDS
        while hub.metrics()['millrace_connections_dropped_total{reason="output"}'] == 0:
            self.assertLess(time.monotonic(), deadline, "the slow one is not dropped")
            for _ in range(20):
                publisher.call("PUBLISH", "slow", b"%d:" % sent + b"m" * 20000)
                got = good.message()
                self.assertTrue(got.startswith(b"%d:" % sent))
                sent += 1
        hub.wait_log(pattern)
        rest = victim.rest()
        self.assertLess(len(rest), sent * 20000)
        self.assertEqual(publisher.call("PUBSUB", "NUMSUB", "slow"), [b"slow", 1])
        hub.stop()
        return sent

    def test_a_slow_subscriber_is_dropped_at_the_hard_limit_and_others_are_unharmed(self):
        self.dropped_at_the_hard_limit(
            ("1mb", "0", "0"), r"warning connection ends conn=\"resp unix:\S* pid=\d+ #\d+\" "
            r"why=\"too far behind: client-output-buffer-limit\" behind_bytes=\d{7,}")

    def test_a_slow_subscriber_is_dropped_after_its_time_over_the_soft_limit(self):
        began = time.monotonic()
        self.dropped_at_the_hard_limit(("0", "500kb", "1"), "client-output-buffer-limit")
        self.assertGreater(time.monotonic() - began, 1)

    def test_publishers_wait_at_the_logs_limit_and_go_on_when_the_slow_have_read(self):
        hub = self.make("--log-bytes-max", "16mb", "--client-output-buffer-limit", "pubsub", "0", "0", "0",
                        store=False).start()
        slow, good = self.stuck(hub, "full"), self.take(Resp(hub.port))
        good.subscribe("full")
        publisher = self.take(Resp(hub.port))
        count = 400  # of 100 kB: 40 MB
        payloads = [b"%06d" % i + b"n" * 100000 for i in range(count)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            sent = pool.submit(publisher.raw, b"".join(encode("PUBLISH", "full", p) for p in payloads))
            heard = pool.submit(lambda: [int(good.message()[:6]) for _ in range(count)])
            hub.wait_metric("millrace_publishers_paused_total", lambda n: n > 0)
            self.assertFalse(heard.done())
            self.assertLess(hub.metrics()["millrace_log_bytes"], 24 * MB)
            with Resp(hub.port) as other:  # whoever asks for something else is not held up
                self.assertEqual(other.call("PING"), "PONG")
            self.assertEqual([int(slow.message()[:6]) for _ in range(count)], list(range(count)))
            self.assertEqual(heard.result(SECONDS), list(range(count)))
            sent.result(SECONDS)
        self.assertEqual([publisher.read() for _ in range(count)], [2] * count)
        hub.wait_metric("millrace_log_bytes", lambda n: n < MB)
        hub.stop()


class Load(frame.HubCase):
    """Many come and go at once while one order is kept."""

    def test_subscribers_that_come_and_go_see_a_run_without_gaps(self):
        publisher = self.take(Resp(self.hub.port))
        ended = []

        def publish():
            number = 0
            while not ended:
                publisher.raw(b"".join(encode("PUBLISH", "run", number + i) for i in range(50)))
                for _ in range(50):
                    publisher.read()
                number += 50

        def visit(visitor):
            for turn in range(4):
                with Resp(self.hub.port if visitor % 2 else self.hub.socket_path, resp=2 + (visitor + turn) % 2) as client:
                    client.subscribe("run")
                    first = int(client.message())
                    for i in range(1, 400):
                        if int(client.message()) != first + i:
                            return False
            return True

        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            publishing = pool.submit(publish)
            visits = list(pool.map(visit, range(8)))
            ended.append(True)
            publishing.result(SECONDS)
        self.assertEqual(visits, [True] * 8)


if __name__ == "__main__":
    frame.main()
