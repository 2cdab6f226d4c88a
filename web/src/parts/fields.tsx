// SPDX-License-Identifier: Apache-2.0
// Every field of a row, each in the form its name asks for.
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { api } from "../api";
import { Cell, useCell } from "../cell";
import {
	ALL_CAPABILITIES,
	bytes,
	capabilities,
	count,
	microseconds,
	moment,
	span,
	text,
} from "../format";
import type { Row, Schema, Value } from "../types";

export const schema = new Cell<Schema | undefined>(undefined);

export async function loadSchema(): Promise<void> {
	if (!schema.value) schema.set(await api.schema());
}

function Caps({ mask }: { mask: number }) {
	const names = capabilities(mask);
	if (names.length === 0) return <span class="muted">none</span>;
	const all = names.length >= ALL_CAPABILITIES;
	return (
		<details open={!all && names.length <= 12}>
			<summary>{all ? `all ${names.length}` : names.length}</summary>
			<span class="chips">
				{names.map((name) => (
					<span key={name} class="chip">
						{name}
					</span>
				))}
			</span>
		</details>
	);
}

const both = (human: string, n: number): string =>
	human === `${n} B` ? human : `${human} (${count(n)})`;

function show(name: string, value: Value): ComponentChildren {
	if (typeof value !== "number") return text(value);
	if (name === "time" || name === "ended") return moment(value);
	if (name === "started" || name.endsWith("_started")) return `${span(value / 1e9)} after boot`;
	if (name === "caps") return <Caps mask={value} />;
	if (name.startsWith("bytes_") || name.endsWith("_bytes")) return both(bytes(value), value);
	if (name.endsWith("_us")) return microseconds(value);
	if (name.startsWith("packets_") || name === "retransmits") return count(value);
	return String(value);
}

/** @param table whose column docs explain the names */
export function Fields({ table, row }: { table: string; row: Row }) {
	const docs = useCell(schema)?.tables.find((t) => t.name === table)?.columns;
	useEffect(() => {
		loadSchema().catch(() => undefined); // names without their explanation will do
	}, []);
	return (
		<dl class="fields">
			{Object.entries(row).map(([name, value]) =>
				value === undefined || value === null ? null : (
					<div key={name}>
						<dt title={docs?.find((c) => c.name === name)?.doc}>{name}</dt>
						<dd>{show(name, value)}</dd>
					</div>
				),
			)}
		</dl>
	);
}
