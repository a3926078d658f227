// The table of `store.sh`: medians of its runs, and ratios of runs that stood beside each other.
//
// Called with the file of runs, one JSON object a line, and that of idle memory. Ratios are taken
// within each round and then their median, so that both met the same moment of the machine.
import { readFileSync } from 'node:fs';

const [runsFile, idleFile] = process.argv.slice(2);
const lines = readFileSync(runsFile, 'utf8').trim().split('\n');
const runs = lines.map((line) => JSON.parse(line));
const contestants = [...new Set(runs.map((run) => run.contestant))];
const cases = [...new Set(runs.map((run) => run.case))];

function median(numbers) {
    const sorted = numbers.filter((n) => Number.isFinite(n)).sort((a, b) => a - b);
    if (sorted.length === 0) return NaN;
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of a figure over the rounds of a case and contestant. */
const of = (name, contestant, figure) =>
    median(
        runs
            .filter((r) => r.case === name && r.contestant === contestant)
            .map((r) => figure(r.run)),
    );

/** The median of ratios within rounds. */
function ratio(name, one, other, figure) {
    const rounds = [...new Set(runs.map((run) => run.round))];
    const find = (round, contestant) =>
        runs
            .filter((r) => r.round === round && r.case === name)
            .find((r) => r.contestant === contestant)?.run;
    return median(
        rounds.map((round) => {
            const [a, b] = [find(round, one), find(round, other)];
            return a && b ? figure(a) / figure(b) : NaN;
        }),
    );
}

const server = (run, name) => run.servers.find((s) => s.name === name);
const served = (name) => (name.startsWith('query') ? 'tracker' : 'storage');
const cpu = (name) => (run) => server(run, served(name)).cpu_micros_per_op;
const memory = (name) => (run) => server(run, served(name)).rss_max / 1e6;
const show = (number, digits = 0) => (Number.isFinite(number) ? number.toFixed(digits) : '-');

const columns = [
    ['case', 22, (name) => name],
    ['who', 5, (_, who) => who],
    ['ops/s', 8, (name, who) => show(of(name, who, (r) => r.ops_per_sec))],
    ['MB/s', 7, (name, who) => show(of(name, who, (r) => r.bytes_per_sec / 1e6))],
    ['p50 ms', 7, (name, who) => show(of(name, who, (r) => r.latency_ms.p50), 2)],
    ['p99 ms', 8, (name, who) => show(of(name, who, (r) => r.latency_ms.p99), 2)],
    ['CPU us', 7, (name, who) => show(of(name, who, cpu(name)), 1)],
    ['RSS MB', 6, (name, who) => show(of(name, who, memory(name)))],
    ['failed', 6, (name, who) => show(of(name, who, (r) => r.errors))],
    ['x peer', 6, (name, who) => show(ratio(name, who, 'peer', (r) => r.ops_per_sec), 2)],
    ['CPU x', 5, (name, who) => show(ratio(name, who, 'peer', cpu(name)), 2)],
    ['p99 x', 5, (name, who) => show(ratio(name, who, 'peer', (r) => r.latency_ms.p99), 2)],
    ['x bare', 6, (name, who) => show(of(name, who, (r) => r.ops_per_sec) / bare(name), 2)],
];

/** What the same operations reach against servers that only move the bytes. */
function bare(name) {
    const run = runs.find((r) => r.case === name && r.run.limits);
    return run ? run.run.limits.bare_ops_per_sec : NaN;
}

const line = (cells) =>
    columns
        .map(([, width], i) => (i < 2 ? cells[i].padEnd(width) : cells[i].padStart(width)))
        .join(' ');
console.log(line(columns.map(([title]) => title)));
for (const name of cases) {
    for (const who of contestants) console.log(line(columns.map(([, , cell]) => cell(name, who))));
}

console.log('\nlimits of this machine, measured between the runs');
for (const { case: name, run } of runs.filter((r) => r.run.limits)) {
    const { files, ...limits } = run.limits;
    console.log(
        `${name.padEnd(22)} bare ${show(limits.bare_ops_per_sec)} ops/s, ` +
            `loopback ${show(limits.loopback_bytes_per_sec / 1e6)} MB/s, ` +
            `sendfile ${show(limits.loopback_sendfile_bytes_per_sec / 1e6)} MB/s, ` +
            `files of ${files.size} bytes by ${files.threads} threads: ` +
            `${show(files.create_per_sec)}/s, renamed ${show(files.rename_per_sec)}/s, ` +
            `synced ${show(files.sync_per_sec)}/s`,
    );
}
const idle = readFileSync(idleFile, 'utf8').trim().split('\n').map((text) => text.split(' '));
const each = idle.map(([who, kb]) => `${who} ${show(kb / 1e3, 1)} MB`);
console.log(`idle memory of storages: ${each.join(', ')}`);
