// SPDX-License-Identifier: Apache-2.0
// uPlot in a box that follows its parent's size and the theme's colours.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { useCell } from "../cell";
import { shownTheme } from "../prefs";

interface Props {
	data: uPlot.AlignedData;
	/** Called anew on a change of theme or `shape`. */
	options(): Omit<uPlot.Options, "width" | "height">;
	/** A change of it rebuilds the plot; other changes only bring data. */
	shape?: string;
	label: string;
}

export function Plot({ data, options, shape, label }: Props) {
	const box = useRef<HTMLDivElement>(null);
	const plot = useRef<uPlot>();
	const theme = useCell(shownTheme);
	useEffect(() => {
		const element = box.current!;
		const size = () => ({ width: element.clientWidth, height: element.clientHeight });
		const made = new uPlot({ ...options(), ...size() }, data, element);
		plot.current = made;
		const watch = new ResizeObserver(() => made.setSize(size()));
		watch.observe(element);
		return () => {
			watch.disconnect();
			made.destroy();
			plot.current = undefined;
		};
	}, [theme, shape]);
	useEffect(() => plot.current?.setData(data), [data]);
	return <div class="plot" ref={box} role="img" aria-label={label} />;
}
