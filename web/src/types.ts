// SPDX-License-Identifier: Apache-2.0
// The shapes of docs/api.md. Fields that are NULL are left out by the agent, hence optional.

export type Value = string | number | bigint | null;
export type Row = Record<string, Value | undefined>;

/** A process is (pid, started), never pid alone. */
export interface Process extends Row {
	pid: number;
	started: number;
	time?: number;
	ended?: number;
	ppid?: number;
	parent_started?: number;
	comm?: string;
	exe?: string;
	argv?: string;
	cwd?: string;
	uid?: number;
	caps?: number;
	service?: string;
	container?: string;
	container_name?: string;
	exit_code?: number;
	signal?: number;
}

export interface Connection extends Row {
	time: number;
	ended?: number;
	proto?: string;
	direction?: string;
	state?: string;
	pid?: number;
	started?: number;
	comm?: string;
	service?: string;
	local_addr?: string;
	local_port?: number;
	remote_addr?: string;
	remote_port?: number;
	remote_name?: string;
	remote_pid?: number;
	remote_started?: number;
	remote_comm?: string;
	remote_service?: string;
	bytes_sent?: number;
	bytes_received?: number;
	rtt_us?: number;
	retransmits?: number;
	error?: string;
	cookie?: number;
}

export interface Dns extends Row {
	time: number;
	name?: string;
	type?: string;
	rcode?: string;
}

export type SkepEvent = Row & { event: string; at: number };

export interface Report {
	what: string;
	ready: boolean;
	how?: string;
	reason?: string;
	fix?: string;
}

export interface Status {
	agent: {
		version: string;
		pid: number;
		started: number;
		uptime_s: number;
		resident_bytes: number;
		socket?: string;
		listen?: string;
		state_dir?: string;
	};
	host: { name: string; kernel: string; cpus: number; boot: number };
	lost: number;
	capabilities: { name: string; doc?: string; lost: number; reports: Report[] }[];
	features: { name: string; use?: string; ready: boolean; reason?: string; fix?: string }[];
	tables: {
		name: string;
		rows: number;
		open: number;
		appended: number;
		dropped: number;
		bytes: number;
	}[];
}

export interface MapNode {
	id: string;
	kind: "service" | "remote";
	runtime?: string;
	processes?: number;
	addr?: string;
}

export interface MapEdge {
	from: string;
	to: string;
	proto: string;
	port: number;
	connections: number;
	open: number;
	failed: number;
	bytes_sent: number;
	bytes_received: number;
	rtt_us?: number;
	retransmits?: number;
}

export interface ServiceMap {
	nodes: MapNode[];
	edges: MapEdge[];
}

export interface Schema {
	tables: {
		name: string;
		doc?: string;
		columns: { name: string; type: string; doc?: string }[];
	}[];
}

export interface Result {
	columns: string[];
	rows: Value[][];
	truncated: boolean;
	millisec: number;
}

export interface BalanceHealth {
	via?: "straight" | "tunnel";
	up: boolean;
	asked: boolean;
	us: number; // of the last probe
	probes: number;
	failures: number;
	reason: string;
}

export interface BalanceBackend {
	address: string;
	weight: number;
	state: string;
	was?: string; // its mode, of one that drains after a change of mode; listed beside
	drained: boolean; // by hand: a backend of weight 0 drains too
	mode?: string;
	health?: BalanceHealth; // of a backend that is probed
	packets: number;
	bytes: number;
	connections: number;
	entries: number;
}

export interface BalanceService {
	name: string;
	vips: string[];
	hash: string;
	slots: number;
	settled: boolean;
	backends: BalanceBackend[];
	dropped: Record<string, number>;
}

export interface Balance {
	services: BalanceService[];
	way: { interfaces: { name: string; native: boolean }[]; pinned: boolean };
}

/** What would become of a packet. */
export interface Why {
	verdict: string;
	reason: string;
	doc: string;
	reaches: boolean;
	steps: { what: string; text: string }[];
	advice?: string;
}
