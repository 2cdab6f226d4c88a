// SPDX-License-Identifier: Apache-2.0
// The service map, the host in four numbers, and what happens now.
import { useMemo, useState } from "preact/hooks";
import { literal } from "../api";
import { type Cell, useCell } from "../cell";
import { bytes, clock, count, endpoint, microseconds, rate, text } from "../format";
import { matcher } from "../filter";
import { fold, type Folded, type Group, groupName } from "../fold";
import {
	byteRate, execRate, feed, filter, polls, processes, type Series, serviceMap, status,
} from "../model";
import { Panel } from "../parts/panel";
import { ConnectionList, ProcessList } from "../parts/peers";
import { edgeBytes, edgeKey, nodeBytes, type Selection, ServiceMapBox } from "../parts/servicemap";
import { Spark } from "../parts/spark";
import { mapSeconds } from "../prefs";
import type { MapEdge, MapNode, Row, ServiceMap, SkepEvent } from "../types";

const WINDOWS = [
	[60, "1 minute"],
	[300, "5 minutes"],
	[3600, "1 hour"],
] as const;

function Count({ title, value, note }: { title: string; value: string; note?: string }) {
	return (
		<div class="stat">
			<h2>{title}</h2>
			<strong>{value}</strong>
			{note && <small>{note}</small>}
		</div>
	);
}

function Rate({ title, series, show }: { title: string; series: Cell<Series>; show: (n: number) => string }) {
	const now = useCell(series).value.at(-1);
	return (
		<div class="stat wide">
			<h2>{title}</h2>
			<strong>{now === undefined ? "…" : show(now)}</strong>
			<Spark series={series} label={`${title}, the last minutes`} />
		</div>
	);
}

