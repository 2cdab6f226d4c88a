// SPDX-License-Identifier: Apache-2.0
// The service map: cytoscape, loaded when first shown, given places by layout.ts.
import type {
	Core,
	EdgeSingular,
	ElementDefinition,
	NodeSingular,
	StylesheetJson,
} from "cytoscape";
import { useEffect, useRef, useState } from "preact/hooks";
import { useCell } from "../cell";
import { type Folded, groupName } from "../fold";
import { text } from "../format";
import { type Place, place } from "../layout";
import { color, shownTheme } from "../prefs";
import type { MapEdge, ServiceMap } from "../types";

export type Selection = { node: string } | { edge: string } | undefined;

export const edgeKey = (e: MapEdge): string => JSON.stringify([e.from, e.to, e.proto, e.port]);
export const edgeBytes = (e: MapEdge): number => e.bytes_sent + e.bytes_received;

const RETRY_MS = 3000;

let places = new Map<string, Place>(); // outlives the view

const short = (name: string) => (name.length > 28 ? `${name.slice(0, 27)}…` : name);

/** 0 to 1: where `n` stands between a ten-thousandth of the most and the most, by its logarithm. */
function weigh(n: number, most: number): number {
	const part = n / Math.max(most, 1);
	return part <= 0.0001 ? 0 : 1 + Math.log10(part) / 4;
}
const edgeId = (e: MapEdge) => `e${edgeKey(e)}`;

export function nodeBytes(map: ServiceMap): Map<string, number> {
	const total = new Map<string, number>();
	const add = (id: string, n: number) => total.set(id, (total.get(id) ?? 0) + n);
	for (const e of map.edges) {
		add(e.from, edgeBytes(e));
		if (e.to !== e.from) add(e.to, edgeBytes(e));
	}
	return total;
}

function elements({ map, groups }: Folded): ElementDefinition[] {
	const total = nodeBytes(map);
	const most = Math.max(0, ...total.values());
	const widest = Math.max(0, ...map.edges.map(edgeBytes));
	const nodes = map.nodes.map((n) => ({
		group: "nodes" as const,
		data: {
			id: `n${n.id}`,
			name: n.id,
			label: groups.has(n.id) ? groupName(groups.get(n.id)!) : short(text(n.id)),
			kind: groups.has(n.id) ? "group" : n.kind,
			size: 22 + 34 * weigh(total.get(n.id) ?? 0, most),
		},
	}));
	const edges = map.edges.map((e) => ({
		group: "edges" as const,
		data: {
			id: edgeId(e),
			key: edgeKey(e),
			source: `n${e.from}`,
			target: `n${e.to}`,
			label: `${e.proto === "udp" ? "udp " : ""}${e.port}${e.failed > 0 ? ` · ${e.failed} failed` : ""}`,
			// A service asks its name server and its peers side by side: their labels stand apart.
			offset: e.proto === "udp" ? 100 : 56,
			width: 1.2 + 6 * weigh(edgeBytes(e), widest),
			trouble: e.failed === 0 ? "none" : e.failed >= e.connections ? "all" : "some",
		},
	}));
	return [...nodes, ...edges];
}

function style(): StylesheetJson {
	const font = color("font");
	return [
		{
			selector: "node",
			style: {
				width: "data(size)",
				height: "data(size)",
				"background-color": color("node"),
				"border-width": 2,
				"border-color": color("accent"),
				label: "data(label)",
				color: color("text"),
				"font-family": font,
				"font-size": 12,
				"font-weight": 600,
				"min-zoomed-font-size": 5,
				"text-valign": "bottom",
				"text-margin-y": 5,
				"text-background-color": color("panel"),
				"text-background-opacity": 0.85,
				"text-background-padding": "2px",
				"text-background-shape": "roundrectangle",
				"overlay-opacity": 0,
			},
		},
		{
			selector: "node[kind = 'remote']",
			style: {
				"background-color": color("panel"),
				"border-color": color("muted"),
				"border-style": "dashed",
				"font-weight": 400,
			},
		},
		{
			selector: "node[kind = 'group']",
			style: {
				"background-color": color("panel"),
				"border-color": color("muted"),
				"border-style": "double",
				"border-width": 5,
				"font-weight": 400,
			},
		},
		{
			selector: "edge",
			style: {
				width: "data(width)",
				"curve-style": "bezier",
				"control-point-step-size": 46,
				"line-color": color("edge"),
				"target-arrow-color": color("edge"),
				"target-arrow-shape": "triangle",
				"arrow-scale": 0.9,
				"target-distance-from-node": 3,
				// Near who asks: in the middle the labels of crossing links lie on each other.
				"source-label": "data(label)",
				"source-text-offset": (e: EdgeSingular) => e.data("offset") as number,
				color: color("muted"),
				"font-family": font,
				"font-size": 10.5,
				"min-zoomed-font-size": 5,
				"text-background-color": color("panel"),
				"text-background-opacity": 0.9,
				"text-background-padding": "2px",
				"text-background-shape": "roundrectangle",
				"overlay-opacity": 0,
				"loop-direction": "-45deg",
				"loop-sweep": "40deg",
			},
		},
		{
			selector: "edge[trouble != 'none']",
			style: {
				"line-color": color("bad"),
				"target-arrow-color": color("bad"),
				color: color("bad"),
			},
		},
		{ selector: "edge[trouble = 'all']", style: { "line-style": "dashed" } },
		{
			selector: "node.chosen",
			style: {
				"background-color": color("accent"),
				"border-width": 4,
				"border-color": color("accent"),
				"border-style": "solid",
			},
		},
		{
			selector: "edge.chosen",
			style: {
				"underlay-color": color("accent"),
				"underlay-opacity": 0.3,
				"underlay-padding": 5,
				"line-opacity": 1,
				color: color("text"),
			},
		},
		{ selector: ".away", style: { opacity: 0.25 } },
	];
}

