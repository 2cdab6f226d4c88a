// SPDX-License-Identifier: Apache-2.0
// What the page knows of the host, kept true by polls and the event stream. Views only read it.
import { BalanceRates } from "./balance";
import { api, type ApiError, follow } from "./api";
import { Cell } from "./cell";
import { Poll } from "./poll";
import { mapSeconds } from "./prefs";
import { route } from "./route";
import { Traffic } from "./traffic";
import { keyOf } from "./tree";
import type { Balance, Connection, Dns, Process, ServiceMap, SkepEvent, Status } from "./types";

export const PROCESS_LIMIT = 20_000;
export const ROW_LIMIT = 10_000;
const FEED = 200;
const POINTS = 150;
const FLUSH_MS = 500;
const GHOST_MS = 6_000; // how long an ended process still shows

export type Link = "connecting" | "up" | "gone" | "denied";

export const link = new Cell<Link>("connecting");
export const lastAnswer = new Cell(0);
export const streaming = new Cell(false);
export const paused = new Cell(false);
export const filter = new Cell("");
export const allConnections = new Cell(false);

export const status = new Cell<Status | undefined>(undefined);
export const processes = new Cell<{ map: Map<string, Process>; truncated: boolean } | undefined>(
	undefined,
);
export const connections = new Cell<{ rows: Connection[]; truncated: boolean } | undefined>(
	undefined,
);
export const dns = new Cell<{ rows: Dns[]; truncated: boolean } | undefined>(undefined);
export const serviceMap = new Cell<ServiceMap | undefined>(undefined);
export const balance = new Cell<Balance | undefined>(undefined);
export const balanceRates = new BalanceRates();
export const feed = new Cell<SkepEvent[]>([]);
/** Events the stream dropped because this page was too slow. */
export const streamLost = new Cell(0);

export interface Series {
	time: number[];
	value: number[];
}
export const execRate = new Cell<Series>({ time: [], value: [] });
export const byteRate = new Cell<Series>({ time: [], value: [] });

function push(cell: Cell<Series>, value: number): void {
	const { time, value: values } = cell.value;
	cell.set({
		time: [...time.slice(1 - POINTS), Date.now() / 1000],
		value: [...values.slice(1 - POINTS), value],
	});
}

// ---- polls ---------------------------------------------------------------------------------------

const here = (...views: string[]) => views.includes(route.value.view);
const running = () => !document.hidden && link.value !== "denied";
const live = () => running() && !paused.value && link.value === "up";

function refused(e: ApiError): void {
	if (e.status === 401) link.set("denied");
	else if (e.status === 0 && link.value === "up") polls.status.kick();
}

async function askStatus(): Promise<void> {
	let now: Status;
	try {
		now = await api.status();
	} catch (e) {
		if ((e as ApiError).status === 0) setGone();
		throw e;
	}
	const before = status.value;
	lastAnswer.set(Date.now());
	status.set(now);
	if (before && before.agent.started !== now.agent.started) forget();
	if (link.value !== "up") {
		link.set("up");
		restart();
	}
}

function setGone(): void {
	if (link.value === "gone") return;
	link.set("gone");
	stop();
}

let during: SkepEvent[] | undefined; // events that came while a snapshot was under way

async function askProcesses(): Promise<void> {
	during = [];
	try {
		const answer = await api.processes(PROCESS_LIMIT);
		const map = new Map(answer.processes.map((p) => [keyOf(p), p]));
		for (const e of during) applyProcess(map, e);
		processes.set({ map, truncated: answer.truncated });
	} finally {
		during = undefined;
	}
}

const traffic = new Traffic();
let trafficSince = 0;
let openRows: Connection[] = [];

function meter(rows: Connection[]): void {
	const now = performance.now();
	const elapsed = (now - trafficSince) / 1000;
	if (trafficSince === 0 || elapsed > 60) traffic.reset();
	traffic.open(rows);
	const moved = traffic.take();
	if (trafficSince !== 0 && elapsed <= 60) push(byteRate, moved / elapsed);
	trafficSince = now;
}

async function askConnections(): Promise<void> {
	const all = allConnections.value && here("connections");
	const answer = await api.connections(all, ROW_LIMIT);
	openRows = all ? answer.connections.filter((c) => c.ended === undefined) : answer.connections;
	meter(openRows);
	connections.set({ rows: answer.connections, truncated: answer.truncated });
}

