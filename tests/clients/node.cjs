// What fastdfs-client from npm can do, done once: called by main.rs with the tracker's port.
//
// Every assertion compares with bytes of its own making. It ends with status 0 and a last line
// that main.rs waits for, or with what went wrong.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const Client = require('fastdfs-client');

const [port, directory] = process.argv.slice(2);
const client = new Client({
    trackers: [{ host: '127.0.0.1', port: Number(port) }],
    timeout: 30000,
    logger: { debug() {}, info() {}, warn() {}, log() {}, error: console.error },
});
const content = Buffer.from(Array.from({ length: 300_001 }, (_, n) => (n * 11) % 251));

async function stored(id, options = {}) {
    const target = path.join(directory, 'node-back');
    await client.download(id, { ...options, target });
    return fs.readFileSync(target);
}

async function main() {
    // A normal file: from a file and from memory, whole and in part.
    const local = path.join(directory, 'picture.png');
    fs.writeFileSync(local, content);
    const picture = await client.upload(local);
    assert.match(picture, /^group1\/M00\/.*\.png$/);
    assert.ok((await stored(picture)).equals(content));
    const part = await stored(picture, { offset: 1000, bytes: 5000 });
    assert.ok(part.equals(content.subarray(1000, 6000)));
    const note = await client.upload(Buffer.from('a note'), { ext: 'txt', group: 'group1' });
    assert.equal(String(await stored(note)), 'a note');
    const info = await client.getFileInfo(picture);
    assert.equal(info.size, content.length);
    assert.match(info.addr, /^127\.0\.0\.\d+$/);

    // Metadata: written, merged, overwritten.
    await client.setMetaData(note, { colour: 'blue' });
    await client.setMetaData(note, { size: 'small', colour: 'red' }, 'M');
    assert.deepEqual(await client.getMetaData(note), { colour: 'red', size: 'small' });
    await client.setMetaData(note, { only: 'this' }, 'O');
    assert.deepEqual(await client.getMetaData(note), { only: 'this' });

    // An appender grows and is changed in the middle.
    const log = await client.upload(Buffer.from('0123456789'), {
        method: 'uploadAppender',
        ext: 'log',
    });
    await client.upload(Buffer.from('abcdef'), { method: 'append', fileId: log });
    await client.upload(Buffer.from('XYZ'), { method: 'modify', fileId: log, offset: 4 });
    assert.equal(String(await stored(log)), '0123XYZ789abcdef');

    // What is deleted is gone.
    for (const id of [picture, note, log]) {
        await client.del(id);
        await assert.rejects(client.del(id), /\b2\b/);
    }
}

main().then(
    () => {
        console.log('all done');
        process.exit(0); // the library keeps its connections
    },
    (error) => {
        console.error(error);
        process.exit(1);
    },
);
