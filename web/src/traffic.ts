// SPDX-License-Identifier: Apache-2.0
// Bytes per second of the host, from what its connections say.
import type { Connection } from "./types";

/** Payload that moved since the last look. A connection inside the host has two rows and counts once. */
export class Traffic {
	private seen = new Map<string, number>();
	// Closed lately: a poll that was under way may still call them open.
	private ended = new Set<string>();
	private endedBefore = new Set<string>();
	private moved = 0;
	private settled = false;

	private static key(c: Connection): string {
		return `${c.cookie ?? ""}/${c.netns ?? ""}/${c.pid ?? ""}/${c.local_port ?? ""}/${c.time}`;
	}

	private static total(c: Connection): number | undefined {
		if (c.direction === "in" && c.remote_pid !== undefined) return undefined;
		return (c.bytes_sent ?? 0) + (c.bytes_received ?? 0);
	}

	/** All open connections, as polled. What the first look finds is the past, not traffic of now. */
	open(list: Connection[]): void {
		const next = new Map<string, number>();
		for (const c of list) {
			const total = Traffic.total(c);
			if (total === undefined) continue;
			const key = Traffic.key(c);
			if (this.ended.has(key) || this.endedBefore.has(key)) continue;
			if (this.settled) this.moved += Math.max(0, total - (this.seen.get(key) ?? 0));
			next.set(key, total);
		}
		this.seen = next;
		this.endedBefore = this.ended;
		this.ended = new Set();
		this.settled = true;
	}

	close(c: Connection): void {
		const total = Traffic.total(c);
		if (total === undefined || !this.settled) return;
		const key = Traffic.key(c);
		this.moved += Math.max(0, total - (this.seen.get(key) ?? 0));
		this.seen.delete(key);
		this.ended.add(key);
	}

	/** The bytes since the last call. */
	take(): number {
		const moved = this.moved;
		this.moved = 0;
		return moved;
	}

	reset(): void {
		this.seen.clear();
		this.moved = 0;
		this.settled = false;
	}
}
