// SPDX-License-Identifier: Apache-2.0
// Rows by SQL, asked again while a panel is open.
import { useEffect, useState } from "preact/hooks";
import { api, ApiError, objects } from "../api";
import { link, paused } from "../model";
import type { Row } from "../types";

const EVERY_MS = 5000;

export interface Answer {
	rows?: Row[];
	error?: string;
}

export function useQuery(sql: string | undefined, limit = 100): Answer {
	const [answer, setAnswer] = useState<Answer>({});
	useEffect(() => {
		setAnswer({});
		if (sql === undefined) return;
		let timer = 0;
		let over = false;
		const ask = async () => {
			try {
				const result = await api.query(sql, limit);
				if (!over) setAnswer({ rows: objects(result) });
			} catch (e) {
				if (!over) setAnswer((before) => ({ ...before, error: (e as ApiError).message }));
			}
			if (!over) timer = window.setTimeout(again, EVERY_MS);
		};
		const again = () => {
			if (paused.value || document.hidden || link.value !== "up")
				timer = window.setTimeout(again, EVERY_MS);
			else void ask();
		};
		void ask();
		return () => {
			over = true;
			clearTimeout(timer);
		};
	}, [sql, limit]);
	return answer;
}
