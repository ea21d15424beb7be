"""A network that loses, repeats and swaps datagrams, by a seed: a UDP relay between clients and one
server. What it does is the same for the same seed and the same datagrams in the same order.
"""

import random
import select
import socket
import threading
import time

UP, DOWN = "up", "down"
PATIENCE = 0.02     # how long a swapped datagram waits for the one that overtakes it, in seconds


class Fate:
    """What happens to the datagrams of one direction. Chances are 0 to 1; `plan` is a list of words
    ("pass", "drop", "twice", "swap") for the first datagrams, before chance rules."""

    def __init__(self, seed, drop=0.0, twice=0.0, swap=0.0, plan=()):
        self.random = random.Random(seed)
        self.drop, self.twice, self.swap, self.plan = drop, twice, swap, list(plan)
        self.counts = {"pass": 0, "drop": 0, "twice": 0, "swap": 0}

    def decide(self):
        if self.plan:
            word = self.plan.pop(0)
        else:
            dice = self.random.random()
            word = "pass"
            for name in "drop", "twice", "swap":
                if dice < getattr(self, name):
                    word = name
                    break
                dice -= getattr(self, name)
        self.counts[word] += 1
        return word


class Relay:
    """Listens on `port` of 127.0.0.1 and passes on to the server's port."""

    def __init__(self, server_port, up=None, down=None):
        self.server = ("127.0.0.1", server_port)
        self.fates = {UP: up or Fate(0), DOWN: down or Fate(0)}
        self.front = self._socket()
        self.port = self.front.getsockname()[1]
        self.paths = {}     # client address -> socket towards the server
        self.held = {}      # (direction, client address) -> (until, datagram)
        self.seen = []      # (time, direction, fate, datagram): what came in
        self.lock = threading.Lock()
        self.wake, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    @staticmethod
    def _socket():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind(("127.0.0.1", 0))
        return made

    def log(self, direction=None):
        """What came in so far: (time, direction, fate, datagram)."""
        with self.lock:
            return [entry for entry in self.seen if direction in (None, entry[1])]

    def count(self, direction, word):
        return self.fates[direction].counts[word]

    def close(self):
        self.wake.send(b"x")
        self.thread.join(5)
        for each in [self.front, self.wake, self.woken, *self.paths.values()]:
            each.close()

    def _run(self):
        while True:
            now = time.monotonic()
            for key in [k for k, (until, _) in self.held.items() if until <= now]:
                self._pass(key, self.held.pop(key)[1])
            soonest = min((until for until, _ in self.held.values()), default=None)
            ready = select.select([self.front, self.woken, *self.paths.values()], [], [],
                                  None if soonest is None else max(0, soonest - now))[0]
            if self.woken in ready:
                return
            for each in ready:
                self._read(each)

    def _read(self, source):
        try:
            data, address = source.recvfrom(65536)
        except ConnectionRefusedError:
            return
        if source is self.front:
            if address not in self.paths:
                self.paths[address] = self._socket()
            key = (UP, address)
        else:
            key = (DOWN, next(a for a, s in self.paths.items() if s is source))
        fate = self.fates[key[0]].decide()
        with self.lock:
            self.seen.append((time.monotonic(), key[0], fate, data))
        if fate == "swap" and key not in self.held:
            self.held[key] = (time.monotonic() + PATIENCE, data)
            return
        for _ in range({"drop": 0, "twice": 2}.get(fate, 1)):
            self._pass(key, data)
        if key in self.held and fate != "drop":
            self._pass(key, self.held.pop(key)[1])

    def _pass(self, key, data):
        direction, client = key
        try:
            if direction == UP:
                self.paths[client].sendto(data, self.server)
            else:
                self.front.sendto(data, client)
        except OSError:
            pass    # a peer that is gone; a network would not tell either
