"""CoAP messages, written from RFC 7252 and its companions without a look at Trefoil's own codec, a
raw client of them, and the broker with a CoAP listener. A lossy network is in coap_relay.py.
"""

import itertools
import os
import select
import socket
import time

from broker import DEADLINE, SLOW, Broker, BrokerCase, free_port

CON, NON, ACK, RST = range(4)
TYPES = ("CON", "NON", "ACK", "RST")
EMPTY, GET, POST, PUT, DELETE, FETCH, PATCH, IPATCH = range(8)
METHODS = ("empty", "GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH")

IF_MATCH, URI_HOST, ETAG, IF_NONE_MATCH, OBSERVE, URI_PORT, LOCATION_PATH = 1, 3, 4, 5, 6, 7, 8
URI_PATH, CONTENT_FORMAT, MAX_AGE, URI_QUERY, HOP_LIMIT, ACCEPT = 11, 12, 14, 15, 16, 17
LOCATION_QUERY, BLOCK2, BLOCK1, SIZE2, PROXY_URI, PROXY_SCHEME, SIZE1 = 20, 23, 27, 28, 35, 39, 60
ECHO, NO_RESPONSE, REQUEST_TAG = 252, 258, 292

TEXT, LINKS, XML, OCTETS, JSON, CBOR, JSON_PATCH, MERGE_PATCH = 0, 40, 41, 42, 50, 60, 51, 52


def code(text):
    """The number of "2.05"."""
    kind, detail = str(text).split(".")
    return int(kind) << 5 | int(detail)


CREATED, DELETED, VALID, CHANGED, CONTENT, CONTINUE = map(
    code, ("2.01", "2.02", "2.03", "2.04", "2.05", "2.31"))
BAD_REQUEST, BAD_OPTION, NOT_FOUND, NOT_ALLOWED, NOT_ACCEPTABLE, INCOMPLETE, CONFLICT, \
    PRECONDITION, TOO_LARGE, BAD_FORMAT, UNPROCESSABLE, PROXYING = map(
        code, ("4.00", "4.02", "4.04", "4.05", "4.06", "4.08", "4.09", "4.12", "4.13", "4.15",
               "4.22", "5.05"))


class CoapError(AssertionError):
    """What came is not a well-formed message, or not what the specifications allow."""


def uint(value):
    """The shortest form of an unsigned integer (3.2)."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def number(data):
    return int.from_bytes(data, "big")


def block(num, more, szx):
    """The value of a Block1 or Block2 option (RFC 7959 2.2)."""
    return uint(num << 4 | (8 if more else 0) | szx)


def path(text):
    """The Uri-Path options of a/b/c; each segment literally."""
    return [(URI_PATH, segment.encode()) for segment in text.strip("/").split("/")] if text else []


def query(*arguments):
    return [(URI_QUERY, argument.encode()) for argument in arguments]


def _extended(value):
    """Nibble and extension of an option's delta or length (3.1)."""
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes([value - 13])
    return 14, (value - 269).to_bytes(2, "big")


class Message:
    """One message; options are (number, value) in any order, encoded in the right one."""

    def __init__(self, kind, what, mid, token=b"", options=(), payload=b""):
        self.type, self.code, self.mid, self.token = kind, what, mid, token
        self.options, self.payload = list(options), payload
        self.raw = None

    def encode(self):
        out = bytearray([1 << 6 | self.type << 4 | len(self.token), self.code])
        out += self.mid.to_bytes(2, "big") + self.token
        last = 0
        for which, value in sorted(self.options, key=lambda option: option[0]):
            (delta, more_delta), (size, more_size) = _extended(which - last), _extended(len(value))
            out.append(delta << 4 | size)
            out += more_delta + more_size + value
            last = which
        if self.payload:
            out += b"\xff" + self.payload
        return bytes(out)

    def all(self, which):
        return [value for number_, value in self.options if number_ == which]

    def has(self, which):
        return bool(self.all(which))

    def option(self, which):
        """The value of an option that may be there once; None if it is not."""
        values = self.all(which)
        if len(values) > 1:
            raise CoapError("option %d is there %d times in %s" % (which, len(values), self))
        return values[0] if values else None

    def uint(self, which):
        value = self.option(which)
        return None if value is None else number(value)

    def block(self, which):
        """(num, more, szx) of a block option, or None."""
        value = self.uint(which)
        return None if value is None else (value >> 4, bool(value & 8), value & 7)

    def texts(self, which):
        return [value.decode() for value in self.all(which)]

    @property
    def text(self):
        return self.payload.decode()

    @property
    def name(self):
        return METHODS[self.code] if self.code < 8 else "%d.%02d" % (self.code >> 5, self.code & 31)

    def __str__(self):
        options = " ".join("%d:%s" % (which, value.hex()) for which, value in self.options)
        return "%s %s mid=%04x token=%s [%s] %r" % (
            TYPES[self.type], self.name, self.mid, self.token.hex(), options, self.payload[:80])

    __repr__ = __str__


