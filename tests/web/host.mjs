// SPDX-License-Identifier: Apache-2.0
// A host that does not exist: a small shop, a few hundred processes, and what a hostile program calls itself.
import { readFileSync } from "node:fs";

const src = new URL("../../src/", import.meta.url);

/** Columns of a table from its .def, the same text the agent is built from. */
function columns(def) {
	const line = /^COLUMN\(\w+, (\w+), (INT|STR), "(.*)"\)$/gm;
	return [...readFileSync(new URL(def, src), "utf8").matchAll(line)].map(
		([, name, type, doc]) => ({
			name,
			type: type === "INT" ? "integer" : "text",
			doc,
		}),
	);
}

export const SCHEMA = {
	tables: [
		{
			name: "process",
			doc: "one row per program run: exec to exit",
			columns: columns("guard/process.def"),
		},
		{
			name: "connection",
			doc: "one row per end on this host",
			columns: columns("trace/connection.def"),
		},
		{ name: "dns", doc: "one row per question", columns: columns("trace/dns.def") },
	],
};

/** mulberry32: the same host on every run. */
function random(seed) {
	return () => {
		seed = (seed + 0x6d2b79f5) | 0;
		let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

export const ESCAPED = "evil\\x1b[31m\\nname";
export const MARKUP = "<img src=x onerror=alert(1)>";
const ALL_CAPS = 2 ** 41 - 1;

const SHOP = [
	["shop-client", "curl", "10.20.0.2"],
	["front", "nginx", "10.20.0.3"],
	["catalog", "catalogd", "10.20.0.11"],
	["cart", "cartd", "10.20.0.12"],
	["orders", "ordersd", "10.20.0.13"],
	["redis", "redis-server", "10.20.0.20"],
];
// from, to, port, weight, bytes asked, bytes answered, failing
const LINKS = [
	["shop-client", "front", 80, 40, 420, 18_000, 0],
	["front", "catalog", 8081, 24, 610, 14_500, 0],
	["front", "cart", 8082, 10, 700, 2_100, 0],
	["front", "orders", 8083, 6, 900, 1_300, 0.3],
	["catalog", "redis", 6379, 8, 240, 9_000, 0],
	["cart", "redis", 6379, 8, 300, 800, 0],
	["orders", "redis", 6379, 4, 300, 300, 0],
	["apt-daily", "deb.debian.example", 443, 2, 1_800, 240_000, 0],
	["sshd", "192.0.2.77", 40122, 1, 88_000, 12_000, 0],
	["orders", "payments.example", 443, 2, 2_400, 5_100, 1],
	["systemd-resolved", "9.9.9.9", 53, 4, 60, 180, 0],
];
const REMOTE = {
	"deb.debian.example": "198.51.100.10",
	"payments.example": "203.0.113.9",
	"192.0.2.77": "192.0.2.77",
	"9.9.9.9": "9.9.9.9",
};

export class Host {
	constructor({ processes = 300, connections = 2000 } = {}) {
		this.rand = random(7);
		this.boot = (Date.now() - 86_400_000 * 3) * 1e6;
		this.processes = new Map();
		this.connections = [];
		this.dns = [];
		this.appended = { process: 0, connection: 0, dns: 0 };
		this.nextPid = 1;
		this.serial = 0;
		this.byService = new Map();
		this.system(processes);
		while (this.connections.length < connections)
			this.connect(-Math.floor(this.rand() * 280_000), this.rand() < 0.15);
		for (let i = 0; i < 240; i++) this.ask(-Math.floor(this.rand() * 600_000));
	}

	now() {
		return Date.now() * 1e6;
	}

	pick(list) {
		return list[Math.floor(this.rand() * list.length)];
	}

	spawn(comm, parent, more = {}, age = 0) {
		const pid = this.nextPid;
		this.nextPid += 1 + Math.floor(this.rand() * 3);
		const time = this.now() - age * 1e6;
		const p = {
			time,
			pid,
			started: time - this.boot,
			ppid: parent?.pid ?? 0,
			parent_started: parent?.started ?? 0,
			comm: comm.slice(0, 40),
			exe: `/usr/bin/${comm}`,
			argv: comm,
			argv_bytes: comm.length + 1,
			argv_cut: 0,
			cwd: "/",
			uid: 0,
			gid: 0,
			euid: 0,
			caps: ALL_CAPS,
			ns_mnt: 4026531841,
			ns_net: 4026531840,
			ns_pid: 4026531836,
			cgroup: `/system.slice/${comm}.service`,
			service: comm,
			runtime: "systemd",
			unit: `${comm}.service`,
			origin: age > 0 ? "scan" : "exec",
			...more,
		};
		this.processes.set(`${pid}.${p.started}`, p);
		this.appended.process++;
		if (!this.byService.has(p.service)) this.byService.set(p.service, []);
		this.byService.get(p.service).push(p);
		return p;
	}

	system(total) {
		const day = 86_400_000;
		const init = this.spawn(
			"systemd",
			undefined,
			{ argv: "/sbin/init", service: "init.scope" },
			3 * day,
		);
		const daemons = [
			"systemd-journald",
			"systemd-udevd",
			"systemd-resolved",
			"dbus-daemon",
			"cron",
			"sshd",
			"rsyslogd",
			"chronyd",
			"apt-daily",
		];
		const started = new Map(
			daemons.map((d) => [
				d,
				this.spawn(d, init, { argv: `/usr/sbin/${d} -D`, cwd: "/run" }, 3 * day - 9000),
			]),
		);
		this.shell(started.get("sshd"));
		const containerd = this.spawn(
			"containerd",
			init,
			{ argv: "/usr/bin/containerd --log-level warn" },
			2 * day,
		);
		SHOP.forEach(([service, comm], i) => this.container(containerd, service, comm, i));
		const extra = this.spawn(
			"worker-pool",
			init,
			{ argv: "worker-pool --processes many", uid: 998, caps: 0 },
			5e6,
		);
		while (this.processes.size < total) {
			const parent = this.rand() < 0.7 ? extra : this.pick(this.byService.get("worker-pool"));
			const n = this.processes.size;
			this.spawn(
				"worker",
				parent,
				{
					argv: `worker --queue jobs-${n % 17} --id ${n}`,
					service: "worker-pool",
					uid: 998,
					caps: 0,
					cwd: "/srv/jobs",
				},
				4e6 - n * 10,
			);
		}
	}

	shell(sshd) {
		const session = this.spawn(
			"sshd-session",
			sshd,
			{ argv: "sshd: ada@pts/0", service: "sshd" },
			3_600_000,
		);
		const user = {
			uid: 1000,
			gid: 1000,
			euid: 1000,
			caps: 0,
			loginuid: 1000,
			cwd: "/home/ada",
			service: "session-3.scope",
		};
		const bash = this.spawn("bash", session, { ...user, argv: "-bash" }, 3_590_000);
		this.spawn("vim", bash, { ...user, argv: "vim 'notes with spaces.md'" }, 600_000);
		this.spawn(
			ESCAPED,
			bash,
			{ ...user, argv: `./${ESCAPED} --now`, exe: `/home/ada/${ESCAPED}` },
			500_000,
		);
		this.spawn(
			MARKUP,
			bash,
			{
				...user,
				argv: `./'${MARKUP}' '<script>alert(2)</script>'`,
				exe: `/home/ada/${MARKUP}`,
				service: MARKUP,
			},
			400_000,
		);
	}

	container(containerd, service, comm, i) {
		const id = (0x51ab3e9d + i * 7919).toString(16).padStart(8, "0").repeat(8);
		const more = {
			argv:
				comm === "nginx"
					? "nginx: master process nginx -g 'daemon off;'"
					: `${comm} --config /etc/${service}.toml`,
			cgroup: `/system.slice/docker-${id}.scope`,
			service,
			runtime: "docker",
			container: id,
			container_name: service,
			image: `shop/${service}:1.4`,
			labels: `app=${service},tier=${i === 0 ? "client" : "shop"}`,
			unit: undefined,
			uid: 101,
			euid: 101,
			caps: 1024,
			cwd: "/app",
		};
		const shim = this.spawn(
			"containerd-shim",
			containerd,
			{ argv: `containerd-shim -id ${id.slice(0, 12)}`, service: "containerd" },
			7e6,
		);
		const main = this.spawn(comm, shim, more, 6.9e6);
		const workers = service === "front" ? 4 : 1;
		for (let w = 0; w < workers; w++)
			this.spawn(
				comm,
				main,
				{ ...more, argv: service === "front" ? "nginx: worker process" : `${comm} worker` },
				6.8e6,
			);
	}

	address(service) {
		return SHOP.find(([s]) => s === service)?.[2] ?? REMOTE[service] ?? "10.20.0.1";
	}

	/** One connection: a row per end on this host. */
	connect(offset, lives) {
		const total = LINKS.reduce((sum, l) => sum + l[3], 0);
		let at = this.rand() * total;
		const [from, to, port, , asked, answered, failing] =
			LINKS.find((l) => (at -= l[3]) < 0) ?? LINKS[0];
		const client = this.pick(this.byService.get(from));
		const server = this.byService.has(to) ? this.pick(this.byService.get(to)) : undefined;
		const time = this.now() + offset * 1e6;
		const fails = this.rand() < failing;
		const ended = fails ? time + 2e5 : lives ? undefined : time + (2 + this.rand() * 300) * 1e6;
		const size = 0.3 + this.rand() * 2;
		const sent = fails ? 0 : Math.round(asked * size);
		const received = fails ? 0 : Math.round(answered * size);
		const local = 32768 + (this.serial % 28000);
		const proto = port === 53 ? "udp" : "tcp";
		const base = {
			time,
			ended,
			proto,
			rtt_us: fails
				? undefined
				: server
					? 18 + Math.round(this.rand() * 60)
					: 9_000 + Math.round(this.rand() * 22_000),
			retransmits: !server && this.rand() < 0.2 ? 1 + Math.round(this.rand() * 3) : 0,
			state: fails ? "failed" : ended ? "closed" : proto === "udp" ? "open" : "ESTABLISHED",
			netns: 4026531840,
			origin: offset < -200_000 ? "scan" : "event",
		};
		const who = (p) => ({
			pid: p.pid,
			started: p.started,
			comm: p.comm,
			service: p.service,
			container: p.container,
		});
		const far = (p) => ({
			remote_pid: p.pid,
			remote_started: p.started,
			remote_comm: p.comm,
			remote_service: p.service,
			remote_container: p.container,
		});
		const out = {
			...base,
			...who(client),
			direction: "out",
			local_addr: this.address(from),
			local_port: local,
			remote_addr: this.address(to),
			remote_port: port,
			...(server
				? far(server)
				: { remote_service: to, remote_name: /[a-z]/.test(to) ? to : undefined }),
			bytes_sent: sent,
			bytes_received: received,
			packets_sent: Math.ceil(sent / 1400),
			packets_received: Math.ceil(received / 1400),
			cookie: ++this.serial,
			error: fails ? (server ? "ECONNREFUSED" : "ETIMEDOUT") : undefined,
		};
		const rows = [out];
		if (server && !fails)
			rows.push({
				...base,
				...who(server),
				...far(client),
				direction: "in",
				local_addr: this.address(to),
				local_port: port,
				remote_addr: this.address(from),
				remote_port: local,
				bytes_sent: received,
				bytes_received: sent,
				packets_sent: Math.ceil(received / 1400),
				packets_received: Math.ceil(sent / 1400),
				cookie: ++this.serial,
			});
		this.connections.push(...rows);
		this.appended.connection += rows.length;
		return rows;
	}

	ask(offset = 0) {
		const resolver = this.byService.get("systemd-resolved")[0];
		const name = this.pick([
			"deb.debian.example",
			"payments.example",
			"redis.shop.internal",
			"no-such-host.example",
			`${MARKUP}.example`,
		]);
		const time = this.now() + offset * 1e6;
		const bad = name.startsWith("no-such");
		const latency = 400 + Math.round(this.rand() * 30_000);
		const silent = this.rand() < 0.03;
		const row = {
			time,
			ended: silent ? undefined : time + latency * 1000,
			pid: resolver.pid,
			started: resolver.started,
			comm: resolver.comm,
			service: resolver.service,
			server: "9.9.9.9",
			name,
			type: this.pick(["A", "AAAA"]),
			rcode: silent ? undefined : bad ? "NXDOMAIN" : "NOERROR",
			answers: silent || bad ? undefined : "198.51.100.10,198.51.100.11",
			ttl: silent || bad ? undefined : 300,
			latency_us: silent ? undefined : latency,
		};
		this.dns.push(row);
		this.appended.dns++;
		return row;
	}

	/** A fifth of a second passes. Return: the events of it. */
	tick() {
		const events = [];
		const tell = (event, row, at) => events.push({ ...row, event, at });
		const client = this.byService.get("shop-client")[0];
		const p = this.spawn("curl", client, {
			argv: `curl -s http://front/product/${this.serial % 90}`,
			service: "shop-client",
			container: client.container,
			container_name: "shop-client",
		});
		this.byService.get("shop-client").pop();
		tell("process.exec", p, p.time);
		this.processes.delete(`${p.pid}.${p.started}`);
		const bad = this.rand() < 0.1;
		tell("process.exit", { ...p, ended: this.now(), exit_code: bad ? 7 : 0 }, this.now());
		for (let i = 0; i < 3; i++) {
			const rows = this.connect(-20, this.rand() < 0.05);
			for (const row of rows) {
				tell(
					"connection.open",
					{
						...row,
						ended: undefined,
						bytes_sent: 0,
						bytes_received: 0,
						state: "ESTABLISHED",
					},
					row.time,
				);
				if (row.ended) tell("connection.close", row, row.ended);
			}
		}
		if (this.rand() < 0.3) {
			const row = this.ask();
			tell("dns", row, row.time);
		}
		for (const c of this.connections)
			if (!c.ended && c.direction === "out" && this.rand() < 0.2)
				c.bytes_received += Math.round(this.rand() * 4000);
		this.connections = this.connections.slice(-24_000);
		this.dns = this.dns.slice(-1000);
		return events;
	}

	map(seconds) {
		const since = this.now() - seconds * 1e9;
		const edges = new Map();
		for (const c of this.connections) {
			if (c.direction !== "out" || (c.ended && c.ended < since)) continue;
			const key = `${c.service}\n${c.remote_service}\n${c.proto}\n${c.remote_port}`;
			const e = edges.get(key) ?? {
				from: c.service,
				to: c.remote_service,
				proto: c.proto,
				port: c.remote_port,
				connections: 0,
				open: 0,
				failed: 0,
				bytes_sent: 0,
				bytes_received: 0,
				rtt_us: 0,
				retransmits: 0,
			};
			e.connections++;
			e.open += c.ended ? 0 : 1;
			e.failed += c.error ? 1 : 0;
			e.bytes_sent += c.bytes_sent;
			e.bytes_received += c.bytes_received;
			e.rtt_us = Math.max(e.rtt_us, c.rtt_us ?? 0);
			e.retransmits += c.retransmits;
			edges.set(key, e);
		}
		const ids = new Set([...edges.values()].flatMap((e) => [e.from, e.to]));
		const nodes = [...ids].map((id) => {
			const mine = this.byService.get(id);
			return mine
				? { id, kind: "service", runtime: mine[0].runtime, processes: mine.length }
				: { id, kind: "remote", addr: this.address(id) };
		});
		return { nodes, edges: [...edges.values()] };
	}

	rows(table) {
		return {
			process: [...this.processes.values()],
			connection: this.connections,
			dns: this.dns,
		}[table];
	}
}
