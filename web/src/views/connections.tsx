// SPDX-License-Identifier: Apache-2.0
// Every connection of the host: one row per end.
import { useMemo, useState } from "preact/hooks";
import { useCell } from "../cell";
import { matcher } from "../filter";
import { bytes, count, endpoint, microseconds, span, text } from "../format";
import { allConnections, connections, filter, polls } from "../model";
import { Fields } from "../parts/fields";
import { type Column, Grid, type Sort, sortRows, Tally } from "../parts/grid";
import { Panel } from "../parts/panel";
import { connectionKey } from "../parts/peers";
import { href, route, setParam } from "../route";
import { processKey } from "../tree";
import type { Connection } from "../types";

const age = (c: Connection): number => ((c.ended ?? Date.now() * 1e6) - c.time) / 1e9;

function State({ c }: { c: Connection }) {
	const mood =
		c.error !== undefined || c.state === "failed" ? "bad" : c.ended !== undefined ? "" : "good";
	return <span class={`badge ${mood}`}>{text(c.state).toLowerCase()}</span>;
}

function Remote({ c }: { c: Connection }) {
	const name = c.remote_service !== c.remote_addr ? c.remote_service : undefined;
	const where = endpoint(c.remote_addr, c.remote_port);
	return (
		<span title={[c.remote_service, c.remote_name, where].filter(Boolean).map(text).join("\n")}>
			{name && <b>{text(name)} </b>}
			{c.remote_name && c.remote_name !== name && <span>{text(c.remote_name)} </span>}
			<span class="mono muted">{where}</span>
		</span>
	);
}

function Owner({ c }: { c: Connection }) {
	return (
		<span title={`${text(c.service)}\n${text(c.comm)} ${c.pid ?? ""}`}>
			<b>{text(c.service ?? c.comm)}</b>{" "}
			<span class="muted">
				{c.service && c.comm && c.service !== c.comm ? `${text(c.comm)} ` : ""}
				{c.pid}
			</span>
		</span>
	);
}

const COLUMNS: Column<Connection>[] = [
	{
		key: "state",
		title: "State",
		width: 112,
		cell: (c) => <State c={c} />,
		sort: (c) => c.state,
	},
	{
		key: "direction",
		title: "Dir",
		width: 48,
		hint: "out: this end asked; in: this end was asked",
		cell: (c) => text(c.direction),
		sort: (c) => c.direction,
	},
	{
		key: "proto",
		title: "Proto",
		width: 56,
		spare: 3,
		cell: (c) => text(c.proto),
		sort: (c) => c.proto,
	},
	{
		key: "service",
		title: "Service",
		width: 170,
		grow: true,
		cell: (c) => <Owner c={c} />,
		sort: (c) => c.service ?? c.comm,
	},
	{
		key: "local_addr",
		title: "Local",
		width: 150,
		spare: 4,
		mono: true,
		cell: (c) => (
			<span title={endpoint(c.local_addr, c.local_port)}>
				{endpoint(c.local_addr, c.local_port)}
			</span>
		),
		sort: (c) => endpoint(c.local_addr, c.local_port),
	},
	{
		key: "remote",
		title: "Remote",
		width: 230,
		grow: true,
		cell: (c) => <Remote c={c} />,
		sort: (c) => c.remote_service ?? c.remote_addr,
	},
	{
		key: "bytes_sent",
		title: "Sent",
		width: 84,
		end: true,
		mono: true,
		cell: (c) => bytes(c.bytes_sent),
		sort: (c) => c.bytes_sent,
	},
	{
		key: "bytes_received",
		title: "Received",
		width: 84,
		end: true,
		mono: true,
		cell: (c) => bytes(c.bytes_received),
		sort: (c) => c.bytes_received,
	},
	{
		key: "rtt_us",
		title: "RTT",
		width: 72,
		spare: 1,
		end: true,
		mono: true,
		hint: "smoothed round-trip time",
		cell: (c) => microseconds(c.rtt_us),
		sort: (c) => c.rtt_us,
	},
	{
		key: "retransmits",
		title: "Retr.",
		width: 54,
		spare: 2,
		end: true,
		mono: true,
		hint: "segments sent again",
		cell: (c) => (c.retransmits ? count(c.retransmits) : ""),
		sort: (c) => c.retransmits,
	},
	{
		key: "duration",
		title: "Duration",
		width: 86,
		end: true,
		mono: true,
		cell: (c) => span(age(c)),
		sort: age,
	},
	{
		key: "error",
		title: "Error",
		width: 118,
		mono: true,
		cell: (c) => <span class="error-text">{text(c.error)}</span>,
		sort: (c) => c.error,
	},
];