LENGTHS = {IF_MATCH: (0, 8), URI_HOST: (1, 255), ETAG: (1, 8), IF_NONE_MATCH: (0, 0),
           OBSERVE: (0, 3), URI_PORT: (0, 2), LOCATION_PATH: (0, 255), URI_PATH: (0, 255),
           CONTENT_FORMAT: (0, 2),
           MAX_AGE: (0, 4), URI_QUERY: (0, 255), HOP_LIMIT: (1, 1), ACCEPT: (0, 2),
           LOCATION_QUERY: (0, 255), BLOCK2: (0, 3), BLOCK1: (0, 3), SIZE2: (0, 4),
           PROXY_URI: (1, 1034), PROXY_SCHEME: (1, 255), SIZE1: (0, 4), ECHO: (1, 40),
           NO_RESPONSE: (0, 1), REQUEST_TAG: (0, 8)}
INTEGERS = (OBSERVE, URI_PORT, CONTENT_FORMAT, MAX_AGE, ACCEPT, BLOCK2, BLOCK1, SIZE2, SIZE1,
            NO_RESPONSE)


def _piece(data, at, nibble):
    """The value of an option nibble and where its extension ends."""
    if nibble == 15:
        raise CoapError("option nibble 15 in %s" % data.hex())
    size = {13: 1, 14: 2}.get(nibble, 0)
    if at + size > len(data):
        raise CoapError("truncated option extension in %s" % data.hex())
    return {0: nibble, 1: 13, 2: 269}[size] + number(data[at:at + size]), at + size


def decode(data):
    """A datagram as a message, strictly: what Trefoil sends has to be right in all of this."""
    if len(data) < 4 or data[0] >> 6 != 1:
        raise CoapError("no CoAP: %s" % data.hex())
    length = data[0] & 15
    if length > 8 or 4 + length > len(data):
        raise CoapError("token length %d in %s" % (length, data.hex()))
    message = Message(data[0] >> 4 & 3, data[1], number(data[2:4]), data[4:4 + length])
    message.raw = data
    if message.code == 0 and len(data) > 4:
        raise CoapError("bytes behind an empty message: %s" % data.hex())
    if message.code == 0 and message.type == NON:
        raise CoapError("an empty NON message: %s" % data.hex())
    if message.type == RST and message.code != 0:
        raise CoapError("a RST that is not empty: %s" % data.hex())
    if message.code >> 5 in (1, 3, 6, 7):
        raise CoapError("reserved code class: %s" % data.hex())
    at, which = 4 + length, 0
    while at < len(data) and data[at] != 0xff:
        head = data[at]
        delta, at = _piece(data, at + 1, head >> 4)
        size, at = _piece(data, at, head & 15)
        which += delta
        if which > 65535 or at + size > len(data):
            raise CoapError("option past the end: %s" % data.hex())
        _check_option(which, data[at:at + size], data)
        message.options.append((which, data[at:at + size]))
        at += size
    if at < len(data):
        message.payload = data[at + 1:]
        if not message.payload:
            raise CoapError("payload marker and no payload: %s" % data.hex())
    return message


def _check_option(which, value, data):
    low, high = LENGTHS.get(which, (0, 65804))
    if not low <= len(value) <= high:
        raise CoapError("option %d of %d bytes in %s" % (which, len(value), data.hex()))
    if which in INTEGERS and value[:1] == b"\0":
        # 3.2 lets a receiver take leading zeros; a sender does without.
        raise CoapError("option %d is not the shortest: %s" % (which, data.hex()))


_seeds = itertools.count(1)


