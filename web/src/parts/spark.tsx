// SPDX-License-Identifier: Apache-2.0
// A small chart without axes, for the strip of counts.
import type uPlot from "uplot";
import { useCell, type Cell } from "../cell";
import type { Series } from "../model";
import { color } from "../prefs";
import { Plot } from "./plot";

function options(): Omit<uPlot.Options, "width" | "height"> {
	return {
		padding: [3, 0, 1, 0],
		legend: { show: false },
		cursor: { show: false },
		axes: [{ show: false }, { show: false }],
		scales: { y: { range: (_u, _min, max) => [0, Math.max(max, 1)] } },
		series: [
			{},
			{
				stroke: color("accent"),
				fill: color("accent-soft"),
				width: 1.5,
				points: { show: false },
			},
		],
	};
}

export function Spark({ series, label }: { series: Cell<Series>; label: string }) {
	const { time, value } = useCell(series);
	return <Plot data={[time, value]} options={options} label={label} />;
}
