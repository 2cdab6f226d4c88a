// SPDX-License-Identifier: Apache-2.0
// All processes as a tree, live.
import { useMemo, useState } from "preact/hooks";
import { Cell, useCell } from "../cell";
import { matcher } from "../filter";
import { since, text } from "../format";
import { filter, polls, processes } from "../model";
import { Fields } from "../parts/fields";
import { type Column, compare, Grid, type Sort, Tally } from "../parts/grid";
import { Panel } from "../parts/panel";
import { ConnectionList } from "../parts/peers";
import { useQuery } from "../parts/query";
import { href, route, setParam } from "../route";
import { flatten, isKernel, keyOf, processKey, type TreeRow } from "../tree";
import type { Process, Row } from "../types";

const fate = (p: Process): string =>
	p.ended === undefined ? "" : p.signal ? `signal ${p.signal}` : `exit ${p.exit_code ?? 0}`;

function Name({ row, toggle }: { row: TreeRow; toggle: (row: TreeRow) => void }) {
	const click = (e: Event) => {
		e.stopPropagation();
		toggle(row);
	};
	return (
		<span class="branch" style={{ paddingLeft: `${Math.min(row.depth, 24) * 14}px` }}>
			{row.children > 0 ? (
				<i class="twist" aria-hidden="true" onClick={click}>
					{row.open ? "▾" : "▸"}
				</i>
			) : (
				<i class="twist" aria-hidden="true" />
			)}
			<span class="cut" title={text(row.process.comm)}>
				{text(row.process.comm)}
			</span>
			{!row.open && row.children > 0 && <small class="badge">{row.children}</small>}
			{row.process.ended !== undefined && (
				<small class={`badge ${row.process.signal || row.process.exit_code ? "warn" : ""}`}>
					{fate(row.process)}
				</small>
			)}
		</span>
	);
}

function columns(toggle: (row: TreeRow) => void, now: number): Column<TreeRow>[] {
	const plain = (
		key: string,
		title: string,
		width: number,
		extra: Partial<Column<TreeRow>> = {},
	): Column<TreeRow> => ({
		key,
		title,
		width,
		cell: ({ process }) => <span title={text(process[key])}>{text(process[key])}</span>,
		sort: ({ process }) => process[key],
		...extra,
	});
	return [
		plain("comm", "Process", 230, { cell: (row) => <Name row={row} toggle={toggle} /> }),
		plain("pid", "PID", 72, { end: true, mono: true }),
		plain("uid", "User", 58, { spare: 1, end: true, mono: true, hint: "user id" }),
		plain("service", "Service", 130),
		plain("argv", "Command", 220, { grow: true, mono: true }),
		plain("exe", "Binary", 150, { spare: 3, mono: true }),
		plain("cwd", "Directory", 120, { spare: 4, mono: true }),
		plain("container", "Container", 110, {
			spare: 2,
			mono: true,
			cell: ({ process: p }) => (
				<span title={text(p.container)}>
					{text(p.container_name ?? p.container?.slice(0, 12))}
				</span>
			),
		}),
		plain("started", "Age", 82, {
			end: true,
			cell: ({ process: p }) =>
				p.time === undefined
					? ""
					: since(p.time, p.ended === undefined ? now : p.ended / 1e6),
			sort: ({ process: p }) => (p.time === undefined ? undefined : -p.time),
		}),
	];
}

