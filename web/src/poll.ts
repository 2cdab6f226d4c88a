// SPDX-License-Identifier: Apache-2.0
// A question asked again and again, never twice at once, less often where the answer is expensive.
import { ApiError } from "./api";
import { Cell } from "./cell";

const DUTY = 20; // an answer that took 1 s is asked for again after 20 s

export class Poll {
	/** The agent's sentence where the last answer was a refusal. */
	readonly error = new Cell<string | undefined>(undefined);
	private timer = 0;
	private busy = false;
	private again = false;

	constructor(
		private readonly ask: () => Promise<void>,
		private readonly pause: () => number,
		private readonly wanted: () => boolean,
		private readonly refused: (e: ApiError) => void,
	) {}

	/** Ask now, or at once after the answer that is under way. */
	kick(): void {
		clearTimeout(this.timer);
		if (this.busy) this.again = true;
		else if (this.wanted()) void this.run();
	}

	private async run(): Promise<void> {
		this.busy = true;
		const begin = performance.now();
		try {
			await this.ask();
			this.error.set(undefined);
		} catch (e) {
			if (!(e instanceof ApiError)) throw e;
			this.error.set(e.status === 0 ? undefined : e.message);
			this.refused(e);
		} finally {
			this.busy = false;
			const rest = this.again
				? 0
				: Math.max(this.pause(), DUTY * (performance.now() - begin));
			this.again = false;
			this.timer = window.setTimeout(() => this.kick(), rest);
		}
	}
}
