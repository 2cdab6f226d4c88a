// SPDX-License-Identifier: Apache-2.0
// An agent without a host behind it: the page and docs/api.md over synthetic data.
//	node mock.mjs [--port 7071] [--processes 300] [--connections 2000] [--token T] [--lost N]
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { Balance } from "./balance.mjs";
import { Host, SCHEMA } from "./host.mjs";
import { run } from "./sql.mjs";

const PAGE = new URL("../../build/web/", import.meta.url);
const TYPES = {
	".html": "text/html; charset=utf-8",
	".js": "text/javascript",
	".css": "text/css",
	".svg": "image/svg+xml",
};
const SAFE = {
	"Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'",
	"X-Content-Type-Options": "nosniff",
	"Cache-Control": "no-store",
};

class HttpError extends Error {
	constructor(status, message) {
		super(message);
		this.status = status;
	}
}

const strip = (row) => JSON.parse(JSON.stringify(row)); // NULL is left out

class Mock {
	constructor(options) {
		this.options = options;
		this.host = new Host(options);
		this.balance = new Balance(options.services ?? 3);
		this.token = options.token;
		this.lost = options.lost ?? 0;
		this.refuse = new Map(); // path -> [status, message]
		this.started = Date.now() * 1e6;
		this.events = [];
		this.readers = new Set();
		this.server = createServer((req, res) => void this.answer(req, res));
		this.timer = setInterval(() => this.pass(), 200);
	}

	listen(port) {
		return new Promise((resolve) =>
			this.server.listen(port, "127.0.0.1", () => {
				this.port = this.server.address().port;
				this.url = `http://127.0.0.1:${this.port}/${this.token ? `?token=${this.token}` : ""}`;
				resolve(this);
			}),
		);
	}

	close() {
		clearInterval(this.timer);
		this.server.closeAllConnections();
		return new Promise((resolve) => this.server.close(resolve));
	}

	pass() {
		for (const e of this.host.tick()) this.tell(e);
	}

	tell(event) {
		this.events.push(event);
		if (this.events.length > 1000) this.events.splice(0, 500);
		for (const res of this.readers)
			res.write(`event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`);
	}

	tellLost(n) {
		for (const res of this.readers) res.write(`event: lost\ndata: {"events":${n}}\n\n`);
	}

	async answer(req, res) {
		const url = new URL(req.url, "http://mock");
		try {
			await this.route(req, res, url);
		} catch (e) {
			const status = e.status ?? 400;
			res.writeHead(status, { ...SAFE, "Content-Type": "application/json" });
			res.end(JSON.stringify({ error: e.message }));
		}
	}

	async route(req, res, url) {
		const token = url.searchParams.get("token");
		if (url.pathname === "/" && token !== null && token === this.token) {
			res.writeHead(302, {
				...SAFE,
				Location: "/",
				"Set-Cookie": `skep=${token}; HttpOnly; SameSite=Strict; Path=/`,
			});
			res.end();
			return;
		}
		if (!url.pathname.startsWith("/v1/")) return this.file(res, url.pathname);
		const cookie = /(?:^|; )skep=([^;]*)/.exec(req.headers.cookie ?? "")?.[1];
		if (this.token && cookie !== this.token)
			throw new HttpError(401, "a token is needed; open the URL that skep up printed");
		const refused = this.refuse.get(url.pathname);
		if (refused) throw new HttpError(...refused);
		if (url.pathname === "/v1/events") return this.stream(res);
		const body = await this.resource(req, url);
		res.writeHead(200, { ...SAFE, "Content-Type": "application/json" });
		res.end(JSON.stringify(body));
	}

	async file(res, path) {
		const name = path === "/" ? "index.html" : path.slice(1);
		if (name.includes("..")) throw new HttpError(404, "no such file");
		const body = await readFile(new URL(name, PAGE)).catch(() => {
			throw new HttpError(404, "no such file");
		});
		res.writeHead(200, {
			...SAFE,
			"Content-Type": TYPES[extname(name)] ?? "application/octet-stream",
		});
		res.end(body);
	}

	stream(res) {
		res.writeHead(200, { ...SAFE, "Content-Type": "text/event-stream" });
		res.write(": hello\n\n");
		this.readers.add(res);
		res.on("close", () => this.readers.delete(res));
	}

