// SPDX-License-Identifier: Apache-2.0
// Short lists for panels: connections and processes, each a link to its own view.
import { bytes, endpoint, since, text } from "../format";
import { href } from "../route";
import { keyOf, processKey } from "../tree";
import type { Connection, Process, Row } from "../types";
import { useQuery } from "./query";

export const connectionKey = (c: Connection): string =>
	[c.cookie ?? "", c.pid ?? "", c.local_port ?? "", c.remote_port ?? "", c.time].join("-");

function Line({ c }: { c: Connection }) {
	const failed = c.error !== undefined;
	return (
		<li class={failed ? "failed" : c.ended !== undefined ? "ended" : ""}>
			<a href={href("connections", { sel: connectionKey(c) })}>
				<span class="arrow" aria-label={c.direction}>
					{c.direction === "in" ? "←" : "→"}
				</span>
				<span class="cut">
					{text(c.service ?? c.comm)} {c.direction === "in" ? "from" : "to"}{" "}
					{text(c.remote_service ?? c.remote_addr)}
				</span>
				<span class="mono end">
					{failed ? text(c.error) : bytes((c.bytes_sent ?? 0) + (c.bytes_received ?? 0))}
				</span>
				<small class="mono cut">
					{text(c.proto)} {endpoint(c.remote_addr, c.remote_port)}
				</small>
				<small class="end">{failed ? "failed" : text(c.state)}</small>
			</a>
		</li>
	);
}

/** Newest first, of what `where` selects. */
export function ConnectionList({ where }: { where: string }) {
	const { rows, error } = useQuery(
		`select * from connection where ${where} order by time desc limit 60`,
		60,
	);
	return (
		<section>
			<h3>
				Connections{rows && <small>{rows.length === 60 ? "latest 60" : rows.length}</small>}
			</h3>
			{error && <p class="error">{text(error)}</p>}
			{rows?.length === 0 && <p class="muted">None in the table.</p>}
			<ul class="lines">
				{rows?.map((row: Row) => (
					<Line key={connectionKey(row as Connection)} c={row as Connection} />
				))}
			</ul>
		</section>
	);
}

export function ProcessList({ list }: { list: Process[] }) {
	const now = Date.now();
	return (
		<section>
			<h3>
				Processes<small>{list.length}</small>
			</h3>
			{list.length === 0 && <p class="muted">None runs.</p>}
			<ul class="lines">
				{list.slice(0, 50).map((p) => (
					<li key={keyOf(p)}>
						<a href={href("processes", { sel: processKey(p.pid, p.started) })}>
							<span class="mono pid">{p.pid}</span>
							<span class="cut">{text(p.comm)}</span>
							<span class="end muted">
								{p.time === undefined ? "" : since(p.time, now)}
							</span>
							<small class="mono cut">{text(p.argv ?? p.exe)}</small>
						</a>
					</li>
				))}
			</ul>
		</section>
	);
}
