// SPDX-License-Identifier: Apache-2.0
// A table of any length: only the rows in sight exist. A grid, or a treegrid where rows have levels.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { count } from "../format";
import type { Value } from "../types";

const ROW = 26;
const SPARE = 6;

export interface Column<R> {
	key: string;
	title: string;
	/** Pixels; a column that grows shares what is left. */
	width: number;
	grow?: boolean;
	end?: boolean;
	mono?: boolean;
	/** Left out where the window is too narrow for all: the highest first. */
	spare?: number;
	hint?: string;
	cell(row: R): ComponentChildren;
	/** What it sorts by; undefined sorts last. Without it the column does not sort. */
	sort?(row: R): Value | undefined;
}

export interface Sort {
	key: string;
	down: boolean;
}

export interface Levels<R> {
	depth(row: R): number;
	/** undefined: a leaf. */
	open(row: R): boolean | undefined;
	toggle(row: R): void;
}

interface Props<R> {
	label: string;
	columns: Column<R>[];
	rows: R[];
	rowKey(row: R, index: number): string;
	rowClass?(row: R): string;
	sort?: Sort | undefined;
	onSort?(sort: Sort): void;
	levels?: Levels<R>;
	selected?: string | undefined;
	onOpen?(row: R): void;
	empty: ComponentChildren;
}

