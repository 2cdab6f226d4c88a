// SPDX-License-Identifier: Apache-2.0
// What the agent can do on this host, why not, and what it holds.
import { useCell } from "../cell";
import { filter, polls, status, streaming, streamLost } from "../model";
import { bytes, count, moment, span, text } from "../format";
import { matcher } from "../filter";
import type { Report, Row, Status } from "../types";

function Ready({ ready }: { ready: boolean }) {
	return <span class={`badge ${ready ? "good" : "bad"}`}>{ready ? "ready" : "not ready"}</span>;
}

function Why({ reason, fix }: { reason?: string | undefined; fix?: string | undefined }) {
	return (
		<>
			{reason && <span>{text(reason)}</span>}
			{fix && <span class="fix">{text(fix)}</span>}
		</>
	);
}

function ReportRow({ r }: { r: Report }) {
	return (
		<tr>
			<th scope="row">{text(r.what)}</th>
			<td>
				<Ready ready={r.ready} />
			</td>
			<td>
				{r.how && <code>{text(r.how)}</code>}
				<Why reason={r.reason} fix={r.fix} />
			</td>
		</tr>
	);
}

function Capability({ c }: { c: Status["capabilities"][number] }) {
	return (
		<section class="card capability">
			<div class="card-head">
				<h2>{text(c.name)}</h2>
				{c.lost > 0 ? (
					<span class="badge bad">{count(c.lost)} events lost</span>
				) : (
					<span class="badge good">nothing lost</span>
				)}
			</div>
			{c.doc && <p class="muted">{text(c.doc)}</p>}
			<table class="plain">
				<thead>
					<tr>
						<th scope="col">Watches</th>
						<th scope="col">State</th>
						<th scope="col">How, or why not</th>
					</tr>
				</thead>
				<tbody>
					{c.reports.map((r) => (
						<ReportRow key={r.what} r={r} />
					))}
				</tbody>
			</table>
		</section>
	);
}

function Agent({ now }: { now: Status }) {
	const stream = useCell(streaming);
	const slow = useCell(streamLost);
	const facts: [string, string][] = [
		["Host", `${text(now.host.name)}, ${now.host.cpus} CPUs`],
		["Kernel", text(now.host.kernel)],
		["Booted", moment(now.host.boot)],
		["Agent", `skep ${text(now.agent.version)}, pid ${now.agent.pid}`],
		["Up for", span(now.agent.uptime_s)],
		["Memory", `${bytes(now.agent.resident_bytes)} resident`],
		[
			"Listens on",
			[now.agent.listen, now.agent.socket].filter(Boolean).map(text).join(" and "),
		],
		["State in", text(now.agent.state_dir)],
		["Event stream", stream ? "connected" : "not connected, polling"],
	];
	return (
		<section class="card">
			<h2>Agent and host</h2>
			<dl class="fields">
				{facts.map(
					([name, value]) =>
						value && (
							<div key={name}>
								<dt>{name}</dt>
								<dd>{value}</dd>
							</div>
						),
				)}
				<div>
					<dt>Events lost</dt>
					<dd class={now.lost ? "error-text" : ""}>
						{now.lost ? `${count(now.lost)} in the agent` : "none"}
						{slow > 0 && `, ${count(slow)} because this page was too slow`}
					</dd>
				</div>
			</dl>
		</section>
	);
}

function Tables({ tables }: { tables: Status["tables"] }) {
	return (
		<section class="card">
			<h2>Tables</h2>
			<table class="plain">
				<thead>
					<tr>
						<th scope="col">Table</th>
						<th scope="col" class="end">
							Rows
						</th>
						<th scope="col" class="end">
							Open
						</th>
						<th scope="col" class="end">
							Appended
						</th>
						<th scope="col" class="end">
							Fallen out
						</th>
						<th scope="col" class="end">
							Memory
						</th>
					</tr>
				</thead>
				<tbody>
					{tables.map((t) => (
						<tr key={t.name}>
							<th scope="row">{text(t.name)}</th>
							<td class="end mono">{count(t.rows)}</td>
							<td class="end mono">{count(t.open)}</td>
							<td class="end mono">{count(t.appended)}</td>
							<td class="end mono">{count(t.dropped)}</td>
							<td class="end mono">{bytes(t.bytes)}</td>
						</tr>
					))}
				</tbody>
			</table>
		</section>
	);
}

function Features({ features }: { features: Status["features"] }) {
	const match = matcher(useCell(filter));
	const shown = match ? features.filter((f) => match(f as unknown as Row)) : features;
	const order = [...shown].sort((a, b) => Number(a.ready) - Number(b.ready));
	return (
		<section class="card features">
			<div class="card-head">
				<h2>Features of this kernel</h2>
				<span class="muted">
					{features.filter((f) => f.ready).length} of {features.length} ready
				</span>
			</div>
			<table class="plain">
				<thead>
					<tr>
						<th scope="col">Feature</th>
						<th scope="col">State</th>
						<th scope="col">Used for</th>
						<th scope="col">Why not, and what would fix it</th>
					</tr>
				</thead>
				<tbody>
					{order.map((f) => (
						<tr key={f.name}>
							<th scope="row">
								<code>{text(f.name)}</code>
							</th>
							<td>
								<Ready ready={f.ready} />
							</td>
							<td>{text(f.use)}</td>
							<td>
								<Why reason={f.reason} fix={f.fix} />
							</td>
						</tr>
					))}
				</tbody>
			</table>
			{shown.length === 0 && <p class="empty">No feature matches the filter.</p>}
		</section>
	);
}

export function StatusView() {
	const now = useCell(status);
	const error = useCell(polls.status.error);
	if (!now) return <p class="empty">{error ? text(error) : "Asking the agent…"}</p>;
	return (
		<>
			{error && (
				<p class="error" role="alert">
					{text(error)}
				</p>
			)}
			<div class="status-grid">
				<Agent now={now} />
				<Tables tables={now.tables} />
				{now.capabilities.map((c) => (
					<Capability key={c.name} c={c} />
				))}
			</div>
			<Features features={now.features} />
		</>
	);
}
