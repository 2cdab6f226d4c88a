// SPDX-License-Identifier: Apache-2.0
// Questions in SQL over the live tables.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, type ApiError } from "../api";
import { useCell } from "../cell";
import { save, toCsv, toJson } from "../export";
import { bytes, count, moment, text } from "../format";
import { Chart, chartKind } from "../parts/chart";
import { loadSchema, schema } from "../parts/fields";
import { type Column, Grid, type Sort, sortRows } from "../parts/grid";
import { draft, history } from "../prefs";
import type { Result, Value } from "../types";

const HISTORY = 30;
const LIMIT = 10_000;

const EXAMPLES: [string, string][] = [
	[
		"Who talks to whom",
		"select service, remote_service, count(*) as connections,\n       sum(bytes_sent) as sent, sum(bytes_received) as received\nfrom connection where direction = 'out'\ngroup by 1, 2 order by sent + received desc limit 50",
	],
	[
		"Bytes by service",
		"select service, sum(bytes_sent + bytes_received) as bytes\nfrom connection group by 1 order by bytes desc limit 20",
	],
	[
		"Programs started, by minute",
		"select time / 60000000000 * 60000000000 as minute, count(*) as started\nfrom process where origin = 'exec' group by 1 order by 1",
	],
	[
		"Failed connections",
		"select service, remote_addr, remote_port, error, count(*) as times\nfrom connection where error is not null\ngroup by 1, 2, 3, 4 order by times desc",
	],
	[
		"Slowest round trips",
		"select service, remote_service, max(rtt_us) as rtt_us\nfrom connection group by 1, 2 order by rtt_us desc limit 20",
	],
	[
		"Programs that ended badly",
		"select comm, argv, exit_code, signal, ended\nfrom process where exit_code > 0 or signal is not null\norder by ended desc limit 100",
	],
	[
		"Names looked up",
		"select name, count(*) as questions, avg(latency_us) as latency_us\nfrom dns group by 1 order by questions desc limit 50",
	],
];

function remember(sql: string): void {
	history.set([sql, ...history.value.filter((old) => old !== sql)].slice(0, HISTORY));
}

function Browser({ insert }: { insert: (word: string) => void }) {
	const known = useCell(schema);
	const [error, setError] = useState<string>();
	useEffect(() => {
		loadSchema().catch((e: ApiError) => setError(e.message));
	}, []);
	return (
		<section class="card schema" aria-label="Tables and columns">
			<h2>Tables</h2>
			{error && (
				<p class="error" role="alert">
					{text(error)}
				</p>
			)}
			{known?.tables.map((t) => (
				<details key={t.name}>
					<summary>
						<b>{t.name}</b> <small>{t.columns.length}</small>
						<button
							type="button"
							class="quiet"
							onClick={(e) => (e.preventDefault(), insert(t.name))}
							aria-label={`Insert ${t.name}`}
						>
							insert
						</button>
						{t.doc && <p class="muted">{text(t.doc)}</p>}
					</summary>
					<ul>
						{t.columns.map((c) => (
							<li key={c.name}>
								<button
									type="button"
									class="quiet"
									title={c.doc}
									onClick={() => insert(c.name)}
								>
									<span class="mono">{c.name}</span> <small>{c.type}</small>
								</button>
							</li>
						))}
					</ul>
				</details>
			))}
		</section>
	);
}

const TIMES = /^(time|ended|at|minute|hour|second)$/;

function show(name: string, value: Value | undefined): string {
	if (value === null || value === undefined) return "";
	if (typeof value !== "string" && TIMES.test(name) && Number(value) > 1e18)
		return moment(Number(value));
	return text(value);
}

type Line = { index: number; cells: Value[] };

function columnsOf(result: Result): Column<Line>[] {
	const sample = result.rows.slice(0, 200);
	return result.columns.map((name, i) => {
		const numbers =
			sample.some((r) => r[i] !== null) &&
			sample.every((r) => r[i] === null || typeof r[i] !== "string");
		const longest = Math.max(name.length + 3, ...sample.map((r) => show(name, r[i]).length));
		return {
			key: `${i}`,
			title: text(name),
			width: Math.min(420, Math.max(64, longest * 8 + 20)),
			end: numbers,
			mono: true,
			cell: ({ cells }) => {
				const value = cells[i];
				if (value === null || value === undefined) return <span class="null">null</span>;
				const shown = show(name, value);
				return (
					<span
						title={
							/bytes|sent|received/.test(name) && typeof value === "number"
								? `${shown} = ${bytes(value)}`
								: shown
						}
					>
						{shown}
					</span>
				);
			},
			sort: ({ cells }) => cells[i],
		} satisfies Column<Line>;
	});
}

function ResultTable({ result }: { result: Result }) {
	const [sort, setSort] = useState<Sort>();
	const columns = useMemo(() => columnsOf(result), [result]);
	const rows = useMemo(
		() =>
			sortRows(
				result.rows.map((cells, index) => ({ index, cells })),
				columns,
				sort,
			),
		[result, sort, columns],
	);
	return (
		<Grid
			label="Result"
			columns={columns}
			rows={rows}
			rowKey={(row) => String(row.index)}
			sort={sort}
			onSort={setSort}
			empty="The answer has no rows."
		/>
	);
}