	async resource(req, url) {
		const limit = Number(url.searchParams.get("limit") ?? 10_000);
		const all = url.searchParams.get("all") === "1";
		const cut = (name, rows) => ({
			[name]: rows.slice(0, limit).map(strip),
			truncated: rows.length > limit,
		});
		switch (url.pathname) {
			case "/v1/status":
				return this.status();
			case "/v1/schema":
				return SCHEMA;
			case "/v1/guard/processes":
				return cut("processes", [...this.host.processes.values()]);
			case "/v1/trace/connections":
				return cut(
					"connections",
					this.host.connections.filter((c) => all || !c.ended),
				);
			case "/v1/trace/dns":
				return cut(
					"dns",
					[...this.host.dns].sort((a, b) => b.time - a.time),
				);
			case "/v1/trace/map":
				return this.host.map(Number(url.searchParams.get("seconds") ?? 300));
			case "/v1/balance/services":
				return this.balance.answer();
			case "/v1/balance/drain":
				return this.balance.drain(url.searchParams);
			case "/v1/balance/why":
				return this.balance.why(url.searchParams.get("packet"));
			case "/v1/query":
				return this.query(req);
			default:
				throw new HttpError(404, `there is no ${url.pathname}`);
		}
	}

	async query(req) {
		if (req.method !== "POST") throw new HttpError(405, "POST a query");
		let body = "";
		for await (const chunk of req) body += chunk;
		const begin = performance.now();
		const { sql, limit = 10_000 } = JSON.parse(body);
		const result = run(sql, (table) => this.host.rows(table), SCHEMA);
		return {
			columns: result.columns,
			rows: result.rows.slice(0, limit),
			truncated: result.rows.length > limit,
			millisec: performance.now() - begin,
		};
	}

	status() {
		const table = (name, open, bytes) => ({
			name,
			rows: this.host.rows(name).length,
			open,
			appended: this.host.appended[name],
			dropped: 0,
			bytes,
		});
		return {
			agent: {
				version: "0.1.0",
				pid: 812,
				started: this.started,
				uptime_s: Math.round((Date.now() * 1e6 - this.started) / 1e9),
				resident_bytes: 15_204_352,
				socket: "/run/skep/skep.sock",
				listen: `127.0.0.1:${this.port}`,
				state_dir: "/var/lib/skep",
			},
			host: { name: "web-1", kernel: "6.1.0-28-amd64", cpus: 4, boot: this.host.boot },
			lost: this.lost,
			capabilities: [
				{
					name: "guard",
					doc: "what runs on this host: fork, exec, exit",
					lost: this.lost,
					reports: [{ what: "processes", ready: true, how: "tp_btf/sched_process_exec" }],
				},
				{
					name: "trace",
					doc: "who talks to whom: TCP, UDP, DNS",
					lost: 0,
					reports: [
						{ what: "tcp", ready: true, how: "tp_btf/inet_sock_set_state" },
						{ what: "bytes", ready: true, how: "fexit/tcp_sendmsg, fexit/tcp_recvmsg" },
						{
							what: "dns",
							ready: false,
							reason: "cgroup_skb programs need a cgroup2 mount",
							fix: "mount -t cgroup2 none /sys/fs/cgroup/unified",
						},
					],
				},
			],
			features: [
				{ name: "btf", use: "CO-RE relocations", ready: true },
				{ name: "tp_btf", use: "process events", ready: true },
				{ name: "fentry", use: "bytes of a connection", ready: true },
				{
					name: "sock_send_length",
					use: "bytes at little cost",
					ready: false,
					reason: "the tracepoint came with Linux 6.3; this is 6.1",
					fix: "boot Linux 6.3 or later; until then fexit is used",
				},
				{ name: "iter/tcp", use: "connections older than the agent", ready: true },
			],
			tables: [
				table("process", this.host.processes.size, 33_554_432),
				table(
					"connection",
					this.host.connections.filter((c) => !c.ended).length,
					33_554_432,
				),
				table("dns", 0, 4_194_304),
			],
		};
	}
}

export const startMock = (options = {}) => new Mock(options).listen(options.port ?? 0);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const options = { port: 7071 };
	for (let i = 2; i + 1 < process.argv.length; i += 2) {
		const value = process.argv[i + 1];
		options[process.argv[i].replace(/^--/, "")] = /^\d+$/.test(value) ? Number(value) : value;
	}
	const mock = await startMock(options);
	console.log(mock.url);
}
