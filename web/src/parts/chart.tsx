// SPDX-License-Identifier: Apache-2.0
// A result as a chart: lines over a first column that is a time, bars over one that is a text.
import uPlot from "uplot";
import { useMemo } from "preact/hooks";
import { bytes, clock, count, microseconds, moment, text } from "../format";
import { color } from "../prefs";
import type { Result, Value } from "../types";
import { Plot } from "./plot";

const MAX_BARS = 40;
const MAX_LINES = 5;
const COLORS = ["accent", "series-2", "series-3", "series-4", "series-5"];

const isNumber = (v: Value | undefined): boolean => typeof v === "number" || typeof v === "bigint";
const numeric = (r: Result, i: number): boolean =>
	r.rows.some((row) => isNumber(row[i])) &&
	r.rows.every((row) => row[i] === null || isNumber(row[i]));

/** Nanoseconds, microseconds, milliseconds or seconds since 1970, as seconds; undefined where it is none. */
function seconds(value: Value | undefined): number | undefined {
	const n = Number(value);
	for (const unit of [1e9, 1e6, 1e3, 1]) if (n / unit > 1e9 && n / unit < 4e9) return n / unit;
	return undefined;
}

export type Kind = "line" | "bar";

/** undefined: there is nothing to draw. */
export function chartKind(r: Result): Kind | undefined {
	if (r.rows.length === 0 || !r.columns.some((_, i) => i > 0 && numeric(r, i))) return undefined;
	const first = r.rows[0]![0];
	if (numeric(r, 0)) {
		const timed = r.rows.length > 1 && r.rows.every((row) => seconds(row[0]) !== undefined);
		return timed ? "line" : undefined;
	}
	return typeof first === "string" || first === null ? "bar" : undefined;
}

const amount = (name: string) => (n: number) =>
	/bytes|resident|memory/.test(name)
		? bytes(n)
		: name.endsWith("_us")
			? microseconds(Math.round(n))
			: Number.isInteger(n)
				? count(n)
				: n.toFixed(2);

function times(_u: uPlot, ticks: number[], _axis: number, _space: number, step: number): string[] {
	return ticks.map((t) => {
		const day = moment(t * 1e9).slice(5, 10);
		return step >= 86_400 ? day : step >= 60 ? clock(t * 1e9).slice(0, 5) : clock(t * 1e9);
	});
}

function axis(): uPlot.Axis {
	return {
		stroke: color("muted"),
		font: `11px ${color("font")}`,
		grid: { stroke: color("line"), width: 1 },
		ticks: { stroke: color("line"), width: 1 },
	};
}

function Lines({ result }: { result: Result }) {
	const shown = result.columns
		.map((_, i) => i)
		.filter((i) => i > 0 && numeric(result, i))
		.slice(0, MAX_LINES);
	const data = useMemo(() => {
		const rows = [...result.rows].sort((a, b) => Number(a[0]) - Number(b[0]));
		const values = (i: number) => rows.map((row) => (row[i] === null ? null : Number(row[i])));
		return [rows.map((row) => seconds(row[0])!), ...shown.map(values)] as uPlot.AlignedData;
	}, [result]);
	const format = amount(result.columns[shown[0]!] ?? "");
	const options = () => ({
		legend: { live: true },
		cursor: { drag: { x: false, y: false } },
		axes: [
			{ ...axis(), space: 84, values: times },
			{ ...axis(), size: 76, values: (_u: uPlot, ticks: number[]) => ticks.map(format) },
		],
		scales: {
			y: {
				range: (_u: uPlot, min: number, max: number): [number, number] => [
					Math.min(0, min),
					max || 1,
				],
			},
		},
		series: [
			{ value: (_u: uPlot, t: number | null) => (t === null ? "–" : moment(t * 1e9)) },
			...shown.map((column, i) => ({
				label: text(result.columns[column]),
				stroke: color(COLORS[i]!),
				width: 1.5,
				spanGaps: true,
				value: (_u: uPlot, v: number | null) =>
					v === null ? "–" : amount(result.columns[column] ?? "")(v),
			})),
		],
	});
	return (
		<div class="chart">
			<Plot
				data={data}
				options={options}
				shape={result.columns.join()}
				label="Line chart of the result"
			/>
		</div>
	);
}

/** Bars lie, so that names of any length can be read beside them. */
function Bars({ result }: { result: Result }) {
	const column = result.columns.findIndex((_, i) => i > 0 && numeric(result, i));
	const format = amount(result.columns[column] ?? "");
	const bars = result.rows.slice(0, MAX_BARS).map((row) => ({
		name:
			result.columns
				.map((_, i) => i)
				.filter((i) => i < column)
				.map((i) => text(row[i]))
				.join(" · ") || "(none)",
		value: Number(row[column] ?? 0),
	}));
	const top = Math.max(...bars.map((b) => b.value), 1);
	return (
		<div
			class="chart bars"
			role="img"
			aria-label={`Bar chart of ${text(result.columns[column])}`}
		>
			<p class="muted">
				{text(result.columns[column])}
				{result.rows.length > MAX_BARS &&
					`, the first ${MAX_BARS} of ${count(result.rows.length)}`}
			</p>
			{bars.map((b, i) => (
				<div key={i} class="bar">
					<span class="cut" title={b.name}>
						{b.name}
					</span>
					<span class="track">
						<i style={{ width: `${Math.max(0, (100 * b.value) / top)}%` }} />
					</span>
					<span class="mono end">{format(b.value)}</span>
				</div>
			))}
		</div>
	);
}

export function Chart({ result }: { result: Result }) {
	return chartKind(result) === "line" ? <Lines result={result} /> : <Bars result={result} />;
}
