// One mqtt.js client, driven by JSON lines: commands on stdin, replies and events on stdout.
//
//   {"do": "connect", "port": 1883, "options": {...}}   -> {"event": "connect", "present": bool}
//   {"do": "subscribe", "filter": "a/#", "options": {}} -> {"event": "subscribed", "codes": [..]}
//   {"do": "unsubscribe", "filter": "a/#"}              -> {"event": "unsubscribed"}
//   {"do": "publish", "topic", "payload", "options"}    -> {"event": "published"}
//   {"do": "end"} or {"do": "drop"}                     -> {"event": "ended"}
// and at any time message, disconnect (5.0), close, error. The file knows no test.
'use strict';

const mqtt = require('mqtt');
const readline = require('readline');

let client = null;

function tell(event, fields) {
    process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function plain(properties) {
    const out = { ...properties };
    for (const name of Object.keys(out)) {
        if (Buffer.isBuffer(out[name])) {
            out[name] = out[name].toString();
        }
    }
    return out;
}

function listen() {
    client.on('connect', (packet) => tell('connect', {
        present: packet.sessionPresent, properties: plain(packet.properties),
    }));
    client.on('message', (topic, payload, { qos, retain, dup, properties }) => tell('message', {
        topic, payload: payload.toString('latin1'), qos, retain, dup, properties: plain(properties),
    }));
    client.on('disconnect', (packet) => tell('disconnect', { code: packet.reasonCode }));
    client.on('close', () => tell('close', {}));
    client.on('error', (error) => tell('error', { text: error.message, code: error.code }));
}

const commands = {
    connect({ port, options }) {
        client = mqtt.connect({ host: '127.0.0.1', port, reconnectPeriod: 0, ...options });
        listen();
    },
    subscribe({ filter, options }) {
        client.subscribe(filter, options || {}, (error, granted, packet) =>
            tell('subscribed', {
                error: error && error.message, codes: packet ? packet.granted : [],
            }));
    },
    unsubscribe({ filter }) {
        client.unsubscribe(filter, (error) =>
            tell('unsubscribed', { error: error && error.message }));
    },
    publish({ topic, payload, options }) {
        client.publish(topic, payload, options || {}, (error) =>
            tell('published', { error: error && error.message }));
    },
    end() {
        client.end(false, () => tell('ended', {}));
    },
    drop() {
        client.end(true, () => tell('ended', {}));
    },
};

readline.createInterface({ input: process.stdin })
    .on('line', (line) => {
        const command = JSON.parse(line);
        commands[command.do](command);
    })
    .on('close', () => process.exit(0));
