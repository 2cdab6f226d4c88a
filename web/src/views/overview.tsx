// SPDX-License-Identifier: Apache-2.0
// The service map, the host in four numbers, and what happens now.
import { useMemo, useState } from "preact/hooks";
import { useCell } from "../cell";
import { matcher } from "../filter";
import { fold, type Folded } from "../fold";
import { text } from "../format";
import { filter, polls, serviceMap } from "../model";
import { Feed } from "../parts/feed";
import { EdgePanel, GroupPanel, NodePanel, Services } from "../parts/mappanels";
import { edgeKey, type Selection, ServiceMapBox } from "../parts/servicemap";
import { Strip } from "../parts/strip";
import { mapSeconds } from "../prefs";
import type { MapEdge, Row, ServiceMap } from "../types";

const WINDOWS = [
	[60, "1 minute"],
	[300, "5 minutes"],
	[3600, "1 hour"],
] as const;

/** The services the filter names, with those they talk to. */
function narrow(map: ServiceMap, box: string): ServiceMap {
	const match = matcher(box);
	if (!match) return map;
	const named = new Set(map.nodes.filter((n) => match(n as unknown as Row)).map((n) => n.id));
	const edges = map.edges.filter(
		(e) => named.has(e.from) || named.has(e.to) || match(e as unknown as Row),
	);
	const ids = new Set([...named, ...edges.flatMap((e) => [e.from, e.to])]);
	return { nodes: map.nodes.filter((n) => ids.has(n.id)), edges };
}

function Legend() {
	return (
		<p class="legend" aria-hidden="true">
			<span>
				<i class="dot service" />
				service
			</span>
			<span>
				<i class="dot remote" />
				outside this host
			</span>
			<span>
				<i class="dash bad" />
				failed
			</span>
		</p>
	);
}

function MapCard({
	folded,
	chosen,
	choose,
}: {
	folded: Folded | undefined;
	chosen: Selection;
	choose: (s: Selection) => void;
}) {
	const map = folded?.map;
	const seconds = useCell(mapSeconds);
	const error = useCell(polls.map.error);
	return (
		<section class="card map-card" aria-label="Service map">
			<div class="card-head">
				<h2>Service map</h2>
				<label>
					last{" "}
					<select
						value={seconds}
						onChange={(e) => mapSeconds.set(Number(e.currentTarget.value))}
					>
						{WINDOWS.map(([s, name]) => (
							<option key={s} value={s}>
								{name}
							</option>
						))}
					</select>
				</label>
			</div>
			{error && (
				<p class="error" role="alert">
					{text(error)}
				</p>
			)}
			{folded && folded.map.nodes.length > 0 && (
				<ServiceMapBox folded={folded} chosen={chosen} onChoose={choose} />
			)}
			{map && map.nodes.length === 0 && (
				<p class="empty">
					Nobody talked to anybody in this time. Open a connection and it shows here.
				</p>
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
	const node =
		chosen && "node" in chosen ? map?.nodes.find((n) => n.id === chosen.node) : undefined;
	const sameEdge = (e: MapEdge) =>
		chosen !== undefined && "edge" in chosen && edgeKey(e) === chosen.edge;
	const plain = map?.edges.find(sameEdge);
	const foldedEdge = plain ? undefined : folded?.map.edges.find(sameEdge);
	const within =
		foldedEdge && (folded!.groups.get(foldedEdge.from) ?? folded!.groups.get(foldedEdge.to));
	const many = group ?? within;
	return (
		<>
			<Strip />
			<MapCard folded={folded} chosen={chosen} choose={choose} />
			<div class="side">
				{map && node ? (
					<NodePanel key={node.id} node={node} map={map} choose={choose} />
				) : null}
				{plain && <EdgePanel key={edgeKey(plain)} edge={plain} choose={choose} />}
				{map && many && <GroupPanel key={many.id} group={many} map={map} choose={choose} />}
				{!node && !plain && !many && (
					<Services map={map ?? { nodes: [], edges: [] }} choose={choose} />
				)}
				<Feed />
			</div>
		</>
	);
}