class Client:
    """One UDP endpoint that talks to one server. Message ids count up from a start of its own."""

    def __init__(self, port, host="127.0.0.1", local=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                                    socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if local:
            self.socket.bind(local)
        self.socket.connect((host, port))
        start = number(os.urandom(2))
        self.mids = (i & 0xffff for i in itertools.count(start))
        self.tokens = (bytes([0xc0]) + next(_seeds).to_bytes(2, "big") + bytes([i & 0xff])
                       for i in itertools.count(1))
        self.inbox = []
        self.replies = {}   # message id of a peer's CON -> our ACK or RST, None while there is none
        self.prompt = False     # acknowledge each CON as it comes, not when it is asked for
        self.patience = 1.0 * SLOW      # the first time-out of a request, in seconds

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    # Datagrams.

    def send(self, *datagrams):
        for datagram in datagrams:
            self.socket.send(datagram.encode() if isinstance(datagram, Message) else datagram)
        return self

    def datagram(self, deadline=None):
        """The next datagram as bytes, or None when time is up."""
        left = DEADLINE if deadline is None else deadline
        if not select.select([self.socket], [], [], max(0, left))[0]:
            return None
        try:
            return self.socket.recv(65536)
        except ConnectionRefusedError:
            return None

    # Messages.

    def _arrival(self, end):
        """The next message that is no repetition of one already seen; None when time is up.
        A repeated CON gets the reply that the first one had."""
        while True:
            data = self.datagram(end - time.monotonic())
            if data is None:
                if time.monotonic() >= end:
                    return None
                continue
            message = decode(data)
            if message.type == CON:
                if message.mid in self.replies:
                    if self.replies[message.mid]:
                        self.send(self.replies[message.mid])
                    continue
                self.replies[message.mid] = None
                if self.prompt and message.code:
                    self.ack(message)
            return message

    def receive(self, deadline=None):
        """The next message, whatever it is; those put aside come first."""
        if self.inbox:
            return self.inbox.pop(0)
        message = self._arrival(time.monotonic() + (DEADLINE if deadline is None else deadline))
        if message is None:
            raise AssertionError("nothing received within the deadline")
        return message

    def wait(self, wanted, deadline=None, what="the message waited for"):
        """The next message for which wanted(message); the others stay in the inbox."""
        for index, message in enumerate(self.inbox):
            if wanted(message):
                return self.inbox.pop(index)
        end = time.monotonic() + (DEADLINE if deadline is None else deadline)
        while True:
            message = self._arrival(end)
            if message is None:
                raise AssertionError("%s did not come; inbox %s" % (what, self.inbox))
            if wanted(message):
                return message
            self.inbox.append(message)

    def expect(self, kind=None, what=None, **fields):
        """The next message, which must be this."""
        message = self.receive()
        wanted = dict(fields, **({} if kind is None else {"type": kind}),
                      **({} if what is None else {"code": what}))
        for name, value in wanted.items():
            if getattr(message, name) != value:
                raise AssertionError("expected %s=%r in %s" % (name, value, message))
        return message

    def _reply(self, kind, message):
        reply = Message(kind, EMPTY, message.mid).encode()
        if message.type == CON:
            self.replies[message.mid] = reply
        self.send(reply)
        return message

    def ack(self, message):
        """Acknowledges a CON; for a NON there is nothing to do."""
        if message.type == CON and not self.replies.get(message.mid):
            self._reply(ACK, message)
        return message

    def reset(self, message):
        return self._reply(RST, message)

    def message(self, what, where=None, payload=b"", options=(), kind=CON, token=None, mid=None,
                queries=(), form=None):
        """A request, not sent yet. `form` is its Content-Format; `where` a path a/b or options."""
        options = list(options) + (path(where) if isinstance(where, str) else list(where or ()))
        options += query(*queries)
        if form is not None:
            options.append((CONTENT_FORMAT, uint(form)))
        payload = payload.encode() if isinstance(payload, str) else payload
        return Message(kind, what, next(self.mids) if mid is None else mid,
                       next(self.tokens) if token is None else token, options, payload)

    def exchange(self, request, patience=None):
        """Sends a request and returns its response, acknowledged. A CON is sent again as 4.2 says,
        a NON too, with a new message id: the tests' own NON requests may be repeated, and only
        loss makes them so."""
        patience = self.patience if patience is None else patience
        most = 4 * patience     # no more back-off than that: a test has a deadline
        end = time.monotonic() + DEADLINE
        silent = False
        while True:
            if not silent:
                self.send(request)
            try:
                found = self.wait(lambda m: self._answers(m, request),
                                  min(patience, end - time.monotonic()))
            except CoapError:
                raise
            except AssertionError:
                if time.monotonic() >= end:
                    raise AssertionError("no response to %s; inbox %s" %
                                         (request, self.inbox)) from None
                patience = min(2 * patience, most)
                continue
            if found.type == RST:
                raise AssertionError("RST for %s" % request)
            if found.code == EMPTY:
                silent = True   # acknowledged: the response will come by itself
                patience = most = DEADLINE
                continue
            return self.ack(found)

    @staticmethod
    def _answers(message, request):
        """Is this the ACK, the RST or the response of request? (4.2, 5.3.2)"""
        if message.type in (ACK, RST):
            if message.mid != request.mid:
                return False
            if message.type == ACK and message.code and message.token != request.token:
                raise CoapError("response %s with another token than %s" % (message, request))
            return True
        return message.token == request.token and message.code >= 64

    def request(self, what, where=None, payload=b"", want=None, **more):
        """A whole exchange; `want` is the code, or the codes, that must come back."""
        request = self.message(what, where, payload, **more)
        response = self.exchange(request)
        wanted = want if isinstance(want, tuple) else (want,)
        if want is not None and response.code not in wanted:
            raise AssertionError("expected %s for %s, got %s" % (
                "/".join("%d.%02d" % (w >> 5, w & 31) for w in wanted), request, response))
        return response

    def get(self, where, want=CONTENT, **more):
        return self.request(GET, where, want=want, **more)

    def put(self, where, payload, want=(CREATED, CHANGED), **more):
        return self.request(PUT, where, payload, want=want, **more)

    def post(self, where, payload, want=(CREATED, CHANGED), **more):
        return self.request(POST, where, payload, want=want, **more)

    def delete(self, where, want=DELETED, **more):
        return self.request(DELETE, where, want=want, **more)

    def ping(self):
        """An empty CON, and the RST that it must get (4.3)."""
        probe = Message(CON, EMPTY, next(self.mids))
        self.send(probe)
        found = self.wait(lambda m: m.mid == probe.mid and m.type in (ACK, RST), what="the RST")
        if found.raw != bytes([0x70, 0]) + probe.mid.to_bytes(2, "big"):
            raise AssertionError("expected RST for a ping, got %s" % found)

    def silent(self, where=None):
        """Nothing was sent to us: what comes first is the answer to a ping, or, where shards may
        have to ask each other, to a GET of the same address."""
        probe = self.message(GET, where) if where else Message(CON, EMPTY, next(self.mids))
        self.send(probe)
        message = self.receive()
        if message.mid != probe.mid or message.type not in (ACK, RST):
            raise AssertionError("expected nothing, got %s" % message)
        if message.type == ACK and message.code == EMPTY:
            self.ack(self.wait(lambda m: m.token == probe.token and m.code >= 64))

    # Observe (RFC 7641).

    def observe(self, where, want=CONTENT, kind=CON, **more):
        """Registers; the response is an Observation."""
        request = self.message(GET, where, options=[(OBSERVE, b"")] + list(more.pop("options", ())),
                               kind=kind, **more)
        response = self.exchange(request)
        if response.code != want:
            raise AssertionError("expected %d.%02d for %s, got %s" %
                                 (want >> 5, want & 31, request, response))
        return Observation(self, request, response)

    # Block-wise (RFC 7959).

    def get_large(self, where, szx=6, start=0, what=GET, first=None, **more):
        """(body, responses) by Block2. first: a response that already holds block 0."""
        body, responses, num = bytearray(), [], start
        while True:
            if first is not None:
                response, first = first, None
            else:
                options = list(more.get("options", ())) + [(BLOCK2, block(num, False, szx))]
                response = self.request(what, where, want=(CONTENT, CHANGED),
                                        **dict(more, options=options))
            responses.append(response)
            got = response.block(BLOCK2)
            if got is None:
                if num:
                    raise CoapError("no Block2 in %s" % response)
                return response.payload, responses
            if got[0] != num or got[2] > szx:
                raise CoapError("asked for block %d of size %d, got %s" % (num, szx, got))
            if got[1] and len(response.payload) != 16 << got[2]:
                raise CoapError("a block of %d bytes, more to follow: %s" %
                                (len(response.payload), got))
            if got[2] < szx:
                szx = got[2]
            body += response.payload
            if not got[1]:
                return bytes(body), responses
            num += 1

    def put_large(self, where, body, szx=6, what=PUT, want=(CREATED, CHANGED), **more):
        """The final response of a body sent by Block1. The server may ask for smaller blocks."""
        at = 0
        body = body.encode() if isinstance(body, str) else body
        extra = list(more.pop("options", ()))
        while True:
            size = 16 << szx
            rest = at + size < len(body)
            options = extra + [(BLOCK1, block(at // size, rest, szx))]
            response = self.request(what, where, body[at:at + size], options=options, **more)
            if not rest or response.code >= 128:
                wanted = want if isinstance(want, tuple) else (want,)
                if response.code not in wanted:
                    raise AssertionError("expected one of %s, got %s" % (wanted, response))
                return response
            got = response.block(BLOCK1)
            if response.code != CONTINUE or got is None or got[0] != at // size or got[2] > szx:
                raise CoapError("block %d of size %d got %s" % (at // size, szx, response))
            szx = got[2]
            at += size


def newer(old, new):
    """Is Observe number `new` fresher than `old`, which is not old itself? (RFC 7641 3.4)"""
    return (old < new and new - old < 1 << 23) or (old > new and old - new > 1 << 23)


class Observation:
    """An observer's side of a registration."""

    def __init__(self, client, request, response):
        self.client, self.request, self.response = client, request, response
        self.token = request.token
        self.sequence = response.uint(OBSERVE)
        self.active = self.sequence is not None

    def next(self, deadline=None, ack=True, want=CONTENT):
        """The next notification; its Observe number must have grown."""
        message = self.client.wait(lambda m: m.token == self.token and m.code >= 64, deadline,
                                   "a notification")
        if message.type == ACK:
            raise CoapError("a notification in an ACK: %s" % message)
        if ack:
            self.client.ack(message)
        if want is not None and message.code != want:
            raise AssertionError("expected %d.%02d, got %s" % (want >> 5, want & 31, message))
        sequence = message.uint(OBSERVE)
        if message.code < 128:
            if sequence is None:
                raise CoapError("a notification without Observe: %s" % message)
            if not newer(self.sequence, sequence):
                raise CoapError("Observe %d after %d" % (sequence, self.sequence))
            self.sequence = sequence
        elif sequence is not None:
            raise CoapError("Observe in an error response: %s" % message)   # RFC 7641 4.2
        return message

    def until(self, payload, deadline=None):
        """Notifications up to the one with this payload; conflation may have left some out."""
        payload = payload.encode() if isinstance(payload, str) else payload
        seen = []
        end = time.monotonic() + (DEADLINE if deadline is None else deadline)
        while True:
            message = self.next(end - time.monotonic())
            seen.append(message)
            if message.payload == payload:
                return seen

    def cancel(self):
        """Observe 1 with the same token (RFC 7641 3.6); returns the response."""
        options = [o for o in self.request.options if o[0] != OBSERVE] + [(OBSERVE, b"\x01")]
        request = Message(CON, GET, next(self.client.mids), self.token, options)
        self.client.send(request)
        while True:
            message = self.client.wait(lambda m: m.token == self.token or m.mid == request.mid)
            if message.type == ACK and message.code == EMPTY:
                continue
            self.client.ack(message)
            if message.type == ACK or not message.has(OBSERVE):
                return message


class CoapBroker(Broker):
    """A broker with a listener for MQTT and one for CoAP, each on a free port.

    options: lines of configuration that belong to the CoAP listener; general: others.
    """

    def __init__(self, options=None, general=()):
        self.coap_port = None
        if options is None and not general:
            super().__init__()
            self.arguments += ["--listen", "coap://127.0.0.1:0"]
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = list(options or ())
        if not any(line.startswith("allow_anonymous") for line in options):
            options.append("allow_anonymous true")
        super().__init__(list(general) + ["listener %d 127.0.0.1" % port, "protocol coap"] +
                         options, port=free_port())

    def start(self):
        super().start()
        found = self.process.out.find(r"^listening coap://127\.0\.0\.1:(\d+)")
        if not found:
            self.process.kill()
            raise AssertionError("no CoAP listener: %s\n%s" %
                                 (self.process.out.text(), self.log()))
        self.coap_port = int(found.group(1))
        return self

    @property
    def coap_url(self):
        return "coap://127.0.0.1:%d" % self.coap_port


class CoapCase(BrokerCase):
    """Tests that share one broker with a CoAP listener."""

    OPTIONS = None

    @classmethod
    def setUpClass(cls):
        cls.broker = CoapBroker(cls.OPTIONS).start()

    def coap(self, **options):
        """A raw CoAP client of the broker."""
        made = Client(self.broker.coap_port, **options)
        self.addCleanup(made.close)
        return made

    def address(self, rest=""):
        """An address that no other test uses."""
        return "%s/%s%s" % (type(self).__name__, self._testMethodName, rest)
