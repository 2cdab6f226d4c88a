// SPDX-License-Identifier: Apache-2.0
// The agent's API: typed requests, and one event stream that comes back by itself.
import type {
	Balance,
	Connection,
	Dns,
	Process,
	Result,
	Row,
	Schema,
	ServiceMap,
	SkepEvent,
	Status,
	Why,
} from "./types";

/** status 0: no answer at all (the agent is gone). */
export class ApiError extends Error {
	constructor(
		readonly status: number,
		message: string,
	) {
		super(message);
	}
}

const TIMEOUT_MS = 15_000;
const QUERY_TIMEOUT_MS = 120_000;

async function request(
	path: string,
	init: RequestInit = {},
	timeout = TIMEOUT_MS,
): Promise<string> {
	let answer: Response;
	let body: string;
	try {
		answer = await fetch(path, {
			...init,
			cache: "no-store",
			signal: AbortSignal.timeout(timeout),
		});
		body = await answer.text();
	} catch (e) {
		const late = e instanceof DOMException && e.name === "TimeoutError";
		throw new ApiError(
			0,
			late ? `no answer within ${timeout / 1000} s` : "the agent does not answer",
		);
	}
	if (!answer.ok)
		throw new ApiError(answer.status, reason(body) ?? `the agent answered ${answer.status}`);
	return body;
}

function reason(body: string): string | undefined {
	try {
		const error: unknown = (JSON.parse(body) as { error?: unknown }).error;
		return typeof error === "string" ? error : undefined;
	} catch {
		return undefined;
	}
}

function parse<T>(body: string, reviver?: (key: string, value: unknown) => unknown): T {
	try {
		return JSON.parse(body, reviver) as T;
	} catch {
		throw new ApiError(502, "the answer is not JSON; is something else listening here?");
	}
}

async function get<T>(path: string): Promise<T> {
	return parse<T>(await request(path));
}

// Nanoseconds exceed 2^53: where the browser gives the number's source text, keep it exact.
function exact(
	this: unknown,
	_key: string,
	value: unknown,
	context?: { source?: string },
): unknown {
	if (typeof value !== "number" || Number.isSafeInteger(value) || !context?.source) return value;
	return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}

export const api = {
	status: () => get<Status>("v1/status"),
	schema: () => get<Schema>("v1/schema"),
	map: (seconds: number) => get<ServiceMap>(`v1/trace/map?seconds=${seconds}`),
	processes: (limit: number) =>
		get<{ processes: Process[]; truncated: boolean }>(
			`v1/guard/processes?all=0&limit=${limit}`,
		),
	connections: (all: boolean, limit: number) =>
		get<{ connections: Connection[]; truncated: boolean }>(
			`v1/trace/connections?all=${all ? 1 : 0}&limit=${limit}`,
		),
	dns: (limit: number) => get<{ dns: Dns[]; truncated: boolean }>(`v1/trace/dns?limit=${limit}`),
	balance: () => get<Balance>("v1/balance/services"),
	why: (packet: string) => get<Why>(`v1/balance/why?packet=${encodeURIComponent(packet)}`),
	/** `on` false: it gets new connections again. */
	drain(service: string, backend: string, on: boolean): Promise<string> {
		const query = new URLSearchParams({ service, backend, ...(on ? {} : { on: "0" }) });
		return request(`v1/balance/drain?${query}`, { method: "POST" });
	},
	async query(sql: string, limit: number): Promise<Result> {
		const body = await request(
			"v1/query",
			{
				method: "POST",
				headers: { "Content-Type": "application/json" },
				body: JSON.stringify({ sql, limit }),
			},
			QUERY_TIMEOUT_MS,
		);
		return parse<Result>(body, exact);
	},
};

/** The result of a query as objects, NULL left out: the shape the other answers have. */
export function objects(result: Result): Row[] {
	return result.rows.map((cells) => {
		const row: Row = {};
		result.columns.forEach((name, i) => {
			const value = cells[i];
			if (value !== null && value !== undefined)
				row[name] = typeof value === "bigint" ? Number(value) : value;
		});
		return row;
	});
}

/** A text as an SQL literal. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

const KINDS = [
	"process.fork",
	"process.exec",
	"process.exit",
	"connection.open",
	"connection.close",
	"dns",
	"lost",
	"balance.backend",
	"balance.packet",
];

export interface Listener {
	event(kind: string, data: SkepEvent): void;
	open(): void;
	broken(): void;
}

/** Follow the event stream until the returned function is called; reopens with growing pauses. */
export function follow(listener: Listener): () => void {
	let source: EventSource | undefined;
	let timer = 0;
	let pause = 500;
	const connect = () => {
		source = new EventSource("v1/events?kind=process,connection,dns");
		source.onopen = () => {
			pause = 500;
			listener.open();
		};
		source.onerror = () => {
			source?.close();
			listener.broken();
			timer = window.setTimeout(connect, pause);
			pause = Math.min(pause * 2, 8000);
		};
		for (const kind of KINDS)
			source.addEventListener(kind, (message: MessageEvent<string>) => {
				listener.event(kind, JSON.parse(message.data) as SkepEvent);
			});
	};
	connect();
	return () => {
		clearTimeout(timer);
		source?.close();
	};
}