export function compare(a: Value | undefined, b: Value | undefined): number {
	const none = (v: Value | undefined) => v === undefined || v === null || v === "";
	if (none(a) || none(b)) return none(a) === none(b) ? 0 : none(a) ? 1 : -1;
	if (typeof a === "string" && typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
	if (typeof a === "string" || typeof b === "string") return typeof a === "string" ? 1 : -1;
	return a! < b! ? -1 : a! > b! ? 1 : 0;
}

/** undefined and empty stay last in both directions. */
export function sortRows<R>(rows: R[], columns: Column<R>[], sort: Sort | undefined): R[] {
	const by = columns.find((c) => c.key === sort?.key)?.sort;
	if (!by) return rows;
	const none = (v: Value | undefined) => v === undefined || v === null || v === "";
	const sign = sort!.down ? -1 : 1;
	return rows
		.map((row) => [by(row), row] as const)
		.sort(([a], [b]) => compare(a, b) * (none(a) || none(b) ? 1 : sign))
		.map(([, row]) => row);
}

function Head<R>({
	column,
	sort,
	onSort,
}: {
	column: Column<R>;
	sort?: Sort | undefined;
	onSort?: (s: Sort) => void;
}) {
	const mine = sort?.key === column.key;
	const order = mine ? (sort.down ? "descending" : "ascending") : "none";
	const press = () => onSort?.({ key: column.key, down: mine ? !sort.down : false });
	const sorts = column.sort && onSort;
	return (
		<th
			role="columnheader"
			class={column.end ? "end" : undefined}
			aria-sort={sorts ? order : undefined}
			title={column.hint}
		>
			{sorts ? (
				<button type="button" onClick={press} data-sort={column.key}>
					{column.title}
					<i aria-hidden="true">{mine ? (sort.down ? "▾" : "▴") : ""}</i>
				</button>
			) : (
				column.title
			)}
		</th>
	);
}

const total = <R,>(columns: Column<R>[]): number => columns.reduce((sum, c) => sum + c.width, 0);

function fitting<R>(columns: Column<R>[], width: number): Column<R>[] {
	const spare = columns.filter((c) => c.spare).sort((a, b) => a.spare! - b.spare!);
	while (total(columns) > width && spare.length > 0) {
		const out = spare.pop()!;
		columns = columns.filter((c) => c !== out);
	}
	return columns;
}

/** The scroller's place and size, as state. */
function useWindow() {
	const box = useRef<HTMLDivElement>(null);
	const [top, setTop] = useState(0);
	const [height, setHeight] = useState(600);
	const [width, setWidth] = useState(Infinity);
	useLayoutEffect(() => {
		const element = box.current!;
		const watch = new ResizeObserver(() => {
			setHeight(element.clientHeight);
			setWidth(element.clientWidth);
		});
		watch.observe(element);
		return () => watch.disconnect();
	}, []);
	return { box, top, height, width, onScroll: () => setTop(box.current!.scrollTop) };
}

function Gap({ rows }: { rows: number }) {
	if (rows <= 0) return null;
	return (
		<tr aria-hidden="true" class="gap">
			<td style={{ height: `${rows * ROW}px` }} />
		</tr>
	);
}

let serial = 0;

export function Grid<R>(props: Props<R>) {
	const { rows, rowKey, levels } = props;
	const { box, top, height, width, onScroll } = useWindow();
	const columns = fitting(props.columns, width);
	const [id] = useState(() => `grid${++serial}`);
	const [active, setActive] = useState<string | undefined>(props.selected);
	useEffect(() => {
		if (props.selected !== undefined) setActive(props.selected);
	}, [props.selected]);

	const first = Math.max(0, Math.min(Math.floor(top / ROW) - SPARE, rows.length - 1));
	const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + SPARE);
	const found = active === undefined ? -1 : rows.findIndex((row, i) => rowKey(row, i) === active);

	const move = (index: number) => {
		const to = Math.max(0, Math.min(rows.length - 1, index));
		const row = rows[to];
		if (row === undefined) return;
		setActive(rowKey(row, to));
		const element = box.current!;
		const head = ROW + 2;
		if (to * ROW < element.scrollTop) element.scrollTop = to * ROW;
		else if ((to + 1) * ROW + head > element.scrollTop + element.clientHeight)
			element.scrollTop = (to + 1) * ROW + head - element.clientHeight;
	};

	const right = (at: number, row: R) => {
		if (levels?.open(row) === false) levels.toggle(row);
		else if (levels?.open(row)) move(at + 1);
	};

	const left = (at: number, row: R) => {
		if (!levels) return;
		if (levels.open(row)) {
			levels.toggle(row);
			return;
		}
		for (let i = at - 1; i >= 0; i--)
			if (levels.depth(rows[i]!) < levels.depth(row)) {
				move(i);
				return;
			}
	};

	const onKeyDown = (e: KeyboardEvent) => {
		if (e.target !== e.currentTarget || e.ctrlKey || e.metaKey || e.altKey) return;
		const page = Math.max(1, Math.floor(height / ROW) - 2);
		const at = found;
		const row = rows[at];
		const keys: Record<string, () => void> = {
			ArrowDown: () => move(at + 1),
			ArrowUp: () => move(at < 0 ? 0 : at - 1),
			PageDown: () => move(at + page),
			PageUp: () => move(at - page),
			Home: () => move(0),
			End: () => move(rows.length - 1),
			ArrowRight: () => row !== undefined && right(at, row),
			ArrowLeft: () => row !== undefined && left(at, row),
			Enter: () => row !== undefined && props.onOpen?.(row),
			" ": () =>
				row !== undefined &&
				(levels?.open(row) !== undefined ? levels.toggle(row) : props.onOpen?.(row)),
		};
		const act = keys[e.key];
		if (!act) return;
		e.preventDefault();
		act();
	};

	const open = (row: R, index: number) => {
		setActive(rowKey(row, index));
		props.onOpen?.(row);
	};

	return (
		<div class="grid" ref={box} onScroll={onScroll}>
			<table
				role={levels ? "treegrid" : "grid"}
				aria-label={props.label}
				aria-rowcount={rows.length + 1}
				aria-activedescendant={
					found >= first && found < last ? `${id}-${found}` : undefined
				}
				tabIndex={0}
				onKeyDown={onKeyDown}
				style={{
					minWidth: `${total(columns)}px`,
					width: columns.some((c) => c.grow) ? "100%" : `${total(columns)}px`,
				}}
			>
				<colgroup>
					{columns.map((c) => (
						<col key={c.key} style={c.grow ? undefined : { width: `${c.width}px` }} />
					))}
				</colgroup>
				<thead role="rowgroup">
					<tr role="row" aria-rowindex={1}>
						{columns.map((c) => (
							<Head
								key={c.key}
								column={c}
								sort={props.sort}
								{...(props.onSort && { onSort: props.onSort })}
							/>
						))}
					</tr>
				</thead>
				<tbody role="rowgroup">
					<Gap rows={first} />
					{rows.slice(first, last).map((row, i) => {
						const index = first + i;
						const key = rowKey(row, index);
						const opened = levels?.open(row);
						return (
							<tr
								key={key}
								id={`${id}-${index}`}
								role="row"
								aria-rowindex={index + 2}
								aria-level={levels ? levels.depth(row) + 1 : undefined}
								aria-expanded={opened}
								aria-selected={props.selected === key}
								class={`${key === active ? "active " : ""}${props.rowClass?.(row) ?? ""}`}
								onClick={() => open(row, index)}
							>
								{columns.map((c) => (
									<td
										key={c.key}
										role="gridcell"
										class={`${c.end ? "end " : ""}${c.mono ? "mono" : ""}`}
									>
										{c.cell(row)}
									</td>
								))}
							</tr>
						);
					})}
					<Gap rows={rows.length - last} />
				</tbody>
			</table>
			{rows.length === 0 && <div class="empty">{props.empty}</div>}
		</div>
	);
}

/** "12 of 340 processes": what the filter leaves. */
export function Tally({
	shown,
	total,
	what,
	truncated,
}: {
	shown: number;
	total: number;
	what: string;
	truncated?: boolean;
}) {
	return (
		<p class="tally" role="status">
			{shown === total ? count(total) : `${count(shown)} of ${count(total)}`} {what}
			{truncated && <span class="badge warn">more exist than the page shows; use SQL</span>}
		</p>
	);
}
