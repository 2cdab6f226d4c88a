// SPDX-License-Identifier: Apache-2.0
// Rates of backends from the counters of two answers.
import { Cell } from "./cell";
import type { Series } from "./model";
import type { Balance, BalanceBackend } from "./types";

const POINTS = 90;
const STALE_S = 30; // answers further apart tell no rate of now

export interface Rates {
	fresh: boolean; // two answers make a rate
	connections: number;
	packets: number;
	bytes: number;
	series: Cell<Series>;
}

interface Known extends Rates {
	last: BalanceBackend;
	at: number;
}

/** A backend whose mode has changed stands twice: as it is, and as it was. */
type Named = Pick<BalanceBackend, "address" | "was">;
export const backendKey = (service: string, b: Named): string =>
	`${service} ${b.address} ${b.was ?? ""}`;

export class BalanceRates {
	private known = new Map<string, Known>();

	reset(): void {
		this.known.clear();
	}

	get(service: string, backend: Named): Rates | undefined {
		return this.known.get(backendKey(service, backend));
	}

	/** Another answer; `now` in seconds. */
	take(answer: Balance, now: number): void {
		const next = new Map<string, Known>();
		for (const s of answer.services)
			for (const b of s.backends) {
				const key = backendKey(s.name, b);
				next.set(key, this.step(this.known.get(key), b, now));
			}
		this.known = next;
	}

	private step(old: Known | undefined, b: BalanceBackend, now: number): Known {
		const series = old?.series ?? new Cell<Series>({ time: [], value: [] });
		const span = old ? now - old.at : 0;
		const fresh = old !== undefined && span > 0 && span < STALE_S && b.packets >= old.last.packets;
		const per = (now_: number, before: number) => (fresh ? Math.max(0, now_ - before) / span : 0);
		const known = {
			fresh,
			connections: per(b.connections, old?.last.connections ?? 0),
			packets: per(b.packets, old?.last.packets ?? 0),
			bytes: per(b.bytes, old?.last.bytes ?? 0),
			series,
			last: b,
			at: now,
		};
		if (fresh) {
			const { time, value } = series.value;
			series.set({
				time: [...time.slice(1 - POINTS), now],
				value: [...value.slice(1 - POINTS), known.packets],
			});
		}
		return known;
	}
}
