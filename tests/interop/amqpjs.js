// rhea, driven by JSON lines: commands on stdin, replies and events on stdout.
//
//   {"do": "connect", "port": 5672, "options": {...}}   -> {"event": "connected"}
//   {"do": "sender", "id": "s", "options": {...}}       -> {"event": "sendable", "id": "s"}
//   {"do": "send", "id": "s", "messages": [{...}]}      -> {"event": "sent", "hex": "..."} for each,
//        then {"event": "settled", "state": "accepted"} for each
//   {"do": "receiver", "id": "r", "options": {...}, "credit": 10}   -> {"event": "attached"}
//        and {"event": "message", "id": "r", "hex": "...", "body": ..., ...} as they come
//   {"do": "credit", "id": "r", "credit": 10}    {"do": "drain", "id": "r"} -> {"event": "drained"}
//   {"do": "settle", "id": "r", "state": "accepted"}    the oldest message that is not settled
//   {"do": "detach", "id": "r"}, {"do": "close"}        -> {"event": "detached"}, {"event": "closed"}
// Values of a message are typed: ["ulong", "5"], ["list", [...]], ["map", [[key, value], ...]],
// ["array", "ulong", [...]], ["described", descriptor, value], ["binary", hex], ["null"]; a body
// that is {"data": hex} is a data section. The file knows no test.
'use strict';

const rhea = require('rhea');
const readline = require('readline');

const { types, message } = rhea;
const links = new Map();
const waiting = new Map();
let connection = null;
let bytes = null;

const decode = message.decode;
message.decode = (buffer) => {
    bytes = buffer;
    return decode(buffer);
};