function bring(cy: Core, folded: Folded): boolean {
	const wanted = elements(folded);
	const ids = new Set(wanted.map((e) => e.data.id!));
	places = place(
		folded.map.nodes.map((n) => n.id),
		folded.map.edges,
		places,
	);
	let grown = false;
	cy.batch(() => {
		cy.elements().forEach((e) => {
			if (!ids.has(e.id())) e.remove();
		});
		for (const e of wanted) {
			const old = cy.getElementById(e.data.id!);
			if (old.nonempty()) old.data(e.data);
			else {
				const at = places.get(e.data["name"] as string);
				cy.add(at ? { ...e, position: { ...at } } : e);
				grown = true;
			}
		}
	});
	return grown;
}

function fit(cy: Core): void {
	if (cy.elements().empty() || cy.width() === 0) return;
	cy.fit(undefined, 34);
	if (cy.zoom() > 1.25) {
		cy.zoom(1.25);
		cy.center();
	}
}

/** The element that shows what is chosen: itself, or the group it is folded into. */
function shown(cy: Core, chosen: NonNullable<Selection>, { inside }: Folded) {
	if ("node" in chosen) return cy.getElementById(`n${inside.get(chosen.node) ?? chosen.node}`);
	const itself = cy.getElementById(`e${chosen.edge}`);
	if (itself.nonempty()) return itself;
	const [from = "", to = ""] = JSON.parse(chosen.edge) as string[];
	return cy.getElementById(`n${inside.get(from) ?? inside.get(to) ?? ""}`);
}

function mark(cy: Core, chosen: Selection, folded: Folded): void {
	cy.batch(() => {
		cy.elements().removeClass("chosen away");
		if (!chosen) return;
		const target = shown(cy, chosen, folded);
		if (target.empty()) return;
		target.addClass("chosen");
		const around =
			target.group() === "nodes"
				? target.closedNeighborhood()
				: target.union(target.connectedNodes());
		cy.elements().difference(around).addClass("away");
	});
}

interface Props {
	folded: Folded;
	chosen: Selection;
	onChoose(s: Selection): void;
}

/** Build the map in `box`; `moved` is called when a person took over its view. */
async function build(
	box: HTMLElement,
	choose: (s: Selection) => void,
	moved: () => void,
): Promise<Core> {
	const { default: cytoscape } = await import("cytoscape");
	const cy = cytoscape({
		container: box,
		style: style(),
		layout: { name: "preset" },
		minZoom: 0.15,
		maxZoom: 3,
	});
	cy.on("tap", "node", (e) =>
		choose({ node: (e.target as NodeSingular).data("name") as string }),
	);
	cy.on("tap", "edge", (e) => choose({ edge: (e.target as EdgeSingular).data("key") as string }));
	cy.on("tap", (e) => {
		if (e.target === cy) choose(undefined);
	});
	cy.on("dragfree", "node", (e) => {
		const node = e.target as NodeSingular;
		places.set(node.data("name") as string, { ...node.position() });
		moved();
	});
	cy.on("scrollzoom dragpan pinchzoom", moved);
	cy.on("mouseover", "node, edge", () => (box.style.cursor = "pointer"));
	cy.on("mouseout", "node, edge", () => (box.style.cursor = ""));
	return cy;
}

export function ServiceMapBox({ folded, chosen, onChoose }: Props) {
	const { map } = folded;
	const box = useRef<HTMLDivElement>(null);
	const choose = useRef(onChoose);
	choose.current = onChoose;
	const touched = useRef(false);
	const [cy, setCy] = useState<Core>();
	const [failed, setFailed] = useState(false);
	const theme = useCell(shownTheme);
	useEffect(() => {
		let over = false;
		let timer = 0;
		let made: Core | undefined;
		const watch = new ResizeObserver(() => {
			made?.resize();
			if (made && !touched.current) fit(made);
		});
		const begin = async () => {
			try {
				const core = await build(
					box.current!,
					(s) => choose.current(s),
					() => (touched.current = true),
				);
				if (over) return core.destroy();
				made = core;
				watch.observe(box.current!);
				setFailed(false);
				setCy(core);
			} catch {
				// The chunk did not load: the agent is gone, or was replaced by another version.
				if (over) return;
				setFailed(true);
				timer = window.setTimeout(() => void begin(), RETRY_MS);
			}
		};
		void begin();
		return () => {
			over = true;
			clearTimeout(timer);
			watch.disconnect();
			made?.destroy();
		};
	}, []);
	useEffect(() => {
		if (cy && bring(cy, folded) && !touched.current) fit(cy);
		if (cy) mark(cy, chosen, folded);
	}, [cy, folded, chosen]);
	useEffect(() => {
		cy?.style(style());
	}, [cy, theme]);
	const again = (forget: boolean) => {
		touched.current = false;
		if (!cy) return;
		if (forget) {
			places = new Map();
			cy.elements().remove();
			bring(cy, folded);
			mark(cy, chosen, folded);
		}
		fit(cy);
	};
	return (
		<>
			<div
				class="map"
				ref={box}
				role="img"
				aria-label={`Service map: ${map.nodes.length} services and addresses, ${map.edges.length} links. The list beside it holds the same.`}
			/>
			{failed && (
				<p class="error map-failed" role="alert">
					The map did not load; trying again. If the agent was replaced, reload this page.
				</p>
			)}
			<div class="map-tools">
				<button type="button" onClick={() => again(false)}>
					Fit
				</button>
				<button type="button" onClick={() => again(true)}>
					Arrange
				</button>
			</div>
		</>
	);
}
