// SPDX-License-Identifier: Apache-2.0
// The page's parts that need no browser.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

const web = new URL("../../web/", import.meta.url);
const esbuild = createRequire(new URL("package.json", web))("esbuild");

async function load(name) {
	const { outputFiles } = await esbuild.build({
		entryPoints: [new URL(`src/${name}`, web).pathname],
		bundle: true,
		format: "esm",
		write: false,
	});
	return import(
		`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`
	);
}

const { bytes, span, endpoint, capabilities, text, microseconds } = await load("format.ts");
const { matcher } = await load("filter.ts");
const { flatten } = await load("tree.ts");
const { place, ranks } = await load("layout.ts");
const { Traffic } = await load("traffic.ts");

test("units are those a person reads", () => {
	assert.equal(bytes(0), "0 B");
	assert.equal(bytes(1023), "1023 B");
	assert.equal(bytes(1536), "1.5 KiB");
	assert.equal(bytes(5 * 2 ** 40), "5.0 TiB");
	assert.equal(microseconds(41), "41 µs");
	assert.equal(microseconds(1500), "1.5 ms");
	assert.equal(span(0.25), "250 ms");
	assert.equal(span(3725), "1 h 2 m");
	assert.equal(endpoint("::1", 80), "[::1]:80");
	assert.equal(endpoint("10.0.0.1", 80), "10.0.0.1:80");
});

test("capability bits beyond 32 and beyond the known names are decoded", () => {
	assert.deepEqual(capabilities(0), []);
	assert.deepEqual(capabilities(1 + 2 ** 10), ["chown", "net_bind_service"]);
	assert.deepEqual(capabilities(2 ** 39 + 2 ** 45), ["bpf", "bit_45"]);
	assert.equal(capabilities(2 ** 41 - 1).length, 41);
});

test("control and direction characters become visible", () => {
	assert.equal(text("a\u001b[31m\u202eb"), "a\\u001b[31m\\u202eb");
	assert.equal(text(undefined), "");
});

test("the filter takes words, columns and their opposites", () => {
	const row = { comm: "nginx", pid: 12, service: "front" };
	assert.equal(matcher("  "), undefined);
	assert.ok(matcher("NGINX front")(row));
	assert.ok(!matcher("nginx back")(row));
	assert.ok(matcher("pid:12")(row));
	assert.ok(!matcher("service:nginx")(row));
	assert.ok(!matcher("nginx -front")(row));
});

const family = (list) =>
	new Map(
		list.map(([pid, started, ppid, parent_started, comm]) => [
			`${pid}.${started}`,
			{ pid, started, ppid, parent_started, comm },
		]),
	);

test("a child whose parent's pid was used again is not given to the new one", () => {
	const rows = flatten(
		family([
			[1, 1, 0, 0, "init"],
			[5, 100, 1, 1, "new"],
			[6, 50, 5, 20, "orphan"],
		]),
		new Set(),
	);
	assert.deepEqual(
		rows.map((r) => [r.process.comm, r.depth]),
		[
			["init", 0],
			["new", 1],
			["orphan", 0],
		],
	);
});

test("a filter keeps what is above a match, and a closed branch hides what is below", () => {
	const all = family([
		[1, 1, 0, 0, "init"],
		[2, 2, 1, 1, "sshd"],
		[3, 3, 2, 2, "bash"],
		[4, 4, 1, 1, "cron"],
	]);
	const found = flatten(all, new Set(), (p) => p.comm === "bash");
	assert.deepEqual(
		found.map((r) => [r.process.comm, r.dim]),
		[
			["init", true],
			["sshd", true],
			["bash", false],
		],
	);
	assert.deepEqual(
		flatten(all, new Set(["2.2"])).map((r) => r.process.comm),
		["init", "sshd", "cron"],
	);
});

test("parents that claim each other end the walk", () => {
	const rows = flatten(
		family([
			[1, 1, 2, 2, "a"],
			[2, 2, 1, 1, "b"],
			[3, 3, 3, 3, "self"],
		]),
		new Set(),
	);
	assert.deepEqual(
		rows.map((r) => r.process.comm),
		["self"],
	);
});

test("ranks follow the longest path and survive circles", () => {
	const rank = ranks(
		["a", "b", "c", "d"],
		[
			{ from: "a", to: "b" },
			{ from: "b", to: "c" },
			{ from: "a", to: "c" },
			{ from: "c", to: "a" },
			{ from: "d", to: "d" },
		],
	);
	assert.deepEqual(
		[...rank],
		[
			["a", 0],
			["b", 1],
			["c", 2],
			["d", 0],
		],
	);
});

test("no two nodes share a place, however many join", () => {
	const ids = ["hub", ...Array.from({ length: 60 }, (_, i) => `n${i}`)];
	const links = ids.slice(1).map((to) => ({ from: "hub", to }));
	let places = place(ids.slice(0, 20), links, new Map());
	const kept = [...places];
	places = place(ids, links, places);
	for (const [id, at] of kept) assert.deepEqual(places.get(id), at);
	assert.equal(new Set([...places.values()].map(({ x, y }) => `${x} ${y}`)).size, ids.length);
});

test("traffic counts a connection inside the host once and none of the past", () => {
	const t = new Traffic();
	const c = (cookie, more) => ({
		time: 1,
		cookie,
		direction: "out",
		bytes_sent: 100,
		bytes_received: 50,
		...more,
	});
	t.open([c(1)]);
	assert.equal(t.take(), 0);
	t.open([c(1, { bytes_sent: 300 }), c(2, { direction: "in", remote_pid: 9 })]);
	assert.equal(t.take(), 200);
	t.close(c(1, { bytes_sent: 310 }));
	t.close(c(3));
	assert.equal(t.take(), 160);
	t.open([c(1, { bytes_sent: 305 })]); // the poll was under way when it closed
	assert.equal(t.take(), 0);
});

const { fold } = await load("fold.ts");

test("many addresses of one service become one node, few do not, and no byte is lost", () => {
	const remote = (n, prefix) => Array.from({ length: n }, (_, i) => `${prefix}${i}`);
	const edge = (from, to, port) => ({
		from,
		to,
		proto: "tcp",
		port,
		connections: 1,
		open: 0,
		failed: 0,
		bytes_sent: 10,
		bytes_received: 5,
	});
	const far = remote(9, "a");
	const few = remote(3, "b");
	const map = {
		nodes: [
			{ id: "web", kind: "service" },
			{ id: "db", kind: "service" },
			...[...far, ...few, "shared"].map((id) => ({ id, kind: "remote" })),
		],
		edges: [
			...far.map((to, i) => edge("web", to, i % 2 ? 80 : 443)),
			...few.map((to) => edge("db", to, 80)),
			edge("web", "shared", 80),
			edge("db", "shared", 80),
			edge("web", "db", 5432),
		],
	};
	const { map: small, groups, inside } = fold(map);
	assert.equal(groups.size, 1);
	assert.deepEqual([...groups.values()][0].members, far);
	assert.deepEqual(
		small.nodes.map((n) => n.id).filter((id) => !groups.has(id)),
		["web", "db", ...few, "shared"],
	);
	assert.equal(inside.get("a3"), [...groups.keys()][0]);
	const total = (m) => m.edges.reduce((n, e) => n + e.bytes_sent + e.connections, 0);
	assert.equal(total(small), total(map));
});
