// SPDX-License-Identifier: Apache-2.0
// What a node, an edge or a group of the map is made of; and all of them as a list.
import { literal } from "../api";
import { useCell } from "../cell";
import { type Group, groupName } from "../fold";
import { bytes, count, microseconds, text } from "../format";
import { processes } from "../model";
import type { MapEdge, MapNode, ServiceMap } from "../types";
import { Panel } from "./panel";
import { ConnectionList, ProcessList } from "./peers";
import { edgeBytes, edgeKey, nodeBytes, type Selection } from "./servicemap";

function Totals({ edges }: { edges: MapEdge[] }) {
	const sum = (f: (e: MapEdge) => number) => edges.reduce((total, e) => total + f(e), 0);
	const failed = sum((e) => e.failed);
	const rtt = edges.map((e) => e.rtt_us ?? 0).filter((n) => n > 0);
	return (
		<dl class="totals">
			<div>
				<dt>Connections</dt>
				<dd>{count(sum((e) => e.connections))}</dd>
			</div>
			<div>
				<dt>Open</dt>
				<dd>{count(sum((e) => e.open))}</dd>
			</div>
			<div class={failed > 0 ? "failed" : ""}>
				<dt>Failed</dt>
				<dd>{count(failed)}</dd>
			</div>
			<div>
				<dt>Asked →</dt>
				<dd>{bytes(sum((e) => e.bytes_sent))}</dd>
			</div>
			<div>
				<dt>Answered ←</dt>
				<dd>{bytes(sum((e) => e.bytes_received))}</dd>
			</div>
			<div>
				<dt>Round trip</dt>
				<dd>{rtt.length ? microseconds(Math.max(...rtt)) : "–"}</dd>
			</div>
			<div>
				<dt>Retransmits</dt>
				<dd>{count(sum((e) => e.retransmits ?? 0))}</dd>
			</div>
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
				<span class="mono">
					{e.proto === "udp" ? "udp " : ""}
					{e.port}
				</span>
				<span class="mono end">
					{e.failed >= e.connections ? `${count(e.failed)} failed` : bytes(edgeBytes(e))}
				</span>
			</button>
		</li>
	);
}

export function NodePanel({
	node,
	map,
	choose,
}: {
	node: MapNode;
	map: ServiceMap;
	choose: (s: Selection) => void;
}) {
	const known = useCell(processes);
	const edges = map.edges.filter((e) => e.from === node.id || e.to === node.id);
	const name = literal(node.id);
	const mine = [...(known?.map.values() ?? [])].filter(
		(p) => p.service === node.id && p.ended === undefined,
	);
	const kind =
		node.kind === "remote"
			? `outside this host${node.addr ? `, ${text(node.addr)}` : ""}`
			: `service${node.runtime ? `, ${text(node.runtime)}` : ""}`;
	return (
		<Panel title={text(node.id)} kind={kind} onClose={() => choose(undefined)}>
			<Totals edges={edges} />
			<section>
				<h3>
					Links<small>{edges.length}</small>
				</h3>
				<ul class="links">
					{edges.map((e) => (
						<LinkRow key={edgeKey(e)} e={e} choose={choose} />
					))}
				</ul>
			</section>
			{node.kind === "service" && <ProcessList list={mine} />}
			<ConnectionList
				where={node.kind === "service" ? `service = ${name}` : `remote_service = ${name}`}
			/>
		</Panel>
	);
}

export function GroupPanel({
	group,
	map,
	choose,
}: {
	group: Group;
	map: ServiceMap;
	choose: (s: Selection) => void;
}) {
	const members = new Set(group.members);
	const edges = map.edges.filter((e) => members.has(e.from) || members.has(e.to));
	const names = group.members.map(literal).join(", ");
	return (
		<Panel
			title={`${groupName(group)} of ${text(group.service)}`}
			kind="outside this host"
			onClose={() => choose(undefined)}
		>
			<Totals edges={edges} />
			<section>
				<h3>
					Links<small>{edges.length}</small>
				</h3>
				<ul class="links">
					{edges.map((e) => (
						<LinkRow key={edgeKey(e)} e={e} choose={choose} />
					))}
				</ul>
			</section>
			<ConnectionList
				where={`service = ${literal(group.service)} and remote_service in (${names})`}
			/>
		</Panel>
	);
}

export function EdgePanel({ edge, choose }: { edge: MapEdge; choose: (s: Selection) => void }) {
	const from = literal(edge.from);
	const to = literal(edge.to);
	const port = Math.trunc(edge.port);
	const ends = `((service = ${from} and remote_service = ${to} and remote_port = ${port} and direction = 'out')
		or (service = ${to} and remote_service = ${from} and local_port = ${port} and direction = 'in'))`;
	return (
		<Panel
			title={`${text(edge.from)} → ${text(edge.to)}`}
			kind={`${edge.proto} port ${edge.port}`}
			onClose={() => choose(undefined)}
		>
			<Totals edges={[edge]} />
			<section class="ends">
				<button type="button" onClick={() => choose({ node: edge.from })}>
					{text(edge.from)}
				</button>
				<span aria-hidden="true">→</span>
				<button type="button" onClick={() => choose({ node: edge.to })}>
					{text(edge.to)}
				</button>
			</section>
			<ConnectionList where={`proto = ${literal(edge.proto)} and ${ends}`} />
		</Panel>
	);
}

export function Services({ map, choose }: { map: ServiceMap; choose: (s: Selection) => void }) {
	const total = nodeBytes(map);
	const failed = new Set(map.edges.filter((e) => e.failed > 0).flatMap((e) => [e.from, e.to]));
	const nodes = [...map.nodes].sort((a, b) => (total.get(b.id) ?? 0) - (total.get(a.id) ?? 0));
	return (
		<section class="card services" aria-label="Services">
			<h2>
				Services and peers<small>{nodes.length}</small>
			</h2>
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