function Results({ result }: { result: Result }) {
	const [wanted, setWanted] = useState<"table" | "chart">("table");
	const drawable = chartKind(result) !== undefined;
	const chart = wanted === "chart" && drawable;
	return (
		<section class="card fill results" aria-label="Result">
			<div class="card-head">
				<p class="tally" role="status" data-test="tally">
					{count(result.rows.length)} rows in {result.millisec.toFixed(1)} ms
					{result.truncated && (
						<span class="badge warn">cut at {count(result.rows.length)}</span>
					)}
				</p>
				<div class="choice" role="group" aria-label="Show as">
					<button type="button" aria-pressed={!chart} onClick={() => setWanted("table")}>
						Table
					</button>
					<button
						type="button"
						aria-pressed={chart}
						disabled={!drawable}
						onClick={() => setWanted("chart")}
						title={
							drawable
								? ""
								: "A chart needs a first column of texts or times and a column of numbers"
						}
					>
						Chart
					</button>
				</div>
				<button
					type="button"
					class="quiet"
					onClick={() => save("skep.csv", "text/csv", toCsv(result))}
				>
					CSV
				</button>
				<button
					type="button"
					class="quiet"
					onClick={() => save("skep.json", "application/json", toJson(result))}
				>
					JSON
				</button>
			</div>
			{chart ? <Chart result={result} /> : <ResultTable result={result} />}
		</section>
	);
}

function Menu({
	title,
	items,
	pick,
}: {
	title: string;
	items: [string, string][];
	pick: (sql: string) => void;
}) {
	return (
		<label>
			<span class="unseen">{title}</span>
			<select
				value=""
				disabled={items.length === 0}
				onChange={(e) => {
					pick(items[Number(e.currentTarget.value)]![1]);
					e.currentTarget.value = "";
				}}
			>
				<option value="" disabled>
					{title}
				</option>
				{items.map(([name], i) => (
					<option key={i} value={i}>
						{name}
					</option>
				))}
			</select>
		</label>
	);
}

interface Outcome {
	result?: Result;
	error?: string;
	/** Changes with each answer: another result, another table. */
	serial: number;
}

function useRun(): [Outcome, boolean, (sql: string) => Promise<void>] {
	const [outcome, setOutcome] = useState<Outcome>({ serial: 0 });
	const [busy, setBusy] = useState(false);
	const run = async (sql: string) => {
		if (busy || sql.trim() === "") return;
		setBusy(true);
		remember(sql.trim());
		const answer: Omit<Outcome, "serial"> = await api.query(sql, LIMIT).then(
			(result) => ({ result }),
			(e: ApiError) => ({ error: e.message }),
		);
		setOutcome((before) => ({ ...answer, serial: before.serial + 1 }));
		setBusy(false);
	};
	return [outcome, busy, run];
}

export function Sql() {
	const sql = useCell(draft);
	const past = useCell(history);
	const area = useRef<HTMLTextAreaElement>(null);
	const [outcome, busy, run] = useRun();
	const insert = (word: string) => {
		const { selectionStart: from, selectionEnd: to, value } = area.current!;
		const before = value.slice(0, from);
		const gap = before === "" || /[\s(.]$/.test(before) ? "" : " ";
		draft.set(before + gap + word + value.slice(to));
		const caret = from + gap.length + word.length;
		requestAnimationFrame(() => {
			area.current?.focus();
			area.current?.setSelectionRange(caret, caret);
		});
	};
	const pick = (chosen: string) => {
		draft.set(chosen);
		void run(chosen);
	};
	const onKeyDown = (e: KeyboardEvent) => {
		if (e.key !== "Enter" || !(e.ctrlKey || e.metaKey)) return;
		e.preventDefault();
		void run(area.current!.value);
	};
	return (
		<>
			<Browser insert={insert} />
			<div class="bench">
				<section class="card editor" aria-label="Query">
					<label class="unseen" for="sql">
						SQL
					</label>
					<textarea
						id="sql"
						ref={area}
						value={sql}
						rows={6}
						spellcheck={false}
						placeholder="select comm, count(*) from process group by 1 order by 2 desc"
						onInput={(e) => draft.set(e.currentTarget.value)}
						onKeyDown={onKeyDown}
					/>
					<div class="card-head">
						<button
							type="button"
							class="main"
							disabled={busy}
							onClick={() => void run(sql)}
						>
							{busy ? "Running…" : "Run"}
						</button>
						<small class="muted">Ctrl + Enter</small>
						<span class="spring" />
						<Menu title="Examples" items={EXAMPLES} pick={pick} />
						<Menu
							title="History"
							items={past.map((q) => [q.replace(/\s+/g, " ").slice(0, 90), q])}
							pick={pick}
						/>
					</div>
				</section>
				{outcome.error && (
					<p class="error" role="alert" data-test="sql-error">
						{text(outcome.error)}
					</p>
				)}
				{outcome.result ? (
					<Results key={outcome.serial} result={outcome.result} />
				) : (
					!outcome.error && (
						<section class="card fill results">
							<p class="empty">
								Only SELECT; times are nanoseconds since 1970. Pick an example, or
								click a column to insert it.
							</p>
						</section>
					)
				)}
			</div>
		</>
	);
}