function ProcessLink({
	title,
	pid,
	started,
}: {
	title: string;
	pid: number | undefined;
	started: number | undefined;
}) {
	if (pid === undefined || started === undefined) return null;
	return (
		<a href={href("processes", { sel: processKey(pid, started) })}>
			{title} {pid}
		</a>
	);
}

function Detail({ c, close }: { c: Connection; close: () => void }) {
	return (
		<Panel
			title={`${text(c.service ?? c.comm)} ${c.direction === "in" ? "←" : "→"} ${text(c.remote_service ?? c.remote_addr)}`}
			kind={`${text(c.proto)} connection`}
			onClose={close}
		>
			<p class="jump">
				<ProcessLink title="This end: process" pid={c.pid} started={c.started} />
				<ProcessLink
					title="Other end: process"
					pid={c.remote_pid}
					started={c.remote_started}
				/>
			</p>
			<Fields table="connection" row={c} />
		</Panel>
	);
}

function Scope() {
	const all = useCell(allConnections);
	return (
		<div class="choice" role="group" aria-label="Which connections">
			<button type="button" aria-pressed={!all} onClick={() => allConnections.set(false)}>
				Open
			</button>
			<button type="button" aria-pressed={all} onClick={() => allConnections.set(true)}>
				All
			</button>
		</div>
	);
}

export function Connections() {
	const known = useCell(connections);
	const box = useCell(filter);
	const error = useCell(polls.connections.error);
	const all = useCell(allConnections);
	const selected = useCell(route).params.get("sel") ?? undefined;
	const [sort, setSort] = useState<Sort>({ key: "bytes_sent", down: true });
	const rows = useMemo(() => {
		const match = matcher(box);
		const found = known?.rows ?? [];
		return sortRows(match ? found.filter(match) : found, COLUMNS, sort);
	}, [known, box, sort]);
	const detail = selected ? known?.rows.find((c) => connectionKey(c) === selected) : undefined;
	const close = () => setParam("sel", undefined);
	return (
		<div class="split">
			<section class="card fill" aria-label="Connections">
				<div class="card-head">
					<Tally
						shown={rows.length}
						total={known?.rows.length ?? 0}
						what={all ? "connections" : "open connections"}
						truncated={known?.truncated ?? false}
					/>
					<Scope />
				</div>
				{error && (
					<p class="error" role="alert">
						{text(error)}
					</p>
				)}
				<Grid
					label="Connections"
					columns={COLUMNS}
					rows={rows}
					rowKey={connectionKey}
					rowClass={(c) =>
						c.error !== undefined ? "failed" : c.ended !== undefined ? "ended" : ""
					}
					sort={sort}
					onSort={setSort}
					selected={selected}
					onOpen={(c) => setParam("sel", connectionKey(c))}
					empty={
						!known
							? error
								? ""
								: "Asking the agent…"
							: box
								? "No connection matches the filter."
								: "No connection is open."
					}
				/>
			</section>
			{detail && <Detail c={detail} close={close} />}
			{selected && known && !detail && (
				<Panel title="Not in this list" kind="connection" onClose={close}>
					<p class="muted">It ended, or it was never among the rows shown.</p>
					{!all && (
						<button type="button" onClick={() => allConnections.set(true)}>
							Show ended ones too
						</button>
					)}
				</Panel>
			)}
		</div>
	);
}