function tell(event, fields) {
    process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function wide(text) {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64BE(BigInt.asUintN(64, BigInt(text)));
    return buffer;
}

const CODES = {
    ulong: 0x80, uint: 0x70, string: 0xb1, symbol: 0xb3, binary: 0xb0, boolean: 0x56, long: 0x81,
    int: 0x71, ushort: 0x60, ubyte: 0x50, short: 0x61, byte: 0x51, double: 0x82, uuid: 0x98,
};

function typed([type, value, more]) {
    switch (type) {
    case 'null': return null;
    case 'ulong': case 'long': return types['wrap_' + type](wide(value));
    case 'timestamp': return types.wrap_timestamp(Number(value));
    case 'binary': case 'uuid': return types['wrap_' + type](Buffer.from(value, 'hex'));
    case 'list': return types.wrap_list(value.map(typed));
    case 'map': return types.wrap_map_as_map(value.map(([k, v]) => [typed(k), typed(v)]));
    case 'array': return types.wrap_array(more.map((each) => typed([value, each]).value),
        CODES[value]);
    case 'described': return types.wrap_described(typed(more), value);
    case 'boolean': case 'string': case 'symbol': return types['wrap_' + type](value);
    default: return types['wrap_' + type](Number(value));
    }
}

// What the reader of rhea makes of bytes: names of its types, and values as text.
function tree(value) {
    if (value === null || value === undefined) {
        return null;
    }
    if (value.type === undefined) {
        return Buffer.isBuffer(value) ? value.toString('hex') : Array.isArray(value) ?
            value.map(tree) : String(value);
    }
    const inner = Array.isArray(value.value) ? value.value.map(tree) : tree(value.value);
    const out = [value.type.name, inner];
    return value.descriptor ? ['described', tree(value.descriptor), out] : out;
}

function plain(value) {
    return JSON.parse(JSON.stringify(value === undefined ? null : value, (key, each) =>
        typeof each === 'bigint' ? each.toString() : each));
}

function build(said) {
    const out = { ...said };
    if (said.body && said.body.data !== undefined) {
        out.body = message.data_section(Buffer.from(said.body.data, 'hex'));
    } else if (Array.isArray(said.body)) {
        out.body = typed(said.body);
    }
    for (const map of ['application_properties', 'message_annotations', 'delivery_annotations']) {
        for (const [key, value] of Object.entries(said[map] || {})) {
            out[map][key] = Array.isArray(value) ? typed(value) : value;
        }
    }
    return out;
}

function listen() {
    connection.on('connection_open', () => tell('connected',
        { container: connection.container_id, remote: connection.remote.open.container_id }));
    connection.on('connection_close', () => tell('closed', {}));
    connection.on('connection_error', (context) => tell('error',
        { text: String(context.connection.error) }));
    connection.on('disconnected', (context) => tell('disconnected',
        { text: String(context.error || '') }));
    for (const state of ['accepted', 'rejected', 'released', 'modified']) {
        connection.on(state, ({ delivery }) => tell('settled',
            { state, number: delivery.id, details: plain(delivery.remote_state) }));
    }
    for (const kind of ['sender', 'receiver']) {
        connection.on(kind + '_error', (context) => tell('link_error',
            { id: context[kind].name, condition: context[kind].error.condition }));
        connection.on(kind + '_close', (context) => tell('detached', { id: context[kind].name }));
        connection.on(kind + '_open', (context) => tell('attached', {
            id: context[kind].name,
            address: kind === 'receiver' ? context.receiver.source.address :
                context.sender.target && context.sender.target.address,
        }));
    }
    connection.on('receiver_drained', ({ receiver }) => tell('drained', { id: receiver.name }));
    connection.on('message', ({ message: got, receiver, delivery }) => {
        const section = got.body && got.body.typecode !== undefined ? got.body.content : got.body;
        waiting.get(receiver.name).push(delivery);
        tell('message', {
            id: receiver.name, hex: bytes.toString('hex'), settled: Boolean(delivery.settled),
            body: Buffer.isBuffer(section) ? section.toString('latin1') : plain(section),
            application: plain(got.application_properties),
            annotations: plain(got.message_annotations),
            content_type: got.content_type, delivery_count: got.delivery_count,
            correlation: plain(got.correlation_id), to: got.to, reply_to: got.reply_to,
        });
    });
}

const commands = {
    connect({ port, options }) {
        connection = rhea.connect({ host: '127.0.0.1', port, reconnect: false, ...options });
        listen();
    },
    sender({ id, options }) {
        const sender = connection.open_sender({ name: id, ...options });
        links.set(id, sender);
        sender.once('sendable', () => tell('sendable', { id }));
    },
    send({ id, messages }) {
        const sender = links.get(id);
        const rest = [...messages];
        const pump = () => {
            while (rest.length && sender.sendable()) {
                const built = build(rest.shift());
                tell('sent', { id, hex: message.encode(built).toString('hex') });
                sender.send(built);
            }
        };
        sender.on('sendable', pump);
        pump();
    },
    receiver({ id, options, credit }) {
        waiting.set(id, []);
        const receiver = connection.open_receiver({
            name: id, credit_window: 0, autoaccept: false, ...options,
        });
        links.set(id, receiver);
        if (credit) {
            receiver.add_credit(credit);
        }
    },
    credit({ id, credit }) {
        links.get(id).add_credit(credit);
    },
    drain({ id, credit }) {
        links.get(id).add_credit(credit || 1);
        links.get(id).drain_credit();
    },
    settle({ id, state, params, count }) {
        for (let n = 0; n < (count || 1); n++) {
            const delivery = waiting.get(id).shift();
            delivery[{ accepted: 'accept', rejected: 'reject', released: 'release' }[state] ||
                state](params);
        }
    },
    tree({ hex }) {
        const reader = new types.Reader(Buffer.from(hex, 'hex'));
        tell('tree', { tree: tree(reader.read()) });
    },
    detach({ id }) {
        links.get(id).close();
    },
    close() {
        connection.close();
    },
};

readline.createInterface({ input: process.stdin })
    .on('line', (line) => {
        const command = JSON.parse(line);
        commands[command.do](command);
    })
    .on('close', () => process.exit(0));
