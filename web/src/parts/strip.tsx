// SPDX-License-Identifier: Apache-2.0
// The host in four numbers.
import { type Cell, useCell } from "../cell";
import { bytes, count, rate } from "../format";
import { byteRate, execRate, processes, type Series, status } from "../model";
import { Spark } from "./spark";

function Count({ title, value, note }: { title: string; value: string; note?: string }) {
	return (
		<div class="stat">
			<h2>{title}</h2>
			<strong>{value}</strong>
			{note && <small>{note}</small>}
		</div>
	);
}

function Rate({
	title,
	series,
	show,
}: {
	title: string;
	series: Cell<Series>;
	show: (n: number) => string;
}) {
	const now = useCell(series).value.at(-1);
	return (
		<div class="stat wide">
			<h2>{title}</h2>
			<strong>{now === undefined ? "…" : show(now)}</strong>
			<Spark series={series} label={`${title}, the last minutes`} />
		</div>
	);
}

export function Strip() {
	const tables = useCell(status)?.tables;
	const known = useCell(processes);
	const table = (name: string) => tables?.find((t) => t.name === name);
	const process = table("process");
	const connection = table("connection");
	const ended = known ? [...known.map.values()].filter((p) => p.ended !== undefined).length : 0;
	const runs = known && !known.truncated ? known.map.size - ended : process?.open;
	return (
		<div class="strip">
			<Count
				title="Processes running"
				value={runs === undefined ? "…" : count(runs)}
				{...(process && { note: `${count(process.appended)} seen` })}
			/>
			<Count
				title="Connections open"
				value={connection ? count(connection.open) : "…"}
				{...(connection && { note: `${count(connection.appended)} seen` })}
			/>
			<Rate title="Programs started" series={execRate} show={(n) => `${rate(n)}/s`} />
			<Rate title="Traffic" series={byteRate} show={(n) => `${bytes(n)}/s`} />
		</div>
	);
}
