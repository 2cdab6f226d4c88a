// SPDX-License-Identifier: Apache-2.0
// Where we are: #/view?key=value.
import { Cell } from "./cell";

export const VIEWS = [
	["", "Overview"],
	["processes", "Processes"],
	["connections", "Connections"],
	["dns", "DNS"],
	["balance", "Balance"],
	["sql", "SQL"],
	["status", "Status"],
] as const;

export type ViewName = (typeof VIEWS)[number][0];

export interface Route {
	view: ViewName;
	params: URLSearchParams;
}

function parse(): Route {
	const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
	const known = VIEWS.find(([name]) => name === path);
	return { view: known ? known[0] : "", params: new URLSearchParams(query) };
}

export const route = new Cell<Route>(parse());
addEventListener("hashchange", () => route.set(parse()));

export function href(view: ViewName, params: Record<string, string> = {}): string {
	const query = new URLSearchParams(params).toString();
	return `#/${view}${query ? `?${query}` : ""}`;
}

/** Change a parameter of the view we are in, without a step in the browser's history. */
export function setParam(key: string, value: string | undefined): void {
	const { view, params } = route.value;
	const next = new URLSearchParams(params);
	if (value === undefined || value === "") next.delete(key);
	else next.set(key, value);
	const query = next.toString();
	window.history.replaceState(null, "", `#/${view}${query ? `?${query}` : ""}`);
	route.set({ view, params: next });
}
