// SPDX-License-Identifier: Apache-2.0
// Processes as a tree, flattened to the rows that show.
import type { Match } from "./filter";
import type { Process } from "./types";

export const processKey = (pid: number, started: number): string => `${pid}.${started}`;
export const keyOf = (p: Process): string => processKey(p.pid, p.started);

export interface TreeRow {
	key: string;
	process: Process;
	depth: number;
	children: number;
	open: boolean;
	/** Shown only because something below it matches. */
	dim: boolean;
}

export type Order = (a: Process, b: Process) => number;

const byAge: Order = (a, b) => a.started - b.started || a.pid - b.pid;

/** The root of the kernel's own threads: many, and seldom what one looks for. */
export const isKernel = (p: Process): boolean => p.pid === 2 && !p.ppid && p.exe === undefined;

function children(
	processes: Map<string, Process>,
	order: Order,
): [Process[], Map<string, Process[]>] {
	const roots: Process[] = [];
	const below = new Map<string, Process[]>();
	for (const p of processes.values()) {
		const parent = processKey(p.ppid ?? 0, p.parent_started ?? 0);
		if (parent === keyOf(p) || !processes.has(parent)) roots.push(p);
		else if (below.has(parent)) below.get(parent)!.push(p);
		else below.set(parent, [p]);
	}
	roots.sort((a, b) => Number(isKernel(a)) - Number(isKernel(b)) || order(a, b));
	for (const list of below.values()) list.sort(order);
	return [roots, below];
}

/** The keys of all matches and of everything above them. */
function kept(processes: Map<string, Process>, match: Match): Map<string, boolean> {
	const keep = new Map<string, boolean>(); // true: matches itself
	for (const [key, p] of processes) {
		if (!match(p)) continue;
		keep.set(key, true);
		let above = processKey(p.ppid ?? 0, p.parent_started ?? 0);
		for (
			let parent = processes.get(above);
			parent && !keep.has(above);
			parent = processes.get(above)
		) {
			keep.set(above, false);
			above = processKey(parent.ppid ?? 0, parent.parent_started ?? 0);
		}
	}
	return keep;
}

/**
 * The visible rows, top to bottom. A filter opens what it must to show its matches; `closed` holds the
 * keys a person collapsed.
 */
export function flatten(
	processes: Map<string, Process>,
	closed: ReadonlySet<string>,
	match?: Match,
	order: Order = byAge,
): TreeRow[] {
	const keep = match && kept(processes, match);
	const [roots, below] = children(processes, order);
	const rows: TreeRow[] = [];
	const seen = new Set<string>();
	const stack: [Process, number][] = roots.reverse().map((p) => [p, 0]);
	while (stack.length > 0) {
		const [process, depth] = stack.pop()!;
		const key = keyOf(process);
		if (seen.has(key) || (keep && !keep.has(key))) continue;
		seen.add(key);
		let under = below.get(key) ?? [];
		if (keep) under = under.filter((p) => keep.has(keyOf(p)));
		const open = under.length > 0 && !closed.has(key);
		rows.push({
			key,
			process,
			depth,
			children: under.length,
			open,
			dim: keep?.get(key) === false,
		});
		if (open) for (let i = under.length - 1; i >= 0; i--) stack.push([under[i]!, depth + 1]);
	}
	return rows;
}
