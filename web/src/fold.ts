// SPDX-License-Identifier: Apache-2.0
// Many addresses that only one service talks to become one node, or the map of a busy host is a thicket.
import type { MapEdge, MapNode, ServiceMap } from "./types";

const FEW = 5;

export interface Group {
	id: string;
	service: string;
	/** Ids of the addresses in it. */
	members: string[];
}

export interface Folded {
	map: ServiceMap;
	groups: Map<string, Group>;
	/** Address -> id of the group it is in. */
	inside: Map<string, string>;
}

/** Remote address -> "service and direction", for those with one neighbour only. */
function leaves(map: ServiceMap): Map<string, { service: string; asks: boolean }> {
	const remote = new Set(map.nodes.filter((n) => n.kind === "remote").map((n) => n.id));
	const found = new Map<string, { service: string; asks: boolean }>();
	const out = new Set<string>();
	for (const { from, to } of map.edges)
		for (const [id, service, asks] of [
			[from, to, true],
			[to, from, false],
		] as const) {
			if (!remote.has(id)) continue;
			const before = found.get(id);
			if (before && (before.service !== service || before.asks !== asks)) out.add(id);
			found.set(id, { service, asks });
		}
	for (const id of out) found.delete(id);
	return found;
}

function sum(a: MapEdge, b: MapEdge): MapEdge {
	return {
		...a,
		connections: a.connections + b.connections,
		open: a.open + b.open,
		failed: a.failed + b.failed,
		bytes_sent: a.bytes_sent + b.bytes_sent,
		bytes_received: a.bytes_received + b.bytes_received,
		rtt_us: Math.max(a.rtt_us ?? 0, b.rtt_us ?? 0),
		retransmits: (a.retransmits ?? 0) + (b.retransmits ?? 0),
	};
}

function merge(edges: MapEdge[], inside: Map<string, string>): MapEdge[] {
	const merged = new Map<string, MapEdge>();
	for (const e of edges) {
		const edge = { ...e, from: inside.get(e.from) ?? e.from, to: inside.get(e.to) ?? e.to };
		const key = JSON.stringify([edge.from, edge.to, edge.proto, edge.port]);
		const before = merged.get(key);
		merged.set(key, before ? sum(before, edge) : edge);
	}
	return [...merged.values()];
}

export function fold(map: ServiceMap): Folded {
	const groups = new Map<string, Group>();
	for (const [id, { service, asks }] of leaves(map)) {
		const key = `\u0001${asks ? "from" : "to"} ${service}`; // no service has a control character
		const group = groups.get(key) ?? { id: key, service, members: [] };
		group.members.push(id);
		groups.set(key, group);
	}
	const inside = new Map<string, string>();
	for (const [key, group] of groups)
		if (group.members.length <= FEW) groups.delete(key);
		else for (const id of group.members) inside.set(id, key);
	const nodes: MapNode[] = map.nodes.filter((n) => !inside.has(n.id));
	for (const { id } of groups.values()) nodes.push({ id, kind: "remote" });
	return { map: { nodes, edges: merge(map.edges, inside) }, groups, inside };
}

export const groupName = (g: Group): string => `${g.members.length} addresses`;
