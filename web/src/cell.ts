// SPDX-License-Identifier: Apache-2.0
// A value that views can watch.
import { useEffect, useState } from "preact/hooks";

export class Cell<T> {
	private readonly watchers = new Set<() => void>();

	constructor(private current: T) {}

	get value(): T {
		return this.current;
	}

	set(value: T): void {
		if (Object.is(value, this.current)) return;
		this.current = value;
		for (const watcher of [...this.watchers]) watcher();
	}

	watch(watcher: () => void): () => void {
		this.watchers.add(watcher);
		return () => this.watchers.delete(watcher);
	}
}

export function useCell<T>(cell: Cell<T>): T {
	const [, render] = useState({});
	useEffect(() => {
		const stop = cell.watch(() => render({}));
		render({});
		return stop;
	}, [cell]);
	return cell.value;
}