function Detail({ id, close }: { id: string; close: () => void }) {
	const known = useCell(processes)?.map.get(id);
	const [pid = 0, started = 0] = id.split(".").map(Number);
	// Beyond 2^53 ns of uptime the browser rounds `started`, hence the range.
	const where = `pid = ${pid} and started between ${Math.max(0, started - 1024)} and ${started + 1024}`;
	const past = useQuery(
		known ? undefined : `select * from process where ${where} order by time desc limit 1`,
		1,
	);
	const row: Row | undefined = known ?? past.rows?.[0];
	const parent = row && processKey(Number(row["ppid"] ?? 0), Number(row["parent_started"] ?? 0));
	const hasParent = useCell(processes)?.map.has(parent ?? "");
	return (
		<Panel
			title={row ? text(row["comm"]) : `process ${pid}`}
			kind={`process ${pid}`}
			onClose={close}
		>
			{past.error && <p class="error">{text(past.error)}</p>}
			{past.rows?.length === 0 && <p class="muted">It is no longer in the table.</p>}
			{hasParent && parent && (
				<p>
					<a href={href("processes", { sel: parent })}>
						Its parent, {String(row["ppid"])}
					</a>
				</p>
			)}
			{row && <Fields table="process" row={row} />}
			<ConnectionList where={where} />
		</Panel>
	);
}

/** What a person collapsed; outlives the view. Until then it is the kernel's threads, unless filtered. */
const closed = new Cell<ReadonlySet<string> | undefined>(undefined);
const none: ReadonlySet<string> = new Set();

function shutNow(): ReadonlySet<string> {
	if (closed.value || filter.value) return closed.value ?? none;
	return new Set([...(processes.value?.map.values() ?? [])].filter(isKernel).map(keyOf));
}

function toggle({ key, open }: TreeRow): void {
	const next = new Set(shutNow());
	if (open) next.add(key);
	else next.delete(key);
	closed.set(next);
}

const levels = {
	depth: (row: TreeRow) => row.depth,
	open: (row: TreeRow) => (row.children > 0 ? row.open : undefined),
	toggle,
};

function orderBy(sort: Sort | undefined, list: Column<TreeRow>[]) {
	const by = sort && list.find((c) => c.key === sort.key)?.sort;
	if (!by) return undefined;
	const value = (process: Process) => by({ process } as TreeRow);
	return (a: Process, b: Process) =>
		compare(value(a), value(b)) * (sort.down ? -1 : 1) || a.pid - b.pid;
}

export function Processes() {
	const known = useCell(processes);
	const shut = useCell(closed);
	const box = useCell(filter);
	const error = useCell(polls.processes.error);
	const selected = useCell(route).params.get("sel") ?? undefined;
	const [sort, setSort] = useState<Sort>();
	const list = columns(toggle, Date.now());
	const rows = useMemo(
		() => (known ? flatten(known.map, shutNow(), matcher(box), orderBy(sort, list)) : []),
		[known, shut, box, sort],
	);
	const running = useMemo(() => {
		let n = 0;
		for (const p of known?.map.values() ?? []) if (p.ended === undefined) n++;
		return n;
	}, [known]);
	const shown = box
		? rows.filter((r) => !r.dim && r.process.ended === undefined).length
		: running;
	const collapse = () => closed.set(new Set([...(known?.map.values() ?? [])].map(keyOf)));
	return (
		<div class="split">
			<section class="card fill" aria-label="Process tree">
				<div class="card-head">
					<Tally
						shown={shown}
						total={running}
						what="processes"
						truncated={known?.truncated ?? false}
					/>
					<button type="button" class="quiet" onClick={() => closed.set(none)}>
						Expand all
					</button>
					<button type="button" class="quiet" onClick={collapse}>
						Collapse all
					</button>
				</div>
				{error && (
					<p class="error" role="alert">
						{text(error)}
					</p>
				)}
				<Grid
					label="Processes"
					columns={list}
					rows={rows}
					rowKey={(row) => row.key}
					rowClass={(row) =>
						row.process.ended !== undefined ? "ended" : row.dim ? "dim" : ""
					}
					levels={levels}
					sort={sort}
					onSort={setSort}
					selected={selected}
					onOpen={(row) => setParam("sel", row.key)}
					empty={
						known ? "No process matches the filter." : error ? "" : "Asking the agent…"
					}
				/>
			</section>
			{selected && (
				<Detail key={selected} id={selected} close={() => setParam("sel", undefined)} />
			)}
		</div>
	);
}
