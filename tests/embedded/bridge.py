#!/usr/bin/env python3
"""Runs a firmware on QEMU's mps2-an386 and joins its serial line to the network.

    bridge.py udp FIRMWARE [PEER-PORT]    its datagrams go to and from a UDP socket on 127.0.0.1
    bridge.py tcp FIRMWARE HOST PORT      its stream goes to a TCP server

The line carries SLIP frames (RFC 1055): a byte that names the path, then the data. For datagrams each remote
address has a path of its own; a peer named by its port on 127.0.0.1 has path 0. For a stream path 0 is its bytes, 1 asks for the connection and tells that it is
there, 2 ends it. Path 255 is text of the firmware's; its first one, `ready`, must come within the deadline.

Prints on standard output `listening coap://127.0.0.1:PORT`, `board: TEXT` for each text, `board: fault` when the
firmware has trapped (and then ends with 1). SIGTERM ends it with 0.
"""

import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

DEADLINE_S = 30  # for QEMU to connect and for the firmware to start
FRAME_MAX = 1280
CHUNK = 100  # bytes of a stream in one frame
BACKLOG = 65536  # unsent bytes to the board; datagrams beyond are dropped, as a full queue would
STREAM, OPEN, CLOSE, TEXT = 0, 1, 2, 255
PATHS = 200  # remote addresses at once; the one that was silent longest makes room
END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD


def slip(path, data):
    """One frame as it goes over the line."""
    out = bytearray()
    for byte in bytes([path]) + data:
        if byte in (END, ESC):
            out += bytes([ESC, ESC_END if byte == END else ESC_ESC])
        else:
            out.append(byte)
    out.append(END)
    return bytes(out)


class Frames:
    """Takes a line's bytes apart."""

    def __init__(self):
        self.frame, self.escaped = bytearray(), False

    def take(self, data):
        for byte in data:
            if byte == END:
                if self.frame:
                    yield self.frame[0], bytes(self.frame[1:])
                self.frame, self.escaped = bytearray(), False
            elif byte == ESC:
                self.escaped = True
            else:
                if self.escaped:
                    byte = END if byte == ESC_END else ESC
                self.escaped = False
                self.frame.append(byte)


class Board:
    """QEMU with its serial line."""

    def __init__(self, firmware):
        self.folder = tempfile.mkdtemp(prefix="trefoil-board-")
        path = os.path.join(self.folder, "serial")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(DEADLINE_S)
            command = ["qemu-system-arm", "-M", "mps2-an386", "-kernel", firmware, "-nographic", "-monitor", "none",
                       "-chardev", f"socket,id=line,path={path}", "-serial", "chardev:line"]
            if shutil.which("setpriv"):
                command = ["setpriv", "--pdeathsig", "KILL"] + command
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            try:
                self.line = listener.accept()[0]
            except OSError:
                self.stop()
                sys.exit("bridge.py: QEMU did not open its serial line")
        self.line.setblocking(False)
        self.frames, self.unsent = Frames(), bytearray()

    def send(self, path, data=b""):
        self.unsent += slip(path, data)
        self.flush()

    def flush(self):
        try:
            while self.unsent:
                del self.unsent[: self.line.send(self.unsent)]
        except BlockingIOError:
            pass

    def receive(self):
        """The frames that have come in; None: the line has ended."""
        try:
            data = self.line.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        return list(self.frames.take(data)) if data else None

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Datagrams:
    """The board's datagrams on a UDP socket."""

    def __init__(self, board, peer_port):
        self.board = board
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.peers = {}  # address: path, the one heard last at the end
        if peer_port:
            self.path_of(("127.0.0.1", peer_port))

    def ready(self):
        print("listening coap://127.0.0.1:%d" % self.socket.getsockname()[1], flush=True)

    def path_of(self, address):
        path = self.peers.pop(address, None)
        if path is None:
            path = len(self.peers)
            if path == PATHS:
                path = self.peers.pop(next(iter(self.peers)))
        self.peers[address] = path
        return path

    def from_network(self):
        try:
            data, address = self.socket.recvfrom(65536)
        except OSError:  # also what ICMP says of an earlier one
            return
        if len(data) < FRAME_MAX and len(self.board.unsent) < BACKLOG:
            self.board.send(self.path_of(address), data)

    def from_board(self, path, data):
        for address, known in self.peers.items():
            if known == path:
                try:
                    self.socket.sendto(data, address)
                except OSError:
                    pass  # lost, as datagrams may be


class Stream:
    """The board's stream on a TCP connection."""

    def __init__(self, board, host, port):
        self.board, self.address, self.socket = board, (host, port), None
        self.selector = None

    def ready(self):
        pass

    def close(self):
        if self.socket:
            self.selector.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def from_network(self):
        try:
            data = self.socket.recv(4096)
        except OSError:
            data = b""
        if not data:
            self.close()
            self.board.send(CLOSE)
        for at in range(0, len(data), CHUNK):
            self.board.send(STREAM, data[at : at + CHUNK])

    def from_board(self, path, data):
        try:
            if path == OPEN and not self.socket:
                self.socket = socket.create_connection(self.address, DEADLINE_S)
                self.selector.register(self.socket, selectors.EVENT_READ, self.from_network)
                self.board.send(OPEN)
            elif path == STREAM and self.socket:
                self.socket.sendall(data)
            elif path == CLOSE:
                self.close()
        except OSError:
            self.close()
            self.board.send(CLOSE)


def on_text(text, network):
    """False if it is the firmware's last word."""
    if text == "ready":
        network.ready()
    print("board: " + text, flush=True)
    return text != "fault"


def run(board, network):
    """Until the line ends, or the firmware traps: 1. SIGTERM ends it from outside."""
    deadline = time.monotonic() + DEADLINE_S
    started = False
    with selectors.DefaultSelector() as selector:
        selector.register(board.line, selectors.EVENT_READ)
        network.selector = selector
        if network.socket:
            selector.register(network.socket, selectors.EVENT_READ, network.from_network)
        while True:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if board.unsent else 0)
            selector.modify(board.line, events)
            left = None if started else deadline - time.monotonic()
            ready = selector.select(left)
            if not ready and not started:
                print("bridge.py: the firmware does not start", file=sys.stderr)
                return 1
            board.flush()
            for key, _ in ready:
                if key.data:
                    key.data()
            frames = board.receive()
            if frames is None:
                return 1
            for path, data in frames:
                if path != TEXT:
                    network.from_board(path, data)
                    continue
                started = True
                if not on_text(data.decode("utf-8", "replace"), network):
                    return 1


def main():
    args = sys.argv[1:]
    if len(args) < 2 or args[0] not in ("udp", "tcp") or (args[0] == "tcp" and len(args) != 4):
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    board = Board(args[1])
    try:
        if args[0] == "udp":
            network = Datagrams(board, int(args[2]) if len(args) > 2 else 0)
        else:
            network = Stream(board, args[2], int(args[3]))
        return run(board, network)
    finally:
        board.stop()


if __name__ == "__main__":
    sys.exit(main())