function Strip() {
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

function says(e: SkepEvent): string {
	const who = text(e["service"] ?? e["comm"]);
	const peer = text(e["remote_service"] ?? e["remote_addr"]);
	switch (e.event) {
		case "process.exec":
			return text(e["argv"] ?? e["exe"] ?? e["comm"]);
		case "process.fork":
			return `${text(e["comm"])} forked as ${e["pid"]}`;
		case "process.exit": {
			const how = e["signal"] ? `signal ${e["signal"]}` : `code ${e["exit_code"] ?? 0}`;
			return `${text(e["comm"])} ended, ${how}`;
		}
		case "dns":
			return `${who} asked ${text(e["type"])} ${text(e["name"])}: ${text(e["answers"] ?? e["rcode"] ?? "no answer")}`;
		default: {
			const verb = e["direction"] === "in" ? "from" : "to";
			const end = e["error"] ? ` ${text(e["error"])}` : "";
			return `${who} ${verb} ${peer} ${endpoint(undefined, e[e["direction"] === "in" ? "local_port" : "remote_port"] as number)}${end}`;
		}
	}
}

const mood = (e: SkepEvent): string =>
	e["error"] || e["signal"] || (typeof e["exit_code"] === "number" && e["exit_code"] > 0) ? "failed" : "";

/** A connection inside the host happens at two ends; the feed tells it once. */
const telling = (e: SkepEvent): boolean =>
	e.event !== "process.fork" && !(e["direction"] === "in" && e["remote_pid"] !== undefined);

function Feed() {
	const all = useCell(feed);
	const match = matcher(useCell(filter));
	const events = useMemo(() => {
		const shown = all.filter((e) => telling(e) && (!match || match(e)));
		return shown.slice(-60).reverse();
	}, [all, match]);
	return (
		<section class="card feed" aria-label="Live events">
			<h2>Events</h2>
			{events.length === 0 && <p class="empty">{match ? "No recent event matches the filter." : "Waiting for events…"}</p>}
			<ol>
				{events.map((e, i) => (
					<li key={`${e.at}-${i}`} class={mood(e)}>
						<time>{clock(e.at)}</time>
						<span class={`kind ${e.event.split(".")[0]}`}>{e.event.replace(/^(process|connection)\./, "")}</span>
						<span class="cut" title={says(e)}>
							{says(e)}
						</span>
					</li>
				))}
			</ol>
		</section>
	);
}

function Totals({ edges }: { edges: MapEdge[] }) {
	const sum = (f: (e: MapEdge) => number) => edges.reduce((total, e) => total + f(e), 0);
	const failed = sum((e) => e.failed);
	const rtt = edges.map((e) => e.rtt_us ?? 0).filter((n) => n > 0);
	return (
		<dl class="totals">
			<div><dt>Connections</dt><dd>{count(sum((e) => e.connections))}</dd></div>
			<div><dt>Open</dt><dd>{count(sum((e) => e.open))}</dd></div>
			<div class={failed > 0 ? "failed" : ""}><dt>Failed</dt><dd>{count(failed)}</dd></div>
			<div><dt>Asked →</dt><dd>{bytes(sum((e) => e.bytes_sent))}</dd></div>
			<div><dt>Answered ←</dt><dd>{bytes(sum((e) => e.bytes_received))}</dd></div>
			<div><dt>Round trip</dt><dd>{rtt.length ? microseconds(Math.max(...rtt)) : "–"}</dd></div>
			<div><dt>Retransmits</dt><dd>{count(sum((e) => e.retransmits ?? 0))}</dd></div>
		</dl>
	);
}

function LinkRow({ e, choose }: { e: MapEdge; choose: (s: Selection) => void }) {
	return (
		<li class={e.failed > 0 ? "failed" : ""}>
			<button type="button" onClick={() => choose({ edge: edgeKey(e) })}>
				<span class="cut">
					{text(e.from)} <span aria-label="to">→</span> {text(e.to)}
				</span>
				<span class="mono">{e.proto === "udp" ? "udp " : ""}{e.port}</span>
				<span class="mono end">{e.failed >= e.connections ? `${count(e.failed)} failed` : bytes(edgeBytes(e))}</span>
			</button>
		</li>
	);
}

function NodePanel({ node, map, choose }: { node: MapNode; map: ServiceMap; choose: (s: Selection) => void }) {
	const known = useCell(processes);
	const edges = map.edges.filter((e) => e.from === node.id || e.to === node.id);
	const name = literal(node.id);
	const mine = [...(known?.map.values() ?? [])].filter((p) => p.service === node.id && p.ended === undefined);
	const kind = node.kind === "remote" ? `outside this host${node.addr ? `, ${text(node.addr)}` : ""}` : `service${node.runtime ? `, ${text(node.runtime)}` : ""}`;
	return (
		<Panel title={text(node.id)} kind={kind} onClose={() => choose(undefined)}>
			<Totals edges={edges} />
			<section>
				<h3>Links<small>{edges.length}</small></h3>
				<ul class="links">{edges.map((e) => <LinkRow key={edgeKey(e)} e={e} choose={choose} />)}</ul>
			</section>
			{node.kind === "service" && <ProcessList list={mine} />}
			<ConnectionList where={node.kind === "service" ? `service = ${name}` : `remote_service = ${name}`} />
		</Panel>
	);
}

function GroupPanel({ group, map, choose }: { group: Group; map: ServiceMap; choose: (s: Selection) => void }) {
	const members = new Set(group.members);
	const edges = map.edges.filter((e) => members.has(e.from) || members.has(e.to));
	const names = group.members.map(literal).join(", ");
	return (
		<Panel title={`${groupName(group)} of ${text(group.service)}`} kind="outside this host" onClose={() => choose(undefined)}>
			<Totals edges={edges} />
			<section>
				<h3>Links<small>{edges.length}</small></h3>
				<ul class="links">{edges.map((e) => <LinkRow key={edgeKey(e)} e={e} choose={choose} />)}</ul>
			</section>
			<ConnectionList where={`service = ${literal(group.service)} and remote_service in (${names})`} />
		</Panel>
	);
}

function EdgePanel({ edge, choose }: { edge: MapEdge; choose: (s: Selection) => void }) {
	const from = literal(edge.from);
	const to = literal(edge.to);
	const port = Math.trunc(edge.port);
	const ends = `((service = ${from} and remote_service = ${to} and remote_port = ${port} and direction = 'out')
		or (service = ${to} and remote_service = ${from} and local_port = ${port} and direction = 'in'))`;
	return (
		<Panel title={`${text(edge.from)} → ${text(edge.to)}`} kind={`${edge.proto} port ${edge.port}`} onClose={() => choose(undefined)}>
			<Totals edges={[edge]} />
			<section class="ends">
				<button type="button" onClick={() => choose({ node: edge.from })}>{text(edge.from)}</button>
				<span aria-hidden="true">→</span>
				<button type="button" onClick={() => choose({ node: edge.to })}>{text(edge.to)}</button>
			</section>
			<ConnectionList where={`proto = ${literal(edge.proto)} and ${ends}`} />
		</Panel>
	);
}

function Services({ map, choose }: { map: ServiceMap; choose: (s: Selection) => void }) {
	const total = nodeBytes(map);
	const failed = new Set(map.edges.filter((e) => e.failed > 0).flatMap((e) => [e.from, e.to]));
	const nodes = [...map.nodes].sort((a, b) => (total.get(b.id) ?? 0) - (total.get(a.id) ?? 0));
	return (
		<section class="card services" aria-label="Services">
			<h2>Services and peers<small>{nodes.length}</small></h2>
			{nodes.length === 0 && <p class="empty">None in this time.</p>}
			<ul class="links">
				{nodes.map((n) => (
					<li key={n.id}>
						<button type="button" onClick={() => choose({ node: n.id })}>
							<i class={`dot ${n.kind}`} aria-hidden="true" />
							<span class="cut">{text(n.id)}</span>
							{failed.has(n.id) && <span class="badge bad">failures</span>}
							<span class="mono end">{bytes(total.get(n.id) ?? 0)}</span>
						</button>
					</li>
				))}
			</ul>
		</section>
	);
}

/** The services the filter names, with those they talk to. */
function narrow(map: ServiceMap, box: string): ServiceMap {
	const match = matcher(box);
	if (!match) return map;
	const named = new Set(map.nodes.filter((n) => match(n as unknown as Row)).map((n) => n.id));
	const edges = map.edges.filter((e) => named.has(e.from) || named.has(e.to) || match(e as unknown as Row));
	const ids = new Set([...named, ...edges.flatMap((e) => [e.from, e.to])]);
	return { nodes: map.nodes.filter((n) => ids.has(n.id)), edges };
}

function Legend() {
	return (
		<p class="legend" aria-hidden="true">
			<span><i class="dot service" />service</span>
			<span><i class="dot remote" />outside this host</span>
			<span><i class="dash bad" />failed</span>
		</p>
	);
}

function MapCard({ folded, chosen, choose }: { folded: Folded | undefined; chosen: Selection; choose: (s: Selection) => void }) {
	const map = folded?.map;
	const seconds = useCell(mapSeconds);
	const error = useCell(polls.map.error);
	return (
		<section class="card map-card" aria-label="Service map">
			<div class="card-head">
				<h2>Service map</h2>
				<label>
					last{" "}
					<select value={seconds} onChange={(e) => mapSeconds.set(Number(e.currentTarget.value))}>
						{WINDOWS.map(([s, name]) => <option key={s} value={s}>{name}</option>)}
					</select>
				</label>
			</div>
			{error && <p class="error" role="alert">{text(error)}</p>}
			{folded && folded.map.nodes.length > 0 && <ServiceMapBox folded={folded} chosen={chosen} onChoose={choose} />}
			{map && map.nodes.length === 0 && (
				<p class="empty">Nobody talked to anybody in this time. Open a connection and it shows here.</p>
			)}
			{!map && !error && <p class="empty">Asking the agent…</p>}
			<Legend />
		</section>
	);
}

export function Overview() {
	const whole = useCell(serviceMap);
	const box = useCell(filter);
	const [chosen, choose] = useState<Selection>(undefined);
	const map = useMemo(() => whole && narrow(whole, box), [whole, box]);
	const folded = useMemo(() => map && fold(map), [map]);
	const group = chosen && "node" in chosen ? folded?.groups.get(chosen.node) : undefined;
	const node = chosen && "node" in chosen ? map?.nodes.find((n) => n.id === chosen.node) : undefined;
	const sameEdge = (e: MapEdge) => chosen !== undefined && "edge" in chosen && edgeKey(e) === chosen.edge;
	const plain = map?.edges.find(sameEdge);
	const foldedEdge = plain ? undefined : folded?.map.edges.find(sameEdge);
	const within = foldedEdge && (folded!.groups.get(foldedEdge.from) ?? folded!.groups.get(foldedEdge.to));
	const many = group ?? within;
	return (
		<>
			<Strip />
			<MapCard folded={folded} chosen={chosen} choose={choose} />
			<div class="side">
				{map && node ? <NodePanel key={node.id} node={node} map={map} choose={choose} /> : null}
				{plain && <EdgePanel key={edgeKey(plain)} edge={plain} choose={choose} />}
				{map && many && <GroupPanel key={many.id} group={many} map={map} choose={choose} />}
				{!node && !plain && !many && <Services map={map ?? { nodes: [], edges: [] }} choose={choose} />}
				<Feed />
			</div>
		</>
	);
}
