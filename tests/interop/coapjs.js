// node-coap, driven by JSON lines: commands on stdin, replies and events on stdout. Bodies are
// latin-1.
//
//   {"do": "request", "id": 1, "port": 5683, "method": "PUT", "path": "/a/b", "query": "x=1",
//    "payload": "...", "confirmable": true, "options": {"Accept": 50, "Block1": [6]}}
//        -> {"event": "response", "id": 1, "code": "2.04", "payload": "...", "options": [[name,
//        hex]]}
//        -> {"event": "failed", "id": 1, "text": "..."}
//   the same with "observe": true -> {"event": "observing", ...}, then {"event": "notification",
//        ...}
//   {"do": "stop", "id": 1}   Observe 1           {"do": "forget", "id": 1}   RST at the next one
//   {"do": "serve"} -> {"event": "serving", "port": N}: a server of a few resources, see below
//   {"do": "set", "path": "/clock", "payload": "..."}   changes one of its values
// Numbers in "options" are unsigned integers, lists are bytes, text is text. The file knows no
//        test.
'use strict';

const coap = require('coap');
const readline = require('readline');

const observations = new Map();
const agent = new coap.Agent({ type: 'udp4' });

function tell(event, fields) {
    process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function bytes(value) {
    if (Array.isArray(value)) {
        return Buffer.from(value);
    }
    if (typeof value === 'number') {
        const out = [];
        for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) {
            out.unshift(rest % 256);
        }
        return Buffer.from(out);
    }
    return Buffer.from(value);
}

function describe(message, payload) {
    return {
        code: message.code,
        payload: payload.toString('latin1'),
        options: message._packet.options.map(({ name, value }) =>
            [String(name), Buffer.isBuffer(value) ? value.toString('hex') : String(value)]),
    };
}

function watch(id, stream) {
    observations.set(id, stream);
    let first = true;
    stream.on('data', (payload) => {
        tell(first ? 'observing' : 'notification', {
            id, code: stream.code, payload: payload.toString('latin1'),
            sequence: stream.headers.Observe, format: stream.headers['Content-Format'],
        });
        first = false;
    });
}

const resources = new Map([
    ['/hello', { payload: 'world', format: 0 }],
    ['/large', { payload: 'node-coap '.repeat(500), format: 0 }],
    ['/clock', { payload: '0', format: 0, observers: new Set() }],
    ['/json', { payload: '{"a":1}', format: 50 }],
]);

function answer(request, response) {
    const path = request.url.split('?')[0];
    const found = resources.get(path);
    if (path === '/.well-known/core') {
        response.setOption('Content-Format', bytes(40));
        response.end([...resources.keys()].map((name) => `<${name}>`).join(','));
    } else if (path === '/slow') {
        setTimeout(() => response.end('at last'), 300);
    } else if (path === '/echo') {
        response.code = request.method === 'FETCH' ? '2.05' : '2.04';
        response.setOption('Content-Format',
            bytes(request.headers['Content-Format'] === 'text/plain' ? 0 : 42));
        response.end(request.method + ' ' + request.payload.toString('latin1').toUpperCase());
    } else if (request.method === 'PUT' || request.method === 'POST') {
        response.code = found ? '2.04' : '2.01';
        resources.set(path, { payload: request.payload.toString('latin1'), format: 0 });
        response.end();
    } else if (request.method === 'DELETE') {
        resources.delete(path);
        response.code = '2.02';
        response.end();
    } else if (!found) {
        response.code = '4.04';
        response.end('nothing here');
    } else if (found.observers && request.headers.Observe === 0) {
        response.setOption('Content-Format', bytes(found.format));
        found.observers.add(response);
        response.on('finish', () => found.observers.delete(response));
        response.write(Buffer.from(found.payload, 'latin1'));
    } else {
        response.setOption('Content-Format', bytes(found.format));
        response.end(Buffer.from(found.payload, 'latin1'));
    }
}

const commands = {
    request({ id, port, method, path, query, payload, confirmable, options, observe }) {
        const request = agent.request({
            host: '127.0.0.1', port, pathname: path, query, method: method || 'GET',
            confirmable: confirmable !== false, observe: observe === true,
        });
        for (const [name, value] of Object.entries(options || {})) {
            request.setOption(name, bytes(value));
        }
        let over = false;
        request.on('error', (error) => over || tell('failed', { id, text: String(error.message) }));
        request.on('timeout', (error) => over ||
            tell('failed', { id, text: String(error.message) }));
        request.on('response', (response) => {
            over = true;
            if (observe && response.append) {
                watch(id, response);
            } else {
                tell('response', { id, ...describe(response, response.payload) });
            }
        });
        request.end(payload === undefined ? undefined : Buffer.from(payload, 'latin1'));
    },
    stop({ id }) {
        observations.get(id).close(true);
    },
    forget({ id }) {
        observations.get(id).close();
    },
    serve() {
        const server = coap.createServer({ type: 'udp4' }, answer);
        server.listen(0, '127.0.0.1', () => tell('serving', { port: server._sock.address().port }));
    },
    set({ path, payload }) {
        const found = resources.get(path);
        found.payload = payload;
        found.observers.forEach((response) => response.write(payload));
        tell('changed', { path });
    },
};

readline.createInterface({ input: process.stdin })
    .on('line', (line) => {
        const command = JSON.parse(line);
        commands[command.do](command);
    })
    .on('close', () => process.exit(0));