async function askDns(): Promise<void> {
	const answer = await api.dns(ROW_LIMIT);
	dns.set({ rows: answer.dns, truncated: answer.truncated });
}

async function askBalance(): Promise<void> {
	const answer = await api.balance();
	balanceRates.take(answer, performance.now() / 1000);
	balance.set(answer);
}

export const polls = {
	status: new Poll(askStatus, () => 2000, running, refused),
	// The stream keeps the processes true; the snapshot mends what it lost.
	processes: new Poll(askProcesses, () => (streaming.value ? 60_000 : 3000), live, refused),
	connections: new Poll(
		askConnections,
		() => 2000,
		() => live() && here("", "connections"),
		refused,
	),
	dns: new Poll(
		askDns,
		() => 2000,
		() => live() && here("dns"),
		refused,
	),
	balance: new Poll(
		askBalance,
		() => 2000,
		() => live() && here("balance"),
		refused,
	),
	map: new Poll(
		async () => serviceMap.set(await api.map(mapSeconds.value)),
		() => 2000,
		() => live() && here(""),
		refused,
	),
};

// ---- the stream ----------------------------------------------------------------------------------

let arrived: SkepEvent[] = [];
let closeStream: (() => void) | undefined;
let flushTimer = 0;
let execs = 0;
let execsSince = 0;

function applyProcess(map: Map<string, Process>, { event, at: _at, ...row }: SkepEvent): void {
	const key = keyOf(row as Process);
	if (event === "process.exit") {
		if (map.has(key)) map.set(key, { ...(row as Process), ended: row["ended"] as number });
	} else if (event.startsWith("process.")) map.set(key, row as Process);
}

function dropGhosts(map: Map<string, Process>): boolean {
	const before = (Date.now() - GHOST_MS) * 1e6;
	let dropped = false;
	for (const [key, p] of map)
		if (p.ended !== undefined && p.ended < before) dropped = map.delete(key) || dropped;
	return dropped;
}

function flush(): void {
	const batch = arrived;
	arrived = [];
	const known = processes.value;
	if (known) {
		for (const e of batch) applyProcess(known.map, e);
		const dropped = dropGhosts(known.map);
		if (dropped || batch.some((e) => e.event.startsWith("process.")))
			processes.set({ ...known });
	}
	for (const e of batch) {
		if (e.event === "process.exec") execs++;
		if (e.event === "connection.close") traffic.close(e as unknown as Connection);
	}
	const now = performance.now();
	if (now - execsSince >= 1000) {
		push(execRate, execs / ((now - execsSince) / 1000));
		execs = 0;
		execsSince = now;
	}
	if (batch.length > 0) feed.set([...feed.value, ...batch].slice(-FEED));
}

function onEvent(kind: string, data: SkepEvent): void {
	if (kind === "lost") {
		streamLost.set(streamLost.value + Number(data["events"] ?? 0));
		polls.processes.kick();
		return;
	}
	arrived.push(data);
	during?.push(data);
}

function start(): void {
	if (closeStream || !live()) return;
	execs = 0;
	execsSince = performance.now();
	closeStream = follow({
		event: onEvent,
		open() {
			streaming.set(true);
			polls.processes.kick();
		},
		broken() {
			streaming.set(false);
			polls.status.kick();
			polls.processes.kick();
		},
	});
	flushTimer = window.setInterval(flush, FLUSH_MS);
}

function stop(): void {
	closeStream?.();
	closeStream = undefined;
	clearInterval(flushTimer);
	streaming.set(false);
}

function kickAll(): void {
	for (const poll of Object.values(polls)) poll.kick();
}

function restart(): void {
	stop();
	start();
	kickAll();
}

/** Another agent answers now: what the old one told is past. */
function forget(): void {
	processes.set(undefined);
	connections.set(undefined);
	dns.set(undefined);
	serviceMap.set(undefined);
	balance.set(undefined);
	balanceRates.reset();
	feed.set([]);
	streamLost.set(0);
	traffic.reset();
	restart();
}

export function begin(): void {
	route.watch(kickAll);
	mapSeconds.watch(() => polls.map.kick());
	allConnections.watch(() => polls.connections.kick());
	paused.watch(() => (paused.value ? stop() : restart()));
	document.addEventListener("visibilitychange", () => (document.hidden ? stop() : restart()));
	polls.status.kick();
}
