// SPDX-License-Identifier: Apache-2.0
// The questions this host asked on port 53, and their answers.
import { useMemo, useState } from "preact/hooks";
import { useCell } from "../cell";
import { matcher } from "../filter";
import { clock, count, microseconds, text } from "../format";
import { dns, filter, polls } from "../model";
import { Fields } from "../parts/fields";
import { type Column, Grid, type Sort, sortRows, Tally } from "../parts/grid";
import { Panel } from "../parts/panel";
import { href, route, setParam } from "../route";
import { processKey } from "../tree";
import type { Dns as Question, Row } from "../types";

const key = (row: Question): string =>
	[row.time, row["pid"] ?? "", row.type ?? "", row.name ?? ""].join("-");

function Code({ row }: { row: Row }) {
	const code = row["rcode"];
	if (code === undefined) return <span class="badge warn">no answer</span>;
	return <span class={`badge ${code === "NOERROR" ? "good" : "bad"}`}>{text(code)}</span>;
}

const word = (
	name: string,
	title: string,
	width: number,
	extra: Partial<Column<Question>> = {},
): Column<Question> => ({
	key: name,
	title,
	width,
	cell: (row) => <span title={text(row[name])}>{text(row[name])}</span>,
	sort: (row) => row[name],
	...extra,
});

const COLUMNS: Column<Question>[] = [
	word("time", "Time", 108, { mono: true, cell: (row) => clock(row.time, true) }),
	word("service", "Service", 150, { grow: true }),
	word("comm", "Process", 130, { spare: 4 }),
	word("pid", "PID", 72, { spare: 2, end: true, mono: true }),
	word("type", "Type", 64),
	word("name", "Name", 220, { grow: true, mono: true }),
	word("rcode", "Result", 104, { cell: (row) => <Code row={row} /> }),
	word("answers", "Answers", 240, { grow: true, mono: true }),
	word("ttl", "TTL", 70, {
		spare: 1,
		end: true,
		mono: true,
		cell: (row) => (row["ttl"] === undefined ? "" : `${count(Number(row["ttl"]))} s`),
	}),
	word("latency_us", "Latency", 84, {
		end: true,
		mono: true,
		cell: (row) => microseconds(row["latency_us"] as number | undefined),
	}),
	word("server", "Server", 130, { spare: 3, mono: true }),
];

function Detail({ row, close }: { row: Question; close: () => void }) {
	const { pid, started } = row;
	return (
		<Panel title={text(row.name)} kind={`DNS ${text(row.type)}`} onClose={close}>
			{pid !== undefined && started !== undefined && (
				<p>
					<a href={href("processes", { sel: processKey(Number(pid), Number(started)) })}>
						Asked by process {String(pid)}
					</a>
				</p>
			)}
			<Fields table="dns" row={row} />
		</Panel>
	);
}

export function Dns() {
	const known = useCell(dns);
	const box = useCell(filter);
	const error = useCell(polls.dns.error);
	const selected = useCell(route).params.get("sel") ?? undefined;
	const [sort, setSort] = useState<Sort>({ key: "time", down: true });
	const rows = useMemo(() => {
		const match = matcher(box);
		const found = known?.rows ?? [];
		return sortRows(match ? found.filter(match) : found, COLUMNS, sort);
	}, [known, box, sort]);
	const detail = selected ? known?.rows.find((row) => key(row) === selected) : undefined;
	return (
		<div class="split">
			<section class="card fill" aria-label="DNS">
				<div class="card-head">
					<Tally
						shown={rows.length}
						total={known?.rows.length ?? 0}
						what="questions"
						truncated={known?.truncated ?? false}
					/>
				</div>
				{error && (
					<p class="error" role="alert">
						{text(error)}
					</p>
				)}
				<Grid
					label="DNS questions"
					columns={COLUMNS}
					rows={rows}
					rowKey={key}
					sort={sort}
					onSort={setSort}
					selected={selected}
					onOpen={(row) => setParam("sel", key(row))}
					empty={
						!known
							? error
								? ""
								: "Asking the agent…"
							: box
								? "No question matches the filter."
								: "No question was seen on port 53 yet."
					}
				/>
			</section>
			{detail && <Detail row={detail} close={() => setParam("sel", undefined)} />}
		</div>
	);
}
