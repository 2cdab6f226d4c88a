// SPDX-License-Identifier: Apache-2.0
// Where the services of the map stand: who asks stands left of who answers. What has a place keeps it.

export interface Place {
	x: number;
	y: number;
}

interface Link {
	from: string;
	to: string;
}

const COLUMN = 210;
const ROW = 104;
const TALL = 7; // a longer column is broken into several

/** Ranks by longest path from those whom nobody asks; links that would close a circle are ignored. */
export function ranks(ids: string[], links: Link[]): Map<string, number> {
	const next = new Map<string, string[]>(ids.map((id) => [id, []]));
	const asked = new Set<string>();
	for (const { from, to } of links) {
		if (from === to || !next.has(from) || !next.has(to)) continue;
		next.get(from)!.push(to);
		asked.add(to);
	}
	const rank = new Map<string, number>(ids.map((id) => [id, 0]));
	const onPath = new Set<string>();
	const order: string[] = []; // reverse topological
	const done = new Set<string>();
	const forward = new Map<string, string[]>();
	const visit = (id: string) => {
		onPath.add(id);
		const kept: string[] = [];
		for (const to of next.get(id)!) {
			if (onPath.has(to)) continue;
			kept.push(to);
			if (!done.has(to)) visit(to);
		}
		onPath.delete(id);
		done.add(id);
		forward.set(id, kept);
		order.push(id);
	};
	for (const id of [...ids.filter((i) => !asked.has(i)), ...ids]) if (!done.has(id)) visit(id);
	for (const id of order.reverse())
		for (const to of forward.get(id)!) rank.set(to, Math.max(rank.get(to)!, rank.get(id)! + 1));
	return rank;
}

function neighbours(ids: string[], links: Link[]): Map<string, string[]> {
	const near = new Map<string, string[]>(ids.map((id) => [id, []]));
	for (const { from, to } of links) {
		if (from === to) continue;
		near.get(from)?.push(to);
		near.get(to)?.push(from);
	}
	return near;
}

/** Order within columns: each next to the middle of its neighbours, swept back and forth. */
function arrange(columns: string[][], near: Map<string, string[]>): void {
	const at = new Map<string, number>();
	const settle = (column: string[]) =>
		column.forEach((id, i) => at.set(id, i - (column.length - 1) / 2));
	columns.forEach(settle);
	for (let sweep = 0; sweep < 6; sweep++) {
		for (const column of sweep % 2 ? [...columns].reverse() : columns) {
			const middle = new Map(
				column.map((id) => {
					const seen = near.get(id)!.map((other) => at.get(other)!);
					return [
						id,
						seen.length ? seen.reduce((a, b) => a + b, 0) / seen.length : at.get(id)!,
					];
				}),
			);
			column.sort((a, b) => middle.get(a)! - middle.get(b)! || (a < b ? -1 : 1));
			settle(column);
		}
	}
}

function fresh(ids: string[], links: Link[]): Map<string, Place> {
	const rank = ranks(ids, links);
	const columns: string[][] = [];
	for (const id of [...ids].sort()) (columns[rank.get(id)!] ??= []).push(id);
	arrange(columns, neighbours(ids, links));
	const places = new Map<string, Place>();
	let x = 0;
	columns.forEach((column, c) => {
		const parts = Math.ceil(column.length / TALL);
		const tall = Math.ceil(column.length / parts);
		// Neighbouring columns stand a little askew, so that a link across a column misses its nodes.
		const askew = columns.length > 2 && c % 2 ? ROW * 0.3 : 0;
		column.forEach((id, i) => {
			const rows = Math.min(tall, column.length - Math.floor(i / tall) * tall);
			places.set(id, {
				x: x + Math.floor(i / tall) * COLUMN,
				y: ((i % tall) - (rows - 1) / 2) * ROW + askew,
			});
		});
		x += parts * COLUMN;
	});
	return places;
}

function isFree(places: Map<string, Place>, { x, y }: Place): boolean {
	for (const p of places.values())
		if (Math.abs(p.x - x) < COLUMN * 0.6 && Math.abs(p.y - y) < ROW * 0.75) return false;
	return true;
}

function beside(id: string, links: Link[], places: Map<string, Place>): Place {
	const link = links.find(
		(l) =>
			l.from !== l.to &&
			((l.from === id && places.has(l.to)) || (l.to === id && places.has(l.from))),
	);
	const anchor = link && places.get(link.from === id ? link.to : link.from)!;
	const x = anchor ? anchor.x + (link.from === id ? -COLUMN : COLUMN) : 0;
	const y = anchor ? anchor.y : 0;
	for (let step = 0; ; step++) {
		const down = { x, y: y + step * ROW };
		if (isFree(places, down)) return down;
		const up = { x, y: y - step * ROW };
		if (isFree(places, up)) return up;
	}
}

/** Places for all of `ids`; those in `known` stay where they are. */
export function place(ids: string[], links: Link[], known: Map<string, Place>): Map<string, Place> {
	const kept = new Map([...known].filter(([id]) => ids.includes(id)));
	if (kept.size === 0) return fresh(ids, links);
	let waiting = ids.filter((id) => !kept.has(id));
	while (waiting.length > 0) {
		const linked = (id: string) =>
			links.some(
				(l) => (l.from === id && kept.has(l.to)) || (l.to === id && kept.has(l.from)),
			);
		const id = waiting.find(linked) ?? waiting[0]!;
		kept.set(id, beside(id, links, kept));
		waiting = waiting.filter((other) => other !== id);
	}
	return kept;
}
