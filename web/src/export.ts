// SPDX-License-Identifier: Apache-2.0
// Results as files.
import type { Result, Value } from "./types";

const cell = (value: Value): string => {
	const s = value === null ? "" : String(value);
	return /[",\r\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s;
};

/** RFC 4180. */
export const toCsv = ({ columns, rows }: Result): string =>
	[columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

// A bigint keeps its digits: JSON numbers have no limit, only JavaScript's do.
const item = (value: Value): string =>
	typeof value === "bigint" ? String(value) : JSON.stringify(value);

export const toJson = ({ columns, rows }: Result): string =>
	`[\n${rows
		.map(
			(row) =>
				`  {${row.map((value, i) => `${JSON.stringify(columns[i])}: ${item(value)}`).join(", ")}}`,
		)
		.join(",\n")}\n]\n`;

export function save(name: string, type: string, content: string): void {
	const url = URL.createObjectURL(new Blob([content], { type }));
	const link = document.createElement("a");
	link.href = url;
	link.download = name;
	link.click();
	URL.revokeObjectURL(url);
}
