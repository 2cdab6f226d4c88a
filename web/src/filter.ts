// SPDX-License-Identifier: Apache-2.0
// The filter box: words that must all occur, `column:word` in one column, `-word` must not occur.
import type { Row } from "./types";

export type Match = (row: Row) => boolean;

function term(word: string): Match {
	const not = word.length > 1 && (word.startsWith("-") || word.startsWith("!"));
	if (not) word = word.slice(1);
	const named = /^([a-z_]+):(.+)$/.exec(word);
	const has: Match = named
		? (row) =>
				String(row[named[1]!] ?? "")
					.toLowerCase()
					.includes(named[2]!)
		: (row) => {
				for (const key in row) {
					const value = row[key];
					if (value !== undefined && String(value).toLowerCase().includes(word))
						return true;
				}
				return false;
			};
	return not ? (row) => !has(row) : has;
}

/** undefined where the box is empty: everything matches. */
export function matcher(box: string): Match | undefined {
	const words = box.toLowerCase().split(/\s+/).filter(Boolean);
	if (words.length === 0) return undefined;
	const terms = words.map(term);
	return (row) => terms.every((t) => t(row));
}
